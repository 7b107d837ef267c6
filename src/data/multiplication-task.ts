/**
 * @file The built-in task: multiplication problems and their reward joined in the form that every `--task` file has.
 */

import { type MultiplicationRewardOptions, multiplicationReward } from '../reward/multiplication.js';
import { UserError } from '../util/errors.js';
import { type Pair, type Product, pairName, splitProducts } from './products.js';
import { type Wording, wordings } from './prompt.js';
import type { Task } from './task.js';

export interface MultiplicationOptions {
  /** Smallest and largest factor. */
  readonly min: number;
  readonly max: number;
  /** Pairs never drawn for training; none makes every problem a training problem. */
  readonly heldOut: readonly Pair[];
  readonly wording: Wording;
  readonly reward: MultiplicationRewardOptions;
}

export type MultiplicationTask = Task<Product> & Required<Pick<Task<Product>, 'prompt'>>;

/** Wordings that ask for a number and nothing else. */
const bareWordings: readonly Wording[] = ['number', 'question'];

/** @throws UserError when the range is empty or held out altogether. */
export function multiplicationTask({ min, max, heldOut, wording, reward }: MultiplicationOptions): MultiplicationTask {
  const split = splitProducts(min, max, heldOut);
  if (split.train.length === 0) {
    throw new UserError({
      problem: `Every problem with factors from ${min} to ${max} is held out for testing.`,
      fix: 'Widen --min and --max.',
    });
  }
  return {
    name: `multiplication ${min}..${max}`,
    problems: (random, n) => Array.from({ length: n }, () => random.pick(split.train)),
    prompt: wordings[wording],
    reward: (completion, { a, b }, info) => multiplicationReward(completion, a * b, info, reward),
    cluster: pairName,
    solution: ({ a, b }) => (bareWordings.includes(wording) ? `${a * b}` : `answer: ${a * b}`),
    // Without held-out problems the split is left to whoever asked for none.
    ...(split.heldOut.length > 0 && {
      heldOut: (random, n) => {
        const chosen = new Set(random.shuffle(split.heldOut).slice(0, n));
        return split.heldOut.filter((problem) => chosen.has(problem));
      },
    }),
  };
}
