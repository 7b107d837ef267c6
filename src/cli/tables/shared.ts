/** @file What the entries of several commands have in common. */
import type { OptionName } from '../../options/table.js';

/** Options of every command that computes. */
export const engineOptions = ['engine', 'install'] as const satisfies readonly OptionName[];

export const sampling = { help: 'divides the logits before the softmax; 0 is greedy' } as const;
export const modelOrRun = { default: 'builtin' } as const;
export const theModel = { default: 'the model' } as const;
