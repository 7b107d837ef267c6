/** @file Options that say how `--problems` is read. */
import type { OptionSpec } from './spec.js';

export const datasetOptions = {
  map: {
    type: 'string',
    placeholder: 'column=field,...',
    help: 'columns that are the prompt, answer, split or cluster: question=prompt,solution=answer',
  },
  subset: { type: 'string', placeholder: 'name', help: 'subset of the dataset, where it has several' },
  split: { type: 'string', placeholder: 'name', help: 'split of the dataset to learn from; absent: train' },
  testSplit: {
    type: 'string',
    placeholder: 'name',
    help: 'split of the dataset to hold out; absent: a fifth of the other',
  },
} as const satisfies Record<string, OptionSpec>;
