/**
 * @file The value tracker of SPO: how likely each problem is solved by the policy as it is, estimated over the whole run. Xu and
 * Ding, "Single-stream Policy Optimization" (2025, arXiv 2509.13232), section 3, with the constants of the authors' program. A
 * problem's value v is the mean of Beta(alpha, beta), which counts its rewards, old ones less: the further the policy has moved
 * since the last visit, the less. v is the baseline of the next advantage, and decides how often the problem is drawn.
 *
 * Rewards between 0 and 1 count in part as a success. Departures from the authors' program:
 *  1. at the first visit, how far the policy has moved is measured from the reference, which drew stage 1; theirs takes 0;
 *  2. it is measured before the update, between the policies that drew the rewards; theirs is between those after the updates;
 *  3. if a problem is twice in an update, both rewards count; theirs keeps the last.
 *
 * Numbers are kept as float32, the format of checkpoints, so that a resumed run has the same ones.
 */
import type { Problem } from '../data/problem.js';
import type { CompletionRow } from '../model/network/log-probs.js';
import { UserError } from '../util/errors.js';
import { keyedRandom, type Random } from '../util/random.js';
import { mean } from '../util/statistics.js';
import type { Visit } from './plan.js';

/** A problem's successes and failures, discounted. */
export interface Belief {
  readonly alpha: number;
  readonly beta: number;
}

/** Bounds of the factor by which older rewards are discounted at a visit. */
const retained = { least: 0.875, most: 0.96 } as const;
/** Older rewards count half when a token's log-prob has moved by this much on average, in nats. */
const halfLife = 0.06;
/** Added to every problem's weight in the draw, so that none is forgotten. */
const exploration = 0.05;

/**
 * The belief from the rewards of stage 1: their mean, with half a success and half a failure added, and the weight that the
 * discount would leave it in the long run, 1 / (1 - 0.875) = 8 rewards.
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

/** D: the mean over a completion's tokens of |log π_then(token) - log π_now(token)|, the authors' estimate of the divergence. */
export function divergenceOf(then: ArrayLike<number>, now: ArrayLike<number>): number {
  return mean(Array.from(then, (logProb, i) => Math.abs(logProb - now[i]!)));
}

/** A problem's weight in the draw: sqrt(v·(1 - v)) + 0.05, the standard deviation of a success and a constant. */
export const priority = (value: number): number => Math.sqrt(value * (1 - value)) + exploration;

/**
 * Draws `count` items without repetition, in proportion to their weights; more than there are, in rounds. The smallest of
 * -log(u) / weight is the first drawn, and so on (Efraimidis and Spirakis, 2006).
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

/** What a checkpoint keeps of a tracker, in the order of its problems: completions of the last visits one after the other. */
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

/** Means over the rollouts of an update, see docs/metrics.md. */
interface TrackedMeans {
  readonly value: number;
  readonly retention: number;
  readonly divergence: number;
}

export interface ValueTracker<P = unknown> {
  /** v of a problem before the update. */
  trackedValueOf(problemId: string): number;
  /** The visits of an update, with problems drawn by their values. */
  choose(visits: readonly Visit<P>[], step: number): Visit<P>[];
  /** The completions of the last visits of these rollouts' problems, to be scored by the policy before the update. */
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
  /** The rows to train on; a problem may have several. */
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
        // Within an update the policy does not move.
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
      problem: "The values in the checkpoint are not those of this run's problems.",
      expected: `${ids.length} problems, with as many tokens as their lengths say`,
      found: `${alpha.length} problems, ${tokens.length} tokens for ${total}`,
      fix: 'It was changed after it was saved. Remove it to go on from an older one.',
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
