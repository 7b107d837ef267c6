/** @file What a command is: its words, options and examples, and where its code is. */
import type { CommonOptionName } from '../options/names.js';
import type { OptionName, OptionValues } from '../options/table.js';
import type { OptionText } from '../options/texts.js';

export interface CommandSpec {
  /** Words after `tinyzero`: `['engine', 'install']`. */
  readonly words: readonly string[];
  readonly summary: string;
  /** Paragraphs for the command's own help. */
  readonly details?: string;
  /** Options besides the common ones. */
  readonly options: readonly OptionName[];
  /** Help texts of options that differ in this command. */
  readonly texts?: Readonly<Partial<Record<OptionName, OptionText>>>;
  /** What to do instead of giving this command an option that only others have. */
  readonly instead?: (name: OptionName) => string | undefined;
  /** Arguments that do not belong to an option: `<folder>`, `[folder]`, `<run> [folder]` or `<files...>`; absent if there are none. */
  readonly operands?: string;
  /** Command lines without `tinyzero`, with descriptions. Each runs as printed if its files exist. */
  readonly examples: readonly (readonly [command: string, what: string])[];
  readonly load: () => Promise<{ run: Run<never> }>;
}

/** `given`: options given by a flag; all others are defaults or come from the environment. */
type Run<Values> = (values: Values, operands: readonly string[], given: ReadonlySet<OptionName>) => Promise<number>;

/** Derives the type of `run`'s parameter from the listed options. `run` resolves to the exit code. */
export function command<Name extends OptionName>(
  spec: Omit<CommandSpec, 'options' | 'load'> & {
    readonly options: readonly Name[];
    readonly load: () => Promise<{ run: Run<OptionValues<Name | CommonOptionName>> }>;
  },
): CommandSpec {
  return spec;
}
