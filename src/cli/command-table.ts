/**
 * @file The commands, by theme: names, options, examples, and how to load their code when they run. To add a command, add an
 * entry to a table in tables/ and a file in commands/ that exports `run`.
 */
import type { CommandSpec } from './command-spec.js';
import { machineCommands } from './tables/machine.js';
import { modelCommands } from './tables/models.js';
import { remoteCommands } from './tables/remote.js';
import { resultCommands } from './tables/results.js';
import { startCommands } from './tables/start.js';
import { trainingCommands } from './tables/training.js';

export const commands: readonly CommandSpec[] = [
  ...trainingCommands,
  ...resultCommands,
  ...modelCommands,
  ...remoteCommands,
  ...machineCommands,
  ...startCommands(() => ({ commands, groups })),
];

/** Summaries of command groups. */
export const groups: Readonly<Record<string, string>> = {
  engine: 'install, show or remove the native TensorFlow engine',
  modal: 'list, follow, fetch or stop the runs on Modal',
  init: 'write a commented file to start from: a task, or problems with answers',
};
