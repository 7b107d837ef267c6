/**
 * @file The built-in task: multiplication problems and their reward, in the form of a `--task` file.
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
  /** Pairs never used for training; if empty, every problem is a training problem. */
  readonly heldOut: readonly Pair[];
  readonly wording: Wording;
  readonly reward: MultiplicationRewardOptions;
}

export type MultiplicationTask = Task<Product> & Required<Pick<Task<Product>, 'prompt'>>;

/** Wordings that ask for the number alone. */
const bareWordings: readonly Wording[] = ['number', 'question'];

/** @throws UserError when the range is empty or entirely held out. */
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
    // Without held-out pairs, the problem set splits the problems itself.
    ...(split.heldOut.length > 0 && {
      heldOut: (random, n) => {
        const chosen = new Set(random.shuffle(split.heldOut).slice(0, n));
        return split.heldOut.filter((problem) => chosen.has(problem));
      },
    }),
  };
}
