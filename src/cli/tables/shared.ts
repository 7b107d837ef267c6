/** @file Options and texts shared by several commands. */
import { serverOptionNames } from '../../options/names.js';
import { remoteOptionNames } from '../../options/remote.js';
import type { OptionName } from '../../options/table.js';

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
  help: 'modal: run on a GPU of Modal (docs/scale.md); default: this machine',
} as const;
