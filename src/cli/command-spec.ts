/**
 * @file Defines a command: its words, options and examples, and where its code is. Also contains options and texts that
 * several commands share.
 */
import { remoteOptionNames } from '../options/machines.js';
import { type CommonOptionName, serverOptionNames } from '../options/names.js';
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
  /** Advice on what to use instead of an option that only other commands have. */
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

/** Options of every command that computes. */
export const engineOptions = ['engine', 'gpuMemory', 'install'] as const satisfies readonly OptionName[];

/** Options of the page that shows a run as it goes. */
export const pageOptions = ['watch', 'port', 'open'] as const satisfies readonly OptionName[];
export const pageTexts = {
  port: { help: 'with --watch: port of the page on 127.0.0.1; 0 for any free one' },
  open: { help: 'with --watch: open the page in a browser' },
} as const;

/** Options of a command that makes runs, here or on Modal, in addition to the run's own. */
export const runCommandOptions = [
  'seeds',
  'parallel',
  'out',
  'resume',
  'dryRun',
  ...pageOptions,
  ...remoteOptionNames,
  ...engineOptions,
  'json',
] as const satisfies readonly OptionName[];

/** Options of a command that samples and has one result, in addition to its own. */
export const resultCommandOptions = [
  ...serverOptionNames,
  'dryRun',
  ...remoteOptionNames,
  ...engineOptions,
  'json',
] as const satisfies readonly OptionName[];

export const sampling = { help: 'divides the logits before the softmax; 0 is greedy' } as const;
export const modelOrRun = { default: 'builtin' } as const;
export const theModel = { default: 'the model' } as const;
/** For commands that have a plan only on Modal. */
export const remoteDryRun = {
  help: 'with --on modal: print what would run there and its maximum cost, and exit',
} as const;
/** For commands that have no use for a Tinker server. */
export const modalOnly = {
  value: 'modal',
  help: 'modal: run on a Modal GPU (docs/scale.md); default: this machine',
} as const;
