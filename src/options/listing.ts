/** @file The part of the option table about many runs, in a set or in a list: their names, and which are listed in which order. */
import type { OptionSpec } from './spec.js';

export const listingOptions = {
  seeds: {
    type: 'string',
    placeholder: 'list',
    help: 'one run per seed, instead of --seed: 1..5 or 1,3,7; with a test over all runs',
  },
  parallel: {
    type: 'string',
    placeholder: 'number|auto',
    default: 'auto',
    help: 'runs side by side; auto: as processors and memory allow',
  },
  name: { type: 'string', placeholder: 'text', help: 'a name for the run, shown in lists and reports' },
  note: { type: 'string', placeholder: 'text', help: 'a sentence about the run, shown in lists and reports' },
  sort: {
    type: 'string',
    placeholder: 'column',
    help: 'sort by this column or option, greatest and newest first; COLUMN:asc reverses that',
  },
  filter: {
    type: 'string',
    placeholder: 'condition',
    help: "list only matching runs, such as 'after > 80% and state = finished'; ~ means contains",
  },
} as const satisfies Record<string, OptionSpec>;
