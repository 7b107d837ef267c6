/**
 * @file Which problems stage 2 trains on, and how often: decided once, from the rewards of stage 1. Pure.
 */
import type { Random } from '../util/random.js';
import { mean } from '../util/statistics.js';
import type { VStarEntry } from './v-star-file.js';

/**
 * `varied`: problems whose samples differ in reward; only these have a signal. `solved`: problems with an exact sample.
 * `all`: every problem.
 */
export const trainedProblemsChoices = ['varied', 'solved', 'all'] as const;
export type TrainedProblems = (typeof trainedProblemsChoices)[number];

/** Whether the samples of a problem differ in reward. */
export function isVaried({ rewards }: Pick<VStarEntry, 'rewards'>): boolean {
  return rewards.some((reward) => reward !== rewards[0]);
}

export function isTrained(entry: Pick<VStarEntry, 'rewards' | 'exact'>, trainOn: TrainedProblems): boolean {
  return trainOn === 'all' || (trainOn === 'varied' ? isVaried(entry) : entry.exact.includes(true));
}

/** How stage 2 chooses its rows. */
export interface RowChoice {
  readonly trainOn: TrainedProblems;
  /** `mixed`: drawn by the variance of the rewards. */
  readonly curriculum: 'mixed' | 'none';
  /** Decides which shares are rounded up; called only by `mixed`. */
  readonly random: () => Pick<Random, 'uniform'>;
}

/**
 * The rows of stage 2: those of `rows` (indices of problems) whose problem is trained on. `curriculum: mixed` keeps the
 * number of rows but redraws them, each problem in proportion to the variance of its rewards, which for rewards of 0 and 1
 * is p·(1 - p).
 *
 * The variance is estimated with a prior of one success and one failure, so a problem solved 8 times out of 8 is still
 * drawn occasionally.
 *
 * @param entryOf samples of a problem; undefined for an algorithm without stage 1, which trains on all.
 */
export function trainedRows(
  rows: readonly number[],
  entryOf: (problem: number) => VStarEntry | undefined,
  { trainOn, curriculum, random }: RowChoice,
): number[] {
  const kept = rows.filter((row) => {
    const entry = entryOf(row);
    return entry === undefined || isTrained(entry, trainOn);
  });
  if (curriculum === 'none' || kept.length === 0) return kept;
  const problems = [...new Set(kept)];
  const weights = problems.map((problem) => rewardVariance(entryOf(problem)?.rewards ?? []));
  return drawInProportion(weights, kept.length, random().uniform()).map((at) => problems[at]!);
}

/** Variance of a problem's rewards with one pseudo-reward of 0 and one of 1 added. */
function rewardVariance(rewards: readonly number[]): number {
  const all = [...rewards, 0, 1];
  const centre = mean(all);
  return mean(all.map((reward) => (reward - centre) ** 2));
}

/**
 * Systematic sampling: returns `count` indices. Index i appears in proportion to its weight, rounded up or down. `start`, in
 * [0, 1), decides which are rounded up.
 */
export function drawInProportion(weights: readonly number[], count: number, start: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const drawn: number[] = [];
  let reached = 0;
  for (const [index, weight] of weights.entries()) {
    reached += (weight / total) * count;
    const isLast = index === weights.length - 1;
    while (drawn.length < count && (drawn.length + start < reached || isLast)) drawn.push(index);
  }
  return drawn;
}
