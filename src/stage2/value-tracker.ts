/**
 * @file The value tracker of SPO: estimates, over the whole run, how likely the current policy is to solve each problem. Xu
 * and Ding, "Single-stream Policy Optimization" (2025, arXiv 2509.13232), section 3, with the constants of the authors'
 * program. A problem's value v is the mean of Beta(alpha, beta), which counts its rewards and discounts older ones: the
 * further the policy has moved since the last visit, the more. v is the baseline of the next advantage and decides how often
 * the problem is drawn.
 *
 * A reward between 0 and 1 counts as a partial success. Departures from the authors' program:
 *  1. at the first visit, the policy's movement is measured from the reference, which drew stage 1; theirs takes 0;
 *  2. movement is measured between the policies that drew the rewards; theirs is measured between the policies after the updates;
 *  3. if a problem occurs twice in an update, both rewards count; theirs keeps the last.
 *
 * Numbers are rounded to float32, the format of checkpoints, so a resumed run has the same values.
 */
import type { Problem } from '../data/problem.js';
import type { CompletionRow } from '../model/network/log-probs.js';
import { UserError } from '../util/errors.js';
import { keyedRandom, type Random } from '../util/random.js';
import { mean } from '../util/statistics.js';
import type { Visit } from './plan.js';

/** Discounted numbers of a problem's successes and failures. */
export interface Belief {
  readonly alpha: number;
  readonly beta: number;
}

/** Bounds of the factor by which older rewards are discounted at a visit. */
const retained = { least: 0.875, most: 0.96 } as const;
/** Older rewards count half when a token's log-prob has moved by this many nats on average. */
const halfLife = 0.06;
/** Added to every problem's weight in the draw, so that every problem is drawn occasionally. */
const exploration = 0.05;

/**
 * The belief from the rewards of stage 1: their mean, with half a success and half a failure added, at the weight that
 * discounted rewards have in the long run, 1 / (1 - 0.875) = 8 rewards.
 */
export function firstBelief(rewards: readonly number[]): Belief {
  const weight = 1 / (1 - retained.least);
  const value = (sum(rewards) + 0.5) / (rewards.length + 1);
  return { alpha: Math.fround(weight * value), beta: Math.fround(weight * (1 - value)) };
}

/** v = alpha / (alpha + beta). */
export const meanOf = ({ alpha, beta }: Belief): number => alpha / (alpha + beta);

/** rho = 2^(-D / 0.06), from 0.875 to 0.96. */
export function retention(divergence: number): number {
  return Math.min(retained.most, Math.max(retained.least, 2 ** (-divergence / halfLife)));
}

/** The belief after one more reward: alpha = rho·alpha + r, beta = rho·beta + 1 - r. */
export function updatedBelief({ alpha, beta }: Belief, reward: number, rho: number): Belief {
  return { alpha: Math.fround(rho * alpha + reward), beta: Math.fround(rho * beta + 1 - reward) };
}

/** D: the mean over a completion's tokens of |log π_then(token) - log π_now(token)|, the authors' divergence estimate. */
export function divergenceOf(then: ArrayLike<number>, now: ArrayLike<number>): number {
  return mean(Array.from(then, (logProb, i) => Math.abs(logProb - now[i]!)));
}

/** A problem's weight in the draw: sqrt(v·(1 - v)) + 0.05, the standard deviation of its success plus a constant. */
export const priority = (value: number): number => Math.sqrt(value * (1 - value)) + exploration;

/**
 * Draws `count` items without replacement, in proportion to their weights; in several rounds if there are fewer items. Items are
 * drawn in increasing order of -log(u) / weight (Efraimidis and Spirakis, 2006).
 */
export function drawByWeight<T>(
  items: readonly T[],
  count: number,
  weightOf: (item: T) => number,
  random: Pick<Random, 'uniform'>,
): T[] {
  const drawn: T[] = [];
  while (drawn.length < count) {
    // 1 - u is never 0.
    const keyed = items.map((item) => ({ item, key: -Math.log(1 - random.uniform()) / weightOf(item) }));
    keyed.sort((a, b) => a.key - b.key);
    drawn.push(...keyed.slice(0, count - drawn.length).map(({ item }) => item));
  }
  return drawn;
}

/** A tracker's state in a checkpoint, in the order of its problems; the completions of the last visits are concatenated. */
export type TrackedState = Readonly<Record<'alpha' | 'beta' | 'lengths' | 'tokens' | 'logProbs', Float32Array>>;

/** A completion with the log-probs of its tokens under the policy that drew it. */
interface Visited {
  readonly completionIds: readonly number[];
  readonly logProbs: ArrayLike<number>;
}

interface Observation extends Visited {
  readonly problem: Pick<Problem, 'id'>;
  readonly score: { readonly reward: number };
  /** The log-probs under the reference. */
  readonly refLogProbs: ArrayLike<number>;
}

/** Means over the rollouts of an update (docs/metrics.md). */
interface TrackedMeans {
  readonly value: number;
  readonly retention: number;
  readonly divergence: number;
}

export interface ValueTracker<P = unknown> {
  /** v of a problem before the update. */
  trackedValueOf(problemId: string): number;
  /** Draws the problems of an update by their values. */
  choose(visits: readonly Visit<P>[], step: number): Visit<P>[];
  /** The last completions of these rollouts' problems, to be scored by the policy before the update. */
  toScore(rollouts: readonly RolloutOf[]): CompletionRow[];
  /** Counts the rewards of an update. @param scored the log-probs of {@link toScore}. */
  observe(rollouts: readonly Observation[], scored: readonly ArrayLike<number>[]): TrackedMeans;
  state(): TrackedState;
}

interface RolloutOf {
  readonly problem: Pick<Problem, 'id'>;
  readonly promptIds: ArrayLike<number>;
}

export interface TrackerOptions<P> {
  /** The rows to train on. A problem may have several. */
  readonly rows: readonly Problem<P>[];
  /** The rewards of stage 1. */
  readonly rewardsOf: (problemId: string) => readonly number[];
  readonly seed: number;
  /** Of a checkpoint. */
  readonly saved?: TrackedState | undefined;
}

/** @throws UserError when the saved state is not of these problems. */
export function openTracker<P>({ rows, rewardsOf, seed, saved }: TrackerOptions<P>): ValueTracker<P> {
  const ids = [...new Set(rows.map(({ id }) => id))];
  const beliefs = new Map(ids.map((id) => [id, firstBelief(rewardsOf(id))]));
  const visited = new Map<string, Visited>();
  if (saved !== undefined) restore(ids, saved, beliefs, visited);
  const current = (id: string) => meanOf(beliefs.get(id)!);
  const distinct = (rollouts: readonly Pick<RolloutOf, 'problem'>[]) => [
    ...new Set(rollouts.map(({ problem }) => problem.id)),
  ];

  return {
    trackedValueOf: current,
    choose(visits, step) {
      const random = keyedRandom(seed, 'problems', step);
      const drawn = drawByWeight(rows, visits.length, ({ id }) => priority(current(id)), random);
      return visits.map((visit, i) => ({ ...visit, problem: drawn[i]! }));
    },
    toScore(rollouts) {
      const promptOf = new Map(rollouts.map(({ problem, promptIds }) => [problem.id, promptIds]));
      return distinct(rollouts)
        .filter((id) => visited.has(id))
        .map((id) => ({ promptIds: promptOf.get(id)!, completionIds: visited.get(id)!.completionIds }));
    },
    observe(rollouts, scored) {
      const again = distinct(rollouts).filter((id) => visited.has(id));
      const moved = new Map(again.map((id, i) => [id, divergenceOf(visited.get(id)!.logProbs, scored[i]!)]));
      const before = mean(rollouts.map(({ problem }) => current(problem.id)));
      const divergences: number[] = [];
      const retentions: number[] = [];
      for (const { problem, score, completionIds, logProbs, refLogProbs } of rollouts) {
        const { id } = problem;
        const divergence = moved.get(id) ?? divergenceOf(refLogProbs, logProbs);
        const rho = retention(divergence);
        beliefs.set(id, updatedBelief(beliefs.get(id)!, score.reward, rho));
        visited.set(id, { completionIds, logProbs });
        // The policy does not move within an update.
        moved.set(id, 0);
        divergences.push(divergence);
        retentions.push(rho);
      }
      return { value: before, retention: mean(retentions), divergence: mean(divergences) };
    },
    state() {
      const last = ids.map((id) => visited.get(id));
      return {
        alpha: Float32Array.from(ids, (id) => beliefs.get(id)!.alpha),
        beta: Float32Array.from(ids, (id) => beliefs.get(id)!.beta),
        lengths: Float32Array.from(last, (visit) => visit?.completionIds.length ?? 0),
        tokens: joined(last.map((visit) => visit?.completionIds ?? [])),
        logProbs: joined(last.map((visit) => visit?.logProbs ?? [])),
      };
    },
  };
}

function restore(
  ids: readonly string[],
  { alpha, beta, lengths, tokens, logProbs }: TrackedState,
  beliefs: Map<string, Belief>,
  visited: Map<string, Visited>,
): void {
  const total = sum(lengths);
  const counts = [alpha.length, beta.length, lengths.length].every((count) => count === ids.length);
  if (!counts || tokens.length !== total || logProbs.length !== total) {
    throw new UserError({
      problem: "The values in the checkpoint do not belong to this run's problems.",
      expected: `${ids.length} problems, and as many tokens as their lengths add up to`,
      found: `${alpha.length} problems, ${tokens.length} tokens for ${total}`,
      fix: 'The checkpoint was changed after it was saved. Remove it to resume from an older one.',
    });
  }
  let start = 0;
  for (const [i, id] of ids.entries()) {
    beliefs.set(id, { alpha: alpha[i]!, beta: beta[i]! });
    const end = start + lengths[i]!;
    const completionIds = Array.from(tokens.subarray(start, end));
    if (completionIds.length > 0) visited.set(id, { completionIds, logProbs: logProbs.slice(start, end) });
    start = end;
  }
}

function joined(parts: readonly ArrayLike<number>[]): Float32Array {
  const all = new Float32Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
