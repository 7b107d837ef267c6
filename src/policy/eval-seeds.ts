/**
 * @file What several runs with different seeds show together. Seeds and problems are two samples with separate questions:
 *
 * - *Would another run do as well?* The spread of the runs' gains answers: mean, standard deviation, least and greatest.
 * - *Would these runs do as well on other problems?* A sign-flip test over clusters of problems answers. Each cluster has
 *   one value, the mean of its gains over the seeds. Runs that are evaluated on the same held-out problems only repeat their
 *   evidence about them, so seeds never count as more problems: the smallest p-value is the same for one seed and for a
 *   hundred. Averaging over seeds keeps the test valid, since under its null hypothesis each cluster's gain is as likely to have
 *   the opposite sign in every run, and so is their mean.
 *
 * The spread over seeds is reported as it is, without a p-value: n runs that all gain say so more clearly than 2 / 2^n does.
 */
import { keyedRandom } from '../util/random.js';
import { clusterBootstrap, type Interval, mean, signFlipTest } from '../util/statistics.js';
import type { ComparableEvaluation } from './eval-compare.js';

/** How a number differs between runs. */
export interface Spread {
  readonly mean: number;
  /** Sample standard deviation (n - 1); null for one run. */
  readonly sd: number | null;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const middle = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  const sd = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null;
  return { mean: middle, sd, min: Math.min(...values), max: Math.max(...values) };
}

/** One accuracy, greedy or sampled, over all runs. */
export interface SeedsMeasure {
  readonly before: Spread;
  readonly after: Spread;
  /** Of the runs' gains. */
  readonly gain: Spread;
  /** Runs that gained, and that lost. */
  readonly gained: number;
  readonly lost: number;
  /** Clusters whose gain, averaged over the seeds, is not zero; only these carry evidence. */
  readonly clusters: number;
  /** Bootstrap over clusters of the gain averaged over the seeds; null with one cluster, or if all have the same gain. */
  readonly ci95: Interval | null;
  readonly test: 'sign-flip-exact' | 'sign-flip-monte-carlo';
  /** Random sign assignments of the Monte Carlo test. */
  readonly draws?: number;
  /** Two-sided. */
  readonly pValue: number;
}

export interface SeedsComparison {
  readonly runs: number;
  /** Distinct held-out problems and their clusters, over all runs. */
  readonly problems: number;
  readonly clusters: number;
  /** Whether all runs held out the same problems. Otherwise a problem counts with the runs that held it out. */
  readonly sameProblems: boolean;
  readonly greedy: SeedsMeasure;
  /** Absent unless all runs sampled. */
  readonly sampled?: SeedsMeasure;
}

/** The evaluations of one run, on the same problems. */
export interface EvaluatedRun {
  readonly before: ComparableEvaluation;
  readonly after: ComparableEvaluation;
}

type ProblemResult = ComparableEvaluation['perProblem'][number];

/** @throws RangeError without runs, or when the two evaluations of a run are not of the same problems. */
export function compareSeeds(runs: readonly EvaluatedRun[]): SeedsComparison {
  const first = runs[0];
  if (first === undefined) throw new RangeError('compareSeeds: expected at least one run');
  const ids = (run: EvaluatedRun) => new Set(run.after.perProblem.map(({ id }) => id));
  const all = runs.map(ids);
  const distinct = new Set(all.flatMap((set) => [...set]));
  const clusters = new Set(runs.flatMap(({ after }) => after.perProblem.map(({ cluster }) => cluster)));
  const isSampled = runs.every(({ before, after }) =>
    [before, after].every(({ perProblem }) => perProblem.every(({ sampled }) => sampled !== undefined)),
  );
  return {
    runs: runs.length,
    problems: distinct.size,
    clusters: clusters.size,
    sameProblems: all.every((set) => set.size === distinct.size),
    greedy: measure(runs, ({ greedy }) => Number(greedy.exact)),
    ...(isSampled && { sampled: measure(runs, ({ sampled }) => sampled!.exactRate) }),
  };
}

function measure(runs: readonly EvaluatedRun[], rateOf: (problem: ProblemResult) => number): SeedsMeasure {
  const rates = runs.map(({ before, after }) => ({
    before: mean(before.perProblem.map(rateOf)),
    after: mean(after.perProblem.map(rateOf)),
  }));
  const gains = rates.map(({ before, after }) => after - before);
  const clusters = clusterGains(runs, rateOf);
  const differences = clusters.map(({ sum }) => sum);
  const { pValue, method, assignments } = signFlipTest(differences, keyedRandom('sign flip'));
  return {
    before: spreadOf(rates.map(({ before }) => before)),
    after: spreadOf(rates.map(({ after }) => after)),
    gain: spreadOf(gains),
    gained: gains.filter((gain) => gain > 0).length,
    lost: gains.filter((gain) => gain < 0).length,
    clusters: differences.filter((difference) => difference !== 0).length,
    ci95: clusterBootstrap(clusters, keyedRandom('ci95')),
    test: `sign-flip-${method}`,
    ...(method === 'monte-carlo' && { draws: assignments }),
    pValue,
  };
}

/** For each cluster, the sum over its problems of the gain averaged over the runs that held the problem out. */
function clusterGains(runs: readonly EvaluatedRun[], rateOf: (problem: ProblemResult) => number) {
  const gains = new Map<string, { readonly cluster: string; readonly values: number[] }>();
  for (const { before, after } of runs) {
    const earlier = new Map(before.perProblem.map((problem) => [problem.id, problem]));
    for (const problem of after.perProblem) {
      const other = earlier.get(problem.id);
      if (other === undefined) throw new RangeError(`compareSeeds: '${problem.id}' was evaluated only after training`);
      const known = gains.get(problem.id) ?? { cluster: problem.cluster, values: [] };
      known.values.push(rateOf(problem) - rateOf(other));
      gains.set(problem.id, known);
    }
  }
  const clusters = new Map<string, { sum: number; count: number }>();
  for (const { cluster, values } of gains.values()) {
    const { sum, count } = clusters.get(cluster) ?? { sum: 0, count: 0 };
    clusters.set(cluster, { sum: sum + rounded(mean(values)), count: count + 1 });
  }
  return [...clusters.values()].map(({ sum, count }) => ({ sum: rounded(sum), count }));
}

/** Removes rounding errors, so that gains that cancel over the seeds are exactly zero. */
function rounded(value: number): number {
  return Math.abs(value) < 1e-12 ? 0 : value;
}
