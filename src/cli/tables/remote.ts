/** @file Commands for runs elsewhere. */
import { type CommandSpec, command } from '../command-spec.js';

const details =
  'Needs a token of Modal, as its own tools do (docs/scale.md), and starts a small sandbox without a GPU to reach the volume.';

export const remoteCommands: readonly CommandSpec[] = [
  command({
    words: ['modal', 'ls'],
    summary: 'list the runs on Modal: GPU, time, state, cost so far',
    details,
    options: ['volume', 'json'],
    examples: [
      ['modal ls', 'every run of the volume, the newest first'],
      ['modal ls --volume experiments --json', 'those of another volume, as JSON'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).list }),
  }),
  command({
    words: ['modal', 'logs'],
    summary: 'follow a run on Modal from its first line, or read the log of one that has ended',
    details: 'Ctrl-C ends the watching, not the run.',
    operands: '<run>',
    options: ['volume', 'json'],
    examples: [
      ['modal logs mine', 'the progress of `tinyzero train --out runs/mine --on modal`'],
      ['modal logs mine --json', 'as lines of JSON'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).logs }),
  }),
  command({
    words: ['modal', 'get'],
    summary: 'fetch the files of a run on Modal, finished or not',
    details:
      'Into runs/RUN, or the given folder. Each file is checked by its hash; files that are there already are not fetched again. The checkpoints of a finished run are left on the volume.',
    operands: '<run> [folder]',
    options: ['volume', 'json'],
    examples: [
      ['modal get mine', 'into runs/mine'],
      ['modal get mine /tmp/mine --json', 'into another folder'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).get }),
  }),
  command({
    words: ['modal', 'stop'],
    summary: 'save and end a run on Modal',
    details: 'The printed command resumes it. A run that does not save within three minutes is ended without.',
    operands: '<run>',
    options: ['volume', 'json'],
    examples: [
      ['modal stop mine', 'its sandbox costs nothing any more'],
      ['modal stop mine --json', 'with the exit code of the run'],
    ],
    load: async () => ({ run: (await import('../commands/remote/modal.js')).stop }),
  }),
];
