/** @file What an entry of the option table says. */

interface Common {
  /** One line for `--help`, without the default, which is added. A command may have its own. */
  readonly help: string;
  /** Environment variable that sets the option where the flag is absent. */
  readonly env?: string;
  /** The flag's word where it is not the option's name: `--compare` means different things to different commands. */
  readonly word?: string;
}

export type OptionSpec = Common &
  (
    | { readonly type: 'boolean'; readonly default: boolean }
    | { readonly type: 'choice'; readonly choices: readonly string[]; readonly default?: string }
    | { readonly type: 'string'; readonly placeholder: string; readonly default?: string }
    | { readonly type: 'list'; readonly placeholder: string; readonly default: readonly [] }
    | ({ readonly type: 'integer' | 'number'; readonly default?: number } & Range)
  );

interface Range {
  readonly min?: number;
  /** As `min`, but not itself allowed. */
  readonly above?: number;
  readonly max?: number;
  /** What the number counts: `tokens`, `steps`. */
  readonly unit?: string;
}
