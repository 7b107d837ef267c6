/**
 * @file How far sampling is: completions that have ended, and for foretelling the time the effort that all of them are
 * expected to take. Completions end in bursts, the short ones first, and the last ones hold up the end, so their number
 * alone says little.
 *
 * A decoding step costs about half of what it costs with all slots in use, and the other half in proportion to those that
 * are: a full step is the unit of effort. Lengths to be expected follow from the completions that have ended and those
 * that run (Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations", 1958).
 */
import type { SampleOptions } from '../model/sampling/sample.js';
import type { Work } from '../util/reporter.js';

export interface SamplingEffort {
  /**
   * Callbacks for one call of the sampler; the calls of one work follow each other. `alike`: whether its completions are as
   * long as those of the calls before.
   */
  watch(alike: boolean): Required<Pick<SampleOptions, 'onToken' | 'onStep' | 'onCompletion'>>;
}

/** The work is told this often, in milliseconds. */
const tellEveryMs = 100;

/**
 * @param calls completions that each call of the sampler will ask for.
 * @param maxNewTokens tokens of the longest.
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

  const tell = (running: ReadonlyMap<number, number>) => {
    if (performance.now() < nextMs && done < total) return;
    nextMs = performance.now() + tellEveryMs;
    const waiting = calls.slice(0, call).reduce((sum, count) => sum + count, 0) - done - running.size;
    let toCome = effortToCome(ended, [...running.values()], waiting, slots);
    for (const count of calls.slice(call)) toCome += effortToCome(ended, [], count, slots);
    work.update({ done, total, effort: { done: made, total: made + toCome } });
  };

  return {
    watch(alike) {
      if (!alike) ended.fill(0);
      call += 1;
      /** Tokens so far of each running completion. */
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
          tell(running);
        },
      };
    },
  };
}

/** Of one step, in full steps. */
const stepEffort = (rows: number, slots: number) => (1 + rows / slots) / 2;

/**
 * Effort of what is still to be drawn, in full steps.
 *
 * @param ended completions that ended with n tokens, for n = 0 to the longest allowed.
 * @param ages tokens so far of those that run.
 * @param waiting completions that have not begun.
 * @param slots completions that can run at once.
 */
export function effortToCome(ended: Int32Array, ages: readonly number[], waiting: number, slots: number): number {
  const survival = survivalOf(ended, ages);
  // While completions wait, every slot is in use.
  const length = survival.reduce((sum, share) => sum + share, 0);
  let effort = (waiting * length) / slots;
  // Those that run, or that would run then, end one after the other.
  const starts = waiting > 0 && ages.length === 0 ? [0] : ages;
  const weight = waiting > 0 && ages.length === 0 ? Math.min(waiting, slots) : 1;
  for (let step = 1; step < survival.length; step += 1) {
    let rows = 0;
    for (const age of starts) rows += (weight * (survival[age + step] ?? 0)) / (survival[age] || 1);
    if (rows < 0.5) break;
    effort += stepEffort(rows, slots);
  }
  return effort;
}

/** `result[n]`: share of completions of more than n tokens, up to where none is expected any more. */
function survivalOf(ended: Int32Array, ages: readonly number[]): Float64Array {
  const limit = ended.length - 1;
  const oldest = Math.max(
    ended.findLastIndex((count) => count > 0),
    ...ages,
    0,
  );
  const runningAt = new Int32Array(limit + 1);
  for (const age of ages) runningAt[age]! += 1;
  let atRisk = ages.length + ended.reduce((sum, count) => sum + count, 0);
  let share = 1;
  // Between what was seen and the longest allowed there is nothing to go by: the middle, of their logarithms.
  const horizon = Math.max(oldest + 1, Math.round(Math.sqrt(oldest * limit)));
  const result = new Float64Array(Math.min(limit, horizon));
  for (let n = 0; n < result.length; n += 1) {
    if (atRisk > 0) share *= 1 - ended[n]! / atRisk;
    result[n] = share;
    atRisk -= ended[n]! + runningAt[n]!;
  }
  return result;
}
