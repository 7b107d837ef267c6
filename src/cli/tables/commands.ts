/**
 * @file The commands, by theme: names, options, examples, and how to load their code when they run. To add a command, add an
 * entry to a table in tables/ and a file in commands/ that exports `run`.
 */
import type { OptionValues } from '../../options/table.js';
import { type CommandSpec, command } from '../command-spec.js';
import { machineCommands, remoteCommands } from './machine.js';
import { modelCommands } from './models.js';
import { resultCommands } from './results.js';
import { trainingCommands } from './training.js';

const startCommands: readonly CommandSpec[] = [
  command({
    words: ['init', 'task'],
    summary: 'write a working task with comments, in TypeScript or JavaScript, to start from',
    details: 'Never overwrites a file. docs/tasks.md describes tasks.',
    operands: '[file]',
    options: ['json'],
    examples: [
      ['init task', 'task.ts, for `tinyzero train --task task.ts`'],
      ['init task my-task.mjs', 'the same in JavaScript'],
    ],
    load: async () => ({ run: (await import('../commands/start/init.js')).task }),
  }),
  command({
    words: ['init', 'problems'],
    summary: 'write a file of problems with answers and comments, to start from',
    details: 'Never overwrites a file. docs/tasks.md describes such files.',
    operands: '[file]',
    options: ['json'],
    examples: [
      ['init problems', 'problems.jsonl, for `tinyzero train --problems problems.jsonl`'],
      ['init problems problems.csv', 'the same as a table'],
    ],
    load: async () => ({ run: (await import('../commands/start/init.js')).problems }),
  }),
  command({
    words: ['completion'],
    summary: 'print a script that completes commands, options, choices and files in bash, zsh or fish',
    details:
      'bash: `tinyzero completion bash > ~/.local/share/bash-completion/completions/tinyzero`\n\nzsh: `tinyzero completion zsh > ~/.zfunc/_tinyzero`, with `fpath+=~/.zfunc; autoload -U compinit; compinit` in ~/.zshrc\n\nfish: `tinyzero completion fish > ~/.config/fish/completions/tinyzero.fish`\n\nMake the folder first if it does not exist (`mkdir -p`), and open a new shell afterwards. Write the file again after an update.',
    operands: '<shell>',
    options: ['json'],
    examples: [
      ['completion bash > ~/.local/share/bash-completion/completions/tinyzero', 'install it for bash'],
      ['completion fish | source', 'try it in this fish'],
    ],
    load: async () => {
      const { printCompletion } = await import('../commands/start/completion.js');
      return {
        run: (values: OptionValues<'json'>, operands) => printCompletion({ commands, groups }, values, operands),
      };
    },
  }),
];

export const commands: readonly CommandSpec[] = [
  ...trainingCommands,
  ...resultCommands,
  ...modelCommands,
  ...remoteCommands,
  ...machineCommands,
  ...startCommands,
];

/** Summaries of command groups. */
export const groups: Readonly<Record<string, string>> = {
  engine: 'install, show or remove the native TensorFlow engine',
  modal: 'list, follow, fetch or stop the runs on Modal',
  init: 'write a commented file to start from: a task, or problems with answers',
};
