/** @file The part of the option table about runs in a list: their names, and which are listed in which order. */
import type { OptionSpec } from './spec.js';

export const listingOptions = {
  name: { type: 'string', placeholder: 'text', help: 'a name for the run, shown in lists and reports' },
  note: { type: 'string', placeholder: 'text', help: 'a sentence about the run, shown in lists and reports' },
  sort: {
    type: 'string',
    placeholder: 'column',
    help: 'order by this column or option, greatest and newest first; COLUMN:asc turns that round',
  },
  filter: {
    type: 'string',
    placeholder: 'condition',
    help: "list only runs that fit, such as 'after > 80% and state = finished'; ~ means contains",
  },
} as const satisfies Record<string, OptionSpec>;
