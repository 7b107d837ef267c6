/** @file Commands that measure a model, or show what runs did. */
import { evaluationOptionNames } from '../../options/names.js';
import {
  type CommandSpec,
  command,
  modalOnly,
  modelOrRun,
  remoteDryRun,
  resultCommandOptions,
} from '../command-spec.js';

export const resultCommands: readonly CommandSpec[] = [
  command({
    words: ['eval'],
    summary: 'measure a model on held-out problems: exact match, pass@k, format, truncation, with intervals',
    details:
      'For a run folder, measures the trained model with the problems and the sampling of that run: the result equals the evaluation at the end of `tinyzero train`. Options given here come first, and --preset replaces the options of the run.',
    options: [...evaluationOptionNames, ...resultCommandOptions],
    texts: {
      model: modelOrRun,
      dryRun: remoteDryRun,
      on: modalOnly,
      compare: { help: 'another model to measure on the same problems, or the JSON file of an evaluation' },
      samples: { help: 'samples per problem', default: '64' },
      temperature: { help: 'divides the logits before the softmax' },
    },
    examples: [
      ['eval --model runs/mine', 'the trained model of a run'],
      ['eval --model runs/mine --compare builtin', 'compare it with the model before training, with paired tests'],
      ['eval --samples 8 --json', 'the built-in model, as JSON'],
      ['eval --sampler-url http://127.0.0.1:8000/v1', 'sample on a server, see docs/scale.md'],
    ],
    load: () => import('../commands/eval.js'),
  }),
  command({
    words: ['report'],
    summary: 'write the report of a run as one HTML file: what it learned, how, at what cost, and how to repeat it',
    details:
      'Reads the files in the run folder, finished or not, and writes report.html there, as `tinyzero train` does at the end. --compare overlays the curves and accuracies of more runs, tests the differences between them and lists the options that differ.',
    operands: '<folder>',
    options: ['compareRuns', 'open', 'out', 'json'],
    texts: {
      compareRuns: { group: 'Output' },
      out: { help: 'the HTML file', default: 'report.html in the run folder' },
    },
    examples: [
      ['report runs/mine --open', 'see what the run learned'],
      ['report runs/mine --compare runs/other runs/third --out three.html', 'three runs in one report'],
    ],
    load: () => import('../commands/results/report.js'),
  }),
  command({
    words: ['watch'],
    summary: 'follow runs in a browser: curves, newest rollouts, time left',
    details:
      "Serves a page on this machine that follows the files of the first run and overlays the other runs. The folder of a set of runs shows all of them together; V* files show the progress of stage 1. The paths may not exist yet, may be on another machine's disk, and may be written, resumed or removed meanwhile; they are only read. The page is on 127.0.0.1, at an address that cannot be guessed. When a run has finished, the page is its report. Ctrl-C closes the page, not the run. `tinyzero train --watch` shows the run that it starts.",
    operands: '<paths...>',
    options: ['port', 'open', 'json'],
    texts: {
      open: { help: 'open the page in a browser' },
      json: { help: 'print the address, then each change of state, as a line of JSON' },
    },
    examples: [
      ['watch runs/mine --open', 'follow a run'],
      ['watch runs/mine runs/other --port 8123', 'two overlaid runs, at a port that can be forwarded'],
      ['watch runs/five', 'the runs of --seeds or of a sweep'],
      ['watch part-1.json part-2.json', 'the shards of stage 1'],
    ],
    load: async () => ({ run: (await import('../commands/results/report.js')).watch }),
  }),
  command({
    words: ['runs'],
    summary: 'list runs: date, model, accuracy before and after, state',
    details: 'Lists runs/, or the given folder. Only reads, so it can be used while a run is in progress.',
    operands: '[folder]',
    options: ['sort', 'filter', 'json'],
    examples: [
      ['runs', 'the runs in runs/, the newest first'],
      ["runs --sort after --filter 'state = finished and lr < 1e-3'", 'the best first, by any column or option'],
      ['runs experiments --json', 'the runs in another folder, as JSON'],
    ],
    load: () => import('../commands/results/runs.js'),
  }),
  command({
    words: ['runs', 'rm'],
    summary: 'remove runs with all their files',
    details:
      'A name is the path of a run or of a set of runs, or its name in runs/. Asks first unless --yes is given, and refuses runs in progress.',
    operands: '<names...>',
    options: ['yes', 'json'],
    examples: [
      ['runs rm builtin-20260131-235959', 'one run in runs/; asks first'],
      ['runs rm runs/try-1 runs/try-2 --yes', 'two runs without a question, for a script'],
    ],
    load: async () => ({ run: (await import('../commands/results/runs.js')).remove }),
  }),
];
