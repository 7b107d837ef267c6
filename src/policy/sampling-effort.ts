/**
 * @file Progress of sampling: the number of finished completions, and an estimate of the total effort, from which the
 * remaining time follows. Completions finish in bursts, the short ones first, and a few long ones delay the end, so their
 * number alone predicts the time poorly.
 *
 * The unit of effort is a decoding step with all slots in use. Half of its cost is fixed; the other half is proportional to
 * the slots in use. Expected lengths are estimated from the finished and the running completions (Kaplan and Meier,
 * "Nonparametric Estimation from Incomplete Observations", 1958).
 */
import type { SampleOptions } from '../model/sampling/sample.js';
import type { Work } from '../util/reporter.js';

export interface SamplingEffort {
  /**
   * Callbacks for one call of the sampler; calls run one after another. `alike`: whether the lengths of earlier calls'
   * completions predict those of this call.
   */
  watch(alike: boolean): Required<Pick<SampleOptions, 'onToken' | 'onStep' | 'onCompletion'>>;
}

/** Milliseconds between reports of progress. */
const reportEveryMs = 100;

/**
 * @param calls number of completions of each call of the sampler.
 * @param maxNewTokens token limit of a completion.
 */
export function samplingEffort(work: Work, calls: readonly number[], maxNewTokens: number): SamplingEffort {
  const total = calls.reduce((sum, count) => sum + count, 0);
  /** `ended[n]` completions ended with n tokens. */
  const ended = new Int32Array(maxNewTokens + 1);
  let done = 0;
  let made = 0;
  let slots = 1;
  let nextMs = Number.NEGATIVE_INFINITY;

  let call = 0;

  const report = (running: ReadonlyMap<number, number>) => {
    if (performance.now() < nextMs && done < total) return;
    nextMs = performance.now() + reportEveryMs;
    const waiting = calls.slice(0, call).reduce((sum, count) => sum + count, 0) - done - running.size;
    let toCome = effortToCome(ended, [...running.values()], waiting, slots);
    for (const count of calls.slice(call)) toCome += effortToCome(ended, [], count, slots);
    work.update({ done, total, effort: { done: made, total: made + toCome } });
  };

  return {
    watch(alike) {
      if (!alike) ended.fill(0);
      call += 1;
      /** Tokens so far, by running completion. */
      const running = new Map<number, number>();
      return {
        onToken: (rollout) => void running.set(rollout, (running.get(rollout) ?? 0) + 1),
        onCompletion(rollout, { ids }) {
          running.delete(rollout);
          ended[ids.length]! += 1;
          done += 1;
        },
        onStep(rows) {
          slots = Math.max(slots, rows);
          made += stepEffort(rows, slots);
          report(running);
        },
      };
    },
  };
}

/** Effort of one step, in full steps. */
const stepEffort = (rows: number, slots: number) => (1 + rows / slots) / 2;

/**
 * Expected remaining effort, in full steps.
 *
 * @param ended number of completions that ended with n tokens, for n = 0 up to the token limit.
 * @param ages tokens so far of each running completion.
 * @param waiting completions not yet started.
 * @param slots completions that can run at once.
 */
export function effortToCome(ended: Int32Array, ages: readonly number[], waiting: number, slots: number): number {
  const survival = survivalOf(ended, ages);
  // Waiting completions start in free slots at once. While others wait, every slot is in use.
  const starting = Math.min(waiting, Math.max(0, slots - ages.length));
  const length = survival.reduce((sum, share) => sum + share, 0);
  let effort = ((waiting - starting) * length) / slots;
  // Those that run when none waits any more are taken to be as old as those that run now. They end one by one.
  for (let step = 0; step < survival.length; step += 1) {
    let rows = starting * survival[step]!;
    for (const age of ages) rows += (survival[age + step] ?? 0) / (survival[age] || 1);
    if (rows < 0.5) break;
    effort += stepEffort(rows, slots);
  }
  return effort;
}

/**
 * `result[n]`: estimated share of completions longer than n tokens. Beyond the longest length observed, completions are
 * assumed to end at the rate at which all tokens so far were the last ones; one end within the longest allowed length is the
 * prior. So before any completion has ended, completions are expected to be long.
 */
export function survivalOf(ended: Int32Array, ages: readonly number[]): Float64Array {
  const limit = ended.length - 1;
  const oldest = Math.max(
    ended.findLastIndex((count) => count > 0),
    ...ages,
    0,
  );
  const runningAt = new Int32Array(limit + 1);
  for (const age of ages) runningAt[age]! += 1;
  const tokens = sumOf(ended, (count, n) => count * n) + sumOf(ages, (age) => age);
  const ends = sumOf(ended.subarray(0, limit), (count) => count);
  const endRate = (ends + 1) / (tokens + limit);
  let atRisk = ages.length + sumOf(ended, (count) => count);
  let share = 1;
  const result = new Float64Array(limit);
  for (let n = 0; n < limit; n += 1) {
    share *= n > oldest ? 1 - endRate : atRisk > 0 ? 1 - ended[n]! / atRisk : 1;
    result[n] = share;
    atRisk -= ended[n]! + runningAt[n]!;
  }
  return result;
}

function sumOf(values: ArrayLike<number>, term: (value: number, index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += term(values[i]!, i);
  return sum;
}
