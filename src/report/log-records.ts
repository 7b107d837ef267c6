/**
 * @file What a report keeps of a run's logs: every update, a selection of rollouts, the durations. All lines are validated.
 * Long series are shortened for drawing: curves by averaging neighbouring steps, lists by keeping every n-th item.
 */
import type { StepMetrics } from '../stage2/step-metrics.js';
import { anything, check, flag, integer, number, object, optional, share, text } from '../util/schema.js';
import type { Collector } from './follow.js';

/** A line of metrics.jsonl; docs/metrics.md has the formulas. */
export type StepRecord = Pick<StepMetrics, keyof typeof stepNumbers | keyof typeof optionalNumbers | 'step' | 'epoch'>;

const stepNumbers = {
  loss: number(),
  reward: number(),
  exactRate: number(),
  formatRate: number(),
  truncatedRate: number(),
  meanTokens: number(),
  kl: number(),
  entropy: number(),
  learningRate: number(),
  sampledTokens: number(),
};

/** Fields of only some updates or runs. */
const optionalNumbers = {
  trackedValue: optional(share),
  trackedRetention: optional(share),
  trackedDivergence: optional(number({ min: 0 })),
  promptValue: optional(number()),
  gradientNorm: optional(number()),
  heldOutGreedy: optional(share),
  validationGreedy: optional(share),
};

const stepShape = object({
  ...stepNumbers,
  ...optionalNumbers,
  step: integer({ min: 1 }),
  epoch: integer({ min: 0 }),
});

export function stepRecords(path: string): Collector<readonly StepRecord[]> {
  const source = { path, what: "a run's log of updates" };
  const steps: StepRecord[] = [];
  return {
    add(line, at) {
      const step = check(stepShape, line, source, `line ${at}`);
      check(integer({ min: (steps.at(-1)?.step ?? 0) + 1 }), step.step, source, `line ${at}.step`);
      steps.push(Object.fromEntries(Object.entries(step).filter(([, value]) => value !== undefined)) as StepRecord);
    },
    value: () => [...steps],
  };
}

/** A rollout as a point of the scatter plot. */
export interface RolloutPoint {
  readonly step: number;
  readonly problem: string;
  readonly reward: number;
  readonly advantage: number;
  /** δ = S - S_ref, in nats. */
  readonly delta: number;
}

/** A rollout with its text. */
export interface Rollout extends RolloutPoint {
  readonly completion: string;
  readonly exact: boolean;
  readonly finished: boolean;
  readonly tokens: number;
}

/** Correct answers out of all. */
export interface Tally {
  readonly right: number;
  readonly total: number;
}

export interface RolloutsRecord {
  readonly count: number;
  /** An evenly spaced selection. */
  readonly points: readonly RolloutPoint[];
  /** The last ones, the newest at the end. */
  readonly newest: readonly Rollout[];
  /** By problem id, over the updates of the last epoch; absent before the first update. */
  readonly lastEpoch?: {
    readonly epoch: number;
    readonly firstStep: number;
    readonly lastStep: number;
    readonly tally: ReadonlyMap<string, Tally>;
  };
}

/** Most points in the scatter plot; more would not show anything new. */
const maxPoints = 500;
const maxNewest = 12;

const rolloutShape = object({
  step: number(),
  problem: text,
  completion: text,
  exact: flag,
  finished: flag,
  tokens: number(),
  reward: number(),
  advantage: number(),
  logProb: number(),
  refLogProb: number(),
});

/** Rollouts before the answers of an epoch are counted. */
export interface CollectedRollouts extends Omit<RolloutsRecord, 'lastEpoch'> {
  /** Those since the update that `firstStep` named. */
  readonly recent: readonly Pick<Rollout, 'step' | 'problem' | 'exact'>[];
}

/** @param firstStep the first update of the epoch that is counted, as of now; it never falls. */
export function rolloutRecords(path: string, firstStep: () => number): Collector<CollectedRollouts> {
  const source = { path, what: "a run's log of rollouts" };
  const points = evenly<RolloutPoint>(maxPoints);
  let newest: Rollout[] = [];
  let recent: CollectedRollouts['recent'][number][] = [];
  let count = 0;
  return {
    add(line, at) {
      count++;
      const { logProb, refLogProb, ...shown } = check(rolloutShape, line, source, `line ${at}`);
      const { step, problem, reward, advantage, exact } = shown;
      const delta = logProb - refLogProb;
      points.add({ step, problem, reward, advantage, delta });
      newest.push({ ...shown, delta });
      if (newest.length > 2 * maxNewest) newest = newest.slice(-maxNewest);
      if (step >= firstStep()) recent.push({ step, problem, exact });
    },
    value() {
      const first = firstStep();
      if ((recent[0]?.step ?? first) < first) recent = recent.filter(({ step }) => step >= first);
      return { count, points: [...points.items], newest: newest.slice(-maxNewest), recent: [...recent] };
    },
  };
}

/** The updates of the epoch that the last update belongs to; undefined before the first. */
export function lastEpochOf(steps: readonly StepRecord[]) {
  const last = steps.at(-1);
  if (last === undefined) return undefined;
  let first = last;
  for (let i = steps.length - 1; i >= 0 && steps[i]!.epoch === last.epoch; i--) first = steps[i]!;
  return { epoch: last.epoch, firstStep: first.step, lastStep: last.step };
}

export function countedRollouts(
  { recent, ...rollouts }: CollectedRollouts,
  lastEpoch: ReturnType<typeof lastEpochOf>,
): RolloutsRecord {
  if (lastEpoch === undefined) return rollouts;
  const tally = new Map<string, Tally>();
  for (const { step, problem, exact } of recent) {
    if (step < lastEpoch.firstStep || step > lastEpoch.lastStep) continue;
    const { right, total } = tally.get(problem) ?? { right: 0, total: 0 };
    tally.set(problem, { right: right + Number(exact), total: total + 1 });
  }
  return { ...rollouts, lastEpoch: { ...lastEpoch, tally } };
}

export interface TimingsRecord {
  /** Seconds by part of the run. For an interrupted part, only the process that finished it counts. */
  readonly phases: ReadonlyMap<string, number>;
  /** Seconds of every update, including those repeated by a resumed run. */
  readonly updates: readonly number[];
  /** Facts about the process that finished the run. */
  readonly machine?: {
    /** ISO 8601. */
    readonly date: string | undefined;
    readonly cores: number | undefined;
    /** Bytes. */
    readonly peakMemory: number | undefined;
    readonly parameters: number | undefined;
  };
}

const timingShape = object({
  seconds: number({ min: 0 }),
  step: optional(anything),
  phase: optional(text),
  date: optional(text),
  cores: optional(number({ min: 1 })),
  peakMemory: optional(number({ min: 0 })),
  parameters: optional(number({ min: 1 })),
});

export function timingRecords(path: string): Collector<TimingsRecord> {
  const source = { path, what: "a run's log of timings" };
  const phases = new Map<string, number>();
  const updates: number[] = [];
  let machine: TimingsRecord['machine'];
  return {
    add(line, at) {
      const timing = check(timingShape, line, source, `line ${at}`);
      const { seconds, step, phase, date, cores, peakMemory, parameters } = timing;
      if (step !== undefined) updates.push(seconds);
      else if (phase === 'process') machine = { date, cores, peakMemory, parameters };
      else {
        const name = check(text, phase, source, `line ${at}.phase`);
        phases.set(name, (phases.get(name) ?? 0) + seconds);
      }
    },
    value: () => ({ phases: new Map(phases), updates: [...updates], ...(machine && { machine }) }),
  };
}

/** Consecutive items that are drawn as one. */
interface Bin<T> {
  readonly first: T;
  readonly last: T;
  readonly items: readonly T[];
}

/** `items` in order, in at most `limit` bins of equal size. The last bin may be smaller. */
export function binned<T>(items: readonly T[], limit: number): Bin<T>[] {
  return binsOf(items, Math.max(1, Math.ceil(items.length / limit)));
}

/** `items` in order, in bins of `size` items. The last bin may be smaller. */
export function binsOf<T>(items: readonly T[], size: number): Bin<T>[] {
  const bins: Bin<T>[] = [];
  for (let start = 0; start < items.length; start += size) {
    const part = items.slice(start, start + size);
    bins.push({ first: part[0]!, last: part.at(-1)!, items: part });
  }
  return bins;
}

/** Keeps evenly spaced items of a stream of unknown length: between `limit` and twice as many. */
export function evenly<T>(limit: number): { add(item: T): void; readonly items: readonly T[] } {
  let stride = 1;
  let seen = 0;
  let items: T[] = [];
  return {
    add(item) {
      if (seen % stride === 0) items.push(item);
      seen++;
      if (items.length < 2 * limit) return;
      items = items.filter((_, i) => i % 2 === 0);
      stride *= 2;
    },
    get items() {
      return items;
    },
  };
}
