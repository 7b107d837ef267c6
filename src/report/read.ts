/**
 * @file Reads a run's folder into one plain record for the report: finished, stopped anywhere, or damaged. Whatever is used
 * is checked first; a part that is not there yet is absent from the record. Writes nothing and takes no lock.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { readEvaluation } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { requireRun, runFiles } from '../run/folder.js';
import { readLog } from '../run/logs.js';
import { readProblems, readRun, type StoredRun } from '../run/record.js';
import { type Preflight, preflight } from '../stage1/preflight.js';
import { readVStarFile, type VStarEntry } from '../stage1/v-star-file.js';
import type { StepMetrics } from '../stage2/step-metrics.js';
import { jsonChecks } from '../util/json-checks.js';
import { evenly } from './charts/thin.js';

/** What one line of metrics.jsonl says; docs/metrics.md has the formulas. */
export type StepRecord = Pick<StepMetrics, (typeof stepNumbers)[number] | 'step' | 'epoch' | 'heldOutGreedy'>;

const stepNumbers = [
  ...(['loss', 'reward', 'exactRate', 'formatRate', 'truncatedRate', 'meanTokens', 'kl', 'entropy'] as const),
  ...(['gradientNorm', 'learningRate', 'sampledTokens'] as const),
] as const;

/** A rollout as a point: what its reward asked for, and what the policy made of it. */
export interface RolloutPoint {
  readonly step: number;
  readonly problem: string;
  readonly reward: number;
  readonly advantage: number;
  /** δ = S - S_ref, in nats. */
  readonly delta: number;
}

/** Right answers out of all. */
export interface Tally {
  readonly right: number;
  readonly total: number;
}

export interface RolloutsRecord {
  readonly count: number;
  /** Evenly spaced ones. */
  readonly points: readonly RolloutPoint[];
  /** By problem id, over the updates of the last epoch; absent before the first update. */
  readonly lastEpoch?: {
    readonly epoch: number;
    readonly firstStep: number;
    readonly lastStep: number;
    readonly tally: ReadonlyMap<string, Tally>;
  };
}

export interface Stage1Record {
  readonly samplesPerProblem: number;
  /** Problems that have all their samples, of `total`. */
  readonly done: number;
  readonly total: number;
  readonly entries: ReadonlyMap<string, VStarEntry>;
  /** Once all samples are there. */
  readonly preflight?: Preflight;
}

export interface TimingsRecord {
  /** Seconds by part of the run; a part that was interrupted counts only where it was finished. */
  readonly phases: ReadonlyMap<string, number>;
  /** Seconds of every update, those that a resumed run made again included. */
  readonly updates: readonly number[];
}

export interface RunRecord {
  /** The folder's own name. */
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

/** Points of the scatter plot: beyond about a thousand more of them show nothing new. */
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
    ...(existsSync(file('vStar')) && { stage1: readStage1(file('vStar'), ids, stored.options.keepUnsolved) }),
    steps,
    rollouts: readRollouts(file('rollouts'), steps),
    timings: readTimings(file('timings')),
  };
}

function readStage1(path: string, ids: readonly string[], keepUnsolved: boolean): Stage1Record {
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
    ...(isWhole && { preflight: preflight(complete, { beta1, keepUnsolved }) }),
  };
}

function readSteps(path: string): StepRecord[] {
  const check = jsonChecks({ path, what: "a run's log of updates" });
  const steps: StepRecord[] = [];
  for (const record of readLog(path)) {
    const fields = check.object(record, 'a line');
    const where = (name: string) => `${name} of line ${steps.length + 1}`;
    const numbers = Object.fromEntries(stepNumbers.map((name) => [name, check.number(fields.get(name), where(name))]));
    const heldOut = fields.get('heldOutGreedy');
    steps.push({
      ...(numbers as Pick<StepRecord, (typeof stepNumbers)[number]>),
      step: check.integer(fields.get('step'), where('step'), { min: (steps.at(-1)?.step ?? 0) + 1 }),
      epoch: check.integer(fields.get('epoch'), where('epoch'), { min: 0 }),
      ...(heldOut !== undefined && {
        heldOutGreedy: check.number(heldOut, where('heldOutGreedy'), { min: 0, max: 1 }),
      }),
    });
  }
  return steps;
}

function readRollouts(path: string, steps: readonly StepRecord[]): RolloutsRecord {
  const check = jsonChecks({ path, what: "a run's log of rollouts" });
  const epoch = steps.at(-1)?.epoch;
  const lastSteps = steps.filter((step) => step.epoch === epoch).map(({ step }) => step);
  const [firstStep, lastStep] = [lastSteps[0], lastSteps.at(-1)];
  const points = evenly<RolloutPoint>(maxPoints);
  const tally = new Map<string, Tally>();
  let count = 0;
  for (const record of readLog(path)) {
    const fields = check.object(record, 'a line');
    count++;
    const number = (name: string) => check.number(fields.get(name), `${name} of line ${count}`);
    const step = number('step');
    const problem = check.string(fields.get('problem'), `problem of line ${count}`);
    const exact = check.boolean(fields.get('exact'), `exact of line ${count}`);
    const delta = number('logProb') - number('refLogProb');
    points.add({ step, problem, reward: number('reward'), advantage: number('advantage'), delta });
    if (firstStep === undefined || step < firstStep || step > lastStep!) continue;
    const { right, total } = tally.get(problem) ?? { right: 0, total: 0 };
    tally.set(problem, { right: right + Number(exact), total: total + 1 });
  }
  if (epoch === undefined || firstStep === undefined) return { count, points: points.items };
  return { count, points: points.items, lastEpoch: { epoch, firstStep, lastStep: lastStep!, tally } };
}

function readTimings(path: string): TimingsRecord {
  const check = jsonChecks({ path, what: "a run's log of timings" });
  const phases = new Map<string, number>();
  const updates: number[] = [];
  let line = 0;
  for (const record of readLog(path)) {
    const fields = check.object(record, 'a line');
    line++;
    const seconds = check.number(fields.get('seconds'), `seconds of line ${line}`, { min: 0 });
    if (fields.has('step')) updates.push(seconds);
    else {
      const phase = check.string(fields.get('phase'), `phase of line ${line}`);
      phases.set(phase, (phases.get(phase) ?? 0) + seconds);
    }
  }
  return { phases, updates };
}
