/**
 * @file Which problem each rollout of stage 2 completes: a function of the rows and the seed, known before the first
 * update, so that resuming and an uninterrupted run agree.
 */
import type { Problem } from '../data/problem.js';
import { keyedRandom } from '../util/random.js';
import { type AlgorithmName, algorithms } from './algorithm.js';

/** One rollout to come. */
export interface Visit<P = unknown> {
  readonly problem: Problem<P>;
  /** Unique in the run: names the rollout's random numbers. */
  readonly sample: number;
  /** From 0; how often all rows had been visited before. */
  readonly epoch: number;
}

export interface PlanOptions {
  readonly seed: number;
  /** Rollouts of one update; a multiple of `groupSize`. */
  readonly batchSize: number;
  /** Rollouts of one problem that stand together, for algorithms that compare them; else 1. */
  readonly groupSize: number;
  /** Rollouts in all; rounded up to whole groups. */
  readonly rollouts: number;
}

export interface PlannedWork {
  readonly algo: AlgorithmName;
  readonly epochs: number;
  readonly batchSize: number;
  /** Of a problem: in stage 1, or in a group of GRPO. */
  readonly numSamples: number;
}

interface PlannedCount {
  /** To train on, repeats included. */
  readonly rows: number;
  /** Distinct training problems. */
  readonly problems: number;
}

/**
 * Rollouts of stage 2: every row once an epoch. An algorithm without stage 1 also gets the samples that stage 1 takes, so
 * that all algorithms have the same budget.
 */
export function plannedRollouts({ algo, epochs, numSamples }: PlannedWork, { rows, problems }: PlannedCount): number {
  return epochs * rows + (algorithms[algo].needsVStar ? 0 : numSamples * problems);
}

/** The number of batches that {@link planBatches} makes of these rollouts. */
export function plannedUpdates(work: PlannedWork, count: PlannedCount): number {
  const groupSize = algorithms[work.algo].groupSize(work);
  const visits = Math.ceil(plannedRollouts(work, count) / groupSize) * groupSize;
  return Math.ceil(visits / work.batchSize);
}

/**
 * Batches of visits. Rows are visited in a new random order in each epoch; epochs follow each other without a border
 * between batches, so only the last batch may be smaller.
 *
 * @throws RangeError without rows, or when groups do not fit a batch.
 */
export function planBatches<P>(
  rows: readonly Problem<P>[],
  { seed, batchSize, groupSize, rollouts }: PlanOptions,
): Visit<P>[][] {
  if (rows.length === 0) throw new RangeError('no rows to train on');
  if (batchSize % groupSize !== 0) throw new RangeError(`batches of ${batchSize} do not hold groups of ${groupSize}`);
  const visits: Visit<P>[] = [];
  for (let epoch = 0; visits.length < rollouts; epoch++) {
    for (const problem of keyedRandom(seed, 'order', epoch).shuffle(rows)) {
      if (visits.length >= rollouts) break;
      for (let i = 0; i < groupSize; i++) visits.push({ problem, sample: visits.length, epoch });
    }
  }
  const batches: Visit<P>[][] = [];
  for (let start = 0; start < visits.length; start += batchSize) batches.push(visits.slice(start, start + batchSize));
  return batches;
}
