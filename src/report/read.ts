/**
 * @file Reads a run folder into a plain record for the report, whether the run is finished, interrupted or damaged. All values
 * are validated; parts that do not exist yet are absent from the record. Writes nothing and takes no lock.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { readEvaluation } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { requireRun, runFiles } from '../run/folder.js';
import { readLog } from '../run/logs.js';
import { readProblems, readRun, type StoredRun } from '../run/record.js';
import { type Preflight, preflight } from '../stage1/preflight.js';
import { type Probe, readProbe } from '../stage1/probe-file.js';
import type { TrainedProblems } from '../stage1/trained.js';
import { readVStarFile, type VStarEntry } from '../stage1/v-star-file.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { anything, check, flag, integer, number, object, optional, share, text } from '../util/schema.js';
import { evenly } from './charts/thin.js';

/** A line of metrics.jsonl; docs/metrics.md has the formulas. */
export type StepRecord = Pick<StepMetrics, keyof typeof stepNumbers | 'step' | 'epoch' | 'heldOutGreedy'>;

const stepNumbers = {
  loss: number(),
  reward: number(),
  exactRate: number(),
  formatRate: number(),
  truncatedRate: number(),
  meanTokens: number(),
  kl: number(),
  entropy: number(),
  gradientNorm: number(),
  learningRate: number(),
  sampledTokens: number(),
};

/** A rollout as a point of the scatter plot. */
export interface RolloutPoint {
  readonly step: number;
  readonly problem: string;
  readonly reward: number;
  readonly advantage: number;
  /** δ = S - S_ref, in nats. */
  readonly delta: number;
}

/** Correct answers out of all. */
export interface Tally {
  readonly right: number;
  readonly total: number;
}

interface RolloutsRecord {
  readonly count: number;
  /** An evenly spaced selection. */
  readonly points: readonly RolloutPoint[];
  /** By problem id, over the updates of the last epoch; absent before the first update. */
  readonly lastEpoch?: {
    readonly epoch: number;
    readonly firstStep: number;
    readonly lastStep: number;
    readonly tally: ReadonlyMap<string, Tally>;
  };
}

interface Stage1Record {
  readonly samplesPerProblem: number;
  /** Problems with all samples, of `total`. */
  readonly done: number;
  readonly total: number;
  readonly entries: ReadonlyMap<string, VStarEntry>;
  /** Present once all samples are drawn. */
  readonly preflight?: Preflight;
}

interface TimingsRecord {
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

export interface RunRecord {
  /** Name of the folder, without its path. */
  readonly name: string;
  readonly path: string;
  readonly stored: StoredRun;
  readonly problems: ReturnType<typeof readProblems>;
  readonly before?: EvalSummary;
  /** Present when the run is finished. */
  readonly after?: EvalSummary;
  /** Absent for algorithms without stage 1, and before it begins. */
  readonly stage1?: Stage1Record;
  readonly steps: readonly StepRecord[];
  readonly rollouts: RolloutsRecord;
  readonly timings: TimingsRecord;
}

/** Most points in the scatter plot; more would not show anything new. */
const maxPoints = 500;

/** @throws UserError when the folder holds no run, or a file in it is damaged. */
export function readRunRecord(path: string): RunRecord {
  requireRun(path);
  const file = (name: keyof typeof runFiles) => join(path, runFiles[name]);
  const stored = readRun(file('config'));
  const problems = readProblems(file('problems'));
  const ids = problems.train.map(({ id }) => id);
  const steps = readSteps(file('metrics'));
  return {
    name: basename(resolve(path)),
    path,
    stored,
    problems,
    ...(existsSync(file('evalBefore')) && { before: readEvaluation(file('evalBefore')) }),
    ...(existsSync(file('evalAfter')) && { after: readEvaluation(file('evalAfter')) }),
    ...(existsSync(file('vStar')) && {
      stage1: readStage1(file('vStar'), ids, stored.options.trainOn, readProbeOf(file('probe'))),
    }),
    steps,
    rollouts: readRollouts(file('rollouts'), steps),
    timings: readTimings(file('timings')),
  };
}

function readProbeOf(path: string): Probe | undefined {
  return existsSync(path) ? readProbe(path).probe : undefined;
}

function readStage1(
  path: string,
  ids: readonly string[],
  trainOn: TrainedProblems = 'solved',
  probe: Probe | undefined,
): Stage1Record {
  const { samples, beta1, entries } = readVStarFile(path);
  const complete = ids.flatMap((id) => {
    const entry = entries.get(id);
    return entry?.rewards.length === samples ? [entry] : [];
  });
  const done = complete.length;
  const isWhole = done === ids.length && done > 0;
  return {
    samplesPerProblem: samples,
    done,
    total: ids.length,
    entries,
    ...(isWhole && { preflight: preflight(complete, { beta1, trainOn, probe }) }),
  };
}

const stepShape = object({
  ...stepNumbers,
  step: integer({ min: 1 }),
  epoch: integer({ min: 0 }),
  heldOutGreedy: optional(share),
});

function readSteps(path: string): StepRecord[] {
  const source = { path, what: "a run's log of updates" };
  const steps: StepRecord[] = [];
  for (const record of readLog(path)) {
    const at = `line ${steps.length + 1}`;
    const { heldOutGreedy, ...step } = check(stepShape, record, source, at);
    check(integer({ min: (steps.at(-1)?.step ?? 0) + 1 }), step.step, source, `${at}.step`);
    steps.push({ ...step, ...(heldOutGreedy !== undefined && { heldOutGreedy }) });
  }
  return steps;
}

const rolloutShape = object({
  step: number(),
  problem: text,
  exact: flag,
  reward: number(),
  advantage: number(),
  logProb: number(),
  refLogProb: number(),
});

function readRollouts(path: string, steps: readonly StepRecord[]): RolloutsRecord {
  const source = { path, what: "a run's log of rollouts" };
  const epoch = steps.at(-1)?.epoch;
  const lastSteps = steps.filter((step) => step.epoch === epoch).map(({ step }) => step);
  const [firstStep, lastStep] = [lastSteps[0], lastSteps.at(-1)];
  const points = evenly<RolloutPoint>(maxPoints);
  const tally = new Map<string, Tally>();
  let count = 0;
  for (const record of readLog(path)) {
    count++;
    const { exact, logProb, refLogProb, ...rollout } = check(rolloutShape, record, source, `line ${count}`);
    const { step, problem } = rollout;
    points.add({ ...rollout, delta: logProb - refLogProb });
    if (firstStep === undefined || step < firstStep || step > lastStep!) continue;
    const { right, total } = tally.get(problem) ?? { right: 0, total: 0 };
    tally.set(problem, { right: right + Number(exact), total: total + 1 });
  }
  if (epoch === undefined || firstStep === undefined) return { count, points: points.items };
  return { count, points: points.items, lastEpoch: { epoch, firstStep, lastStep: lastStep!, tally } };
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

export function readTimings(path: string): TimingsRecord {
  const source = { path, what: "a run's log of timings" };
  const phases = new Map<string, number>();
  const updates: number[] = [];
  let machine: TimingsRecord['machine'];
  let line = 0;
  for (const record of readLog(path)) {
    line++;
    const timing = check(timingShape, record, source, `line ${line}`);
    const { seconds, step, phase, date, cores, peakMemory, parameters } = timing;
    if (step !== undefined) updates.push(seconds);
    else if (phase === 'process') machine = { date, cores, peakMemory, parameters };
    else {
      const name = check(text, phase, source, `line ${line}.phase`);
      phases.set(name, (phases.get(name) ?? 0) + seconds);
    }
  }
  return { phases, updates, ...(machine && { machine }) };
}
