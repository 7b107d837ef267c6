/**
 * @file Which problem each rollout of stage 2 completes: a function of the rows and the seed, fixed before the first update,
 * so that resumed and uninterrupted runs are identical.
 */
import type { Problem } from '../data/problem.js';
import { isTrained, type TrainedProblems } from '../stage1/trained-problems.js';
import type { VStarEntry } from '../stage1/v-star-file.js';
import { keyedRandom } from '../util/random.js';
import { type AlgorithmName, algorithms } from './algorithm.js';

/** One planned rollout. */
export interface Visit<P = unknown> {
  readonly problem: Problem<P>;
  /** Unique in the run; selects the rollout's random numbers. */
  readonly sample: number;
  /** Completed passes over all rows, from 0. */
  readonly epoch: number;
}

export interface PlanOptions {
  readonly seed: number;
  /** Rollouts per update; a multiple of `groupSize`. */
  readonly batchSize: number;
  /** Consecutive rollouts of one problem, for algorithms that compare them; otherwise 1. */
  readonly groupSize: number;
  /** Total number of rollouts, rounded up to whole groups. */
  readonly rollouts: number;
}

export interface PlannedWork {
  readonly algo: AlgorithmName;
  readonly epochs: number;
  readonly batchSize: number;
  /** Samples per problem: in stage 1, or in a GRPO group. */
  readonly numSamples: number;
  /** Largest number of updates. */
  readonly maxSteps?: number | undefined;
}

interface PlannedCount {
  /** Rows to train on, repeats included. */
  readonly rows: number;
  /** Distinct training problems. */
  readonly problems: number;
}

/**
 * Rollouts of stage 2: one per row and epoch. An algorithm without stage 1 gets the samples of stage 1 in addition, so that
 * all algorithms have the same budget.
 */
export function plannedRollouts({ algo, epochs, numSamples }: PlannedWork, { rows, problems }: PlannedCount): number {
  return epochs * rows + (algorithms[algo].hasStage1 ? 0 : numSamples * problems);
}

/** Number of batches that {@link planBatches} returns for these rollouts. */
export function plannedUpdates(work: PlannedWork, count: PlannedCount): number {
  const groupSize = algorithms[work.algo].groupSize(work);
  const visits = Math.ceil(plannedRollouts(work, count) / groupSize) * groupSize;
  return Math.min(Math.ceil(visits / work.batchSize), work.maxSteps ?? Number.POSITIVE_INFINITY);
}

/**
 * The updates of a whole run, from the samples of its stage 1; undefined while they are incomplete, or if the options lack a
 * number that an older version did not record.
 *
 * @param rows indices into `ids`. @param samples by problem id; undefined before stage 1.
 */
export function plannedFrom(
  options: Partial<PlannedWork> & Pick<PlannedWork, 'algo'> & { readonly trainOn?: TrainedProblems | undefined },
  { rows, ids }: { readonly rows: readonly number[]; readonly ids: readonly string[] },
  samples: ReadonlyMap<string, Pick<VStarEntry, 'rewards' | 'exact'>> | undefined,
): number | undefined {
  const { algo, epochs, batchSize, numSamples, trainOn = 'solved' } = options;
  if (batchSize === undefined || numSamples === undefined || epochs === undefined) return undefined;
  const work = { algo, epochs, batchSize, numSamples };
  if (!algorithms[algo].hasStage1) return plannedUpdates(work, { rows: rows.length, problems: ids.length });
  if (!ids.every((id) => samples?.get(id)?.rewards.length === numSamples)) return undefined;
  const trained = rows.filter((row) => isTrained(samples!.get(ids[row]!)!, trainOn));
  return plannedUpdates(work, { rows: trained.length, problems: ids.length });
}

/**
 * Batches of visits. Rows are visited in a new random order in each epoch. A batch may span two epochs, so only the last
 * batch may be smaller.
 *
 * @throws RangeError without rows, or when `batchSize` is not a multiple of `groupSize`.
 */
export function planBatches<P>(
  rows: readonly Problem<P>[],
  { seed, batchSize, groupSize, rollouts }: PlanOptions,
): Visit<P>[][] {
  if (rows.length === 0) throw new RangeError('planBatches: expected at least one row, found none');
  if (batchSize % groupSize !== 0) throw new RangeError(`batch size ${batchSize} is not a multiple of ${groupSize}`);
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
