/**
 * @file The seconds that the parts of a run take, from the speed of the machine (speed.ts) and the lengths of completions. Sampling
 * is simulated step by step, with slots that are filled and batches that shrink as in model/sampling/sample.ts.
 */
import { planPasses } from '../../model/network/packed.js';
import { decodeBatches } from '../../model/sampling/program.js';
import type { PolicyLayout } from '../../policy/layout.js';
import { survivalOf } from '../../policy/sampling-effort.js';
import type { UpdateShape } from '../../policy/update-shape.js';
import { keyedRandom } from '../../util/random.js';
import { mean } from '../../util/statistics.js';
import type { Speed } from './speed.js';

/** Lengths in tokens of some completions. */
export interface Lengths {
  /** Of those that ended. */
  readonly ended: readonly number[];
  /** Of those that were still running when sampling stopped. */
  readonly running: readonly number[];
}

/** Seconds by part of the run. */
export type TimeParts = Readonly<Record<string, number>>;

export interface TimedWork {
  readonly speed: Speed;
  readonly caches: PolicyLayout['sizes'];
  readonly shape: UpdateShape;
  readonly maxNewTokens: number;
  /** Absent: every completion is taken to be as long as allowed. */
  readonly lengths?: Lengths | undefined;
}

/** Completions simulated for each slot; more take time in proportion. */
const roundsSimulated = 16;

/** Lengths of `count` completions, spread as the observed ones are, in random order. */
export function likelyLengths({ lengths, maxNewTokens }: TimedWork, count: number): number[] {
  if (lengths === undefined) return new Array<number>(count).fill(maxNewTokens);
  const ended = new Int32Array(maxNewTokens + 1);
  for (const length of lengths.ended) ended[length]! += 1;
  const survival = survivalOf(ended, lengths.running);
  const spread = Array.from({ length: count }, (_, i) => {
    const share = (i + 0.5) / count;
    const last = survival.findIndex((longer, n) => n > 0 && longer < share);
    return last < 0 ? maxNewTokens : last;
  });
  return keyedRandom('lengths', count).shuffle(spread);
}

/** Tokens of a completion, on average. */
export const meanLength = (work: TimedWork) => mean(likelyLengths(work, 1000));

/** Seconds to sample `completions` of `prompts` distinct prompts in one call. */
export function samplingSeconds(work: TimedWork, completions: number, prompts: number): number {
  const { speed, caches } = work;
  const { slots, admissions } = caches;
  if (completions === 0) return 0;
  const simulated = Math.min(completions, roundsSimulated * slots);
  const waiting = likelyLengths(work, simulated);
  const batches = decodeBatches(caches);
  const step = (rows: number) => speed.step.fixed + rows * speed.step.perRow;
  let left: number[] = [];
  let seconds = 0;
  while (waiting.length > 0 || left.length > 0) {
    if (waiting.length > 0 && slots - left.length >= Math.min(admissions, slots)) {
      const filled = waiting.splice(0, slots - left.length);
      seconds += Math.ceil(filled.length / admissions) * speed.admit;
      left.push(...filled);
    }
    seconds += step(waiting.length > 0 ? slots : batches.findLast((rows) => rows >= left.length)!);
    left = left.map((tokens) => tokens - 1).filter((tokens) => tokens > 0);
  }
  // Beyond those simulated, every slot is in use.
  const full = (meanLength(work) * step(slots)) / slots + speed.admit / admissions;
  return seconds + (completions - simulated) * full + Math.ceil(prompts / caches.prompts) * speed.prefill;
}

/** Seconds of an update on one completion of each of these prompts. */
export function updateSeconds(work: TimedWork, prompts: readonly (readonly number[])[]): number {
  const { speed, shape } = work;
  const lengths = likelyLengths(work, prompts.length);
  const rows = prompts.map((promptIds, i) => ({ promptIds, completionIds: new Int32Array(lengths[i]!) }));
  return speed.rest + speed.pass * planPasses(rows, shape).length;
}

/** Seconds for writing these bytes to a disk and flushing them, assumed rather than measured: 1 GB a second. */
export const writingSeconds = (bytes: number) => bytes / 1e9;
