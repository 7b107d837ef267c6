/** @file The options in the option table about how `--problems` is read. */
import type { OptionSpec } from './spec.js';

export const datasetOptions = {
  map: {
    type: 'string',
    placeholder: 'column=field,...',
    help: 'columns with the prompt, answer, split or cluster: question=prompt,solution=answer',
  },
  subset: { type: 'string', placeholder: 'name', help: 'subset of the dataset, if it has several' },
  split: { type: 'string', placeholder: 'name', help: 'split of the dataset to train on; default: train' },
  testSplit: {
    type: 'string',
    placeholder: 'name',
    help: 'split of the dataset to hold out; default: a fifth of --split',
  },
} as const satisfies Record<string, OptionSpec>;
