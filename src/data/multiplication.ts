/**
 * @file The built-in task: multiplication problems and their reward, in the form of a `--task` file. The problems are all
 * ordered pairs of a range, split by unordered pair (holding out 3 × 5 also removes 5 × 3 from training); two of the splits
 * are those of the built-in models.
 */
import { type MultiplicationRewardOptions, multiplicationReward } from '../reward/multiplication.js';
import { UserError } from '../util/errors.js';
import type { Random } from '../util/random.js';
import { type Wording, wordings } from './prompt.js';
import type { Task } from './task.js';

/** The problem a × b. */
export interface Product {
  readonly a: number;
  readonly b: number;
}

/** Two factors, the smaller first; represents both a × b and b × a. */
export type Pair = readonly [number, number];

const crossed = (left: readonly number[], right: readonly number[]): Pair[] =>
  left.flatMap((a) => right.map((b): Pair => (a < b ? [a, b] : [b, a])));

/**
 * Pairs that a built-in model never sees as questions, in pre-training or in reinforcement learning. Both factors are in
 * {6, 7, 8, 9, 11, 12}: products with easier factors occur as steps in the working of other problems, so they must be taught.
 *
 * - `tiny`: {6, 8, 11} × {7, 9, 12}, 7 × 7 and 12 × 12: 11 pairs, 20 ordered problems, each factor 3 or 4 times. The recipe
 *   was tuned with these visible, hence:
 * - `tiny-b`: *every* other pair of hard factors: 6 × 8, 6 × 11, 8 × 11, 7 × 9, 7 × 12, 9 × 12 and the squares of 6, 8, 9
 *   and 11: 10 pairs, 16 ordered problems, each factor 2 or 3 times. It shares no pair with `tiny`. Since it takes all
 *   remaining pairs, there was nothing to choose. It was fixed before any model was trained or evaluated on it.
 */
export const heldOutSplits = {
  tiny: [...crossed([6, 8, 11], [7, 9, 12]), [7, 7], [12, 12]],
  'tiny-b': [...crossed([6], [8, 11]), [8, 11], ...crossed([7], [9, 12]), [9, 12], [6, 6], [8, 8], [9, 9], [11, 11]],
} as const satisfies Record<string, readonly Pair[]>;

export type HeldOutSplit = keyof typeof heldOutSplits;

/** `3×5` for both 3 × 5 and 5 × 3. */
export function pairName({ a, b }: Product): string {
  return a < b ? `${a}×${b}` : `${b}×${a}`;
}

/** All ordered problems with both factors in min..max, row by row. */
export function allProducts(min: number, max: number): Product[] {
  if (!(Number.isSafeInteger(min) && Number.isSafeInteger(max) && min >= 0 && min <= max && max <= 9999)) {
    throw new UserError({
      problem: 'The range of the factors is invalid.',
      expected: 'whole numbers 0 <= --min <= --max <= 9999',
      found: `--min ${min} --max ${max}`,
    });
  }
  if (max - min >= 1000) {
    throw new UserError({
      problem: 'The range of the factors is too wide.',
      expected: 'at most 1000 different factors',
      found: `${max - min + 1} (--min ${min} --max ${max})`,
    });
  }
  const factors = Array.from({ length: max - min + 1 }, (_, i) => min + i);
  return factors.flatMap((a) => factors.map((b) => ({ a, b })));
}

export interface ProductSplit {
  /** Problems that may be trained on. */
  readonly train: readonly Product[];
  /** Problems reserved for testing: both orders of every held-out pair within the range. */
  readonly heldOut: readonly Product[];
}

/** Splits the problems of a range by a list of held-out pairs; an empty list holds out nothing. */
export function splitProducts(min: number, max: number, heldOut: readonly Pair[]): ProductSplit {
  const held = new Set(heldOut.map(([a, b]) => pairName({ a, b })));
  const all = allProducts(min, max);
  return {
    train: all.filter((problem) => !held.has(pairName(problem))),
    heldOut: all.filter((problem) => held.has(pairName(problem))),
  };
}

/**
 * Draws a held-out list for a range without a predefined one: random pairs until there are `numTest` problems, counting both
 * orders, but at most a quarter of all pairs.
 */
export function drawHeldOut(min: number, max: number, numTest: number, random: Random): Pair[] {
  const pairs = allProducts(min, max).filter(({ a, b }) => a <= b);
  const held: Pair[] = [];
  let problems = 0;
  for (const { a, b } of random.shuffle(pairs).slice(0, Math.floor(pairs.length / 4))) {
    if (problems >= numTest) break;
    held.push([a, b]);
    problems += a === b ? 1 : 2;
  }
  return held;
}

export interface MultiplicationOptions {
  /** Smallest and largest factor. */
  readonly min: number;
  readonly max: number;
  /** Pairs never used for training; if empty, every problem is a training problem. */
  readonly heldOut: readonly Pair[];
  readonly wording: Wording;
  readonly reward: MultiplicationRewardOptions;
}

type MultiplicationTask = Task<Product> & Required<Pick<Task<Product>, 'prompt'>>;

/** Solutions in the form that a wording asks for; other wordings ask for `answer: N`. */
const solutions: Partial<Record<Wording, (product: Product) => string>> = {
  number: ({ a, b }) => `${a * b}`,
  question: ({ a, b }) => `${a * b}`,
  sentence: ({ a, b }) => `${a} times ${b} is ${a * b}.`,
};

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
    solution: solutions[wording] ?? (({ a, b }) => `answer: ${a * b}`),
    // Without held-out pairs, the problem set splits the problems itself.
    ...(split.heldOut.length > 0 && {
      heldOut: (random, n) => {
        const chosen = new Set(random.shuffle(split.heldOut).slice(0, n));
        return split.heldOut.filter((problem) => chosen.has(problem));
      },
    }),
  };
}
