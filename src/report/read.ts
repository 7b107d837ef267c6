/**
 * @file Reads the folder of a run of `train` or `sft` into a plain record for the report, whether the run is finished,
 * interrupted or damaged. All values are validated; parts that do not exist yet are absent from the record. Writes nothing
 * and takes no lock.
 */
import { basename, join, resolve } from 'node:path';
import { readEvaluation } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import type { TokenLoss } from '../policy/row-loss.js';
import type { SftMetrics } from '../run/events.js';
import { requireRun, runFiles } from '../run/folder.js';
import { readProblems, readRun, type StoredRun } from '../run/record.js';
import { readLoss, readSftRun, type StoredSft } from '../run/sft/record.js';
import { type Preflight, preflight } from '../stage1/preflight.js';
import { type Probe, readProbe } from '../stage1/probe-file.js';
import type { TrainedProblems } from '../stage1/trained-problems.js';
import { readVStarFile, type VStarEntry, type VStarFile } from '../stage1/v-star-file.js';
import { plannedFrom } from '../stage2/plan.js';
import { UserError } from '../util/errors.js';
import { check, integer, number, object, optional } from '../util/schema.js';
import { type Collector, followFile, followLog, type Part, remembered } from './follow.js';
import {
  countedRollouts,
  lastEpochOf,
  type RolloutsRecord,
  rolloutRecords,
  type StepRecord,
  stepRecords,
  type TimingsRecord,
  timingRecords,
} from './log-records.js';

export interface Stage1Record {
  readonly samplesPerProblem: number;
  /** Problems with all samples, of `total`. */
  readonly done: number;
  readonly total: number;
  /** Of the problems with all samples, those with k exact ones, k = 0..N. */
  readonly histogram: readonly number[];
  readonly entries: ReadonlyMap<string, VStarEntry>;
  /** Present once all samples are drawn. */
  readonly preflight?: Preflight;
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
  /** Updates of the whole run; absent until stage 1 has chosen the problems to train on. */
  readonly plannedUpdates?: number;
  readonly steps: readonly StepRecord[];
  readonly rollouts: RolloutsRecord;
  readonly timings: TimingsRecord;
}

/** @throws UserError when the folder holds no run, or a file in it is damaged. */
export function readRunRecord(path: string): RunRecord {
  requireRun(path);
  const record = followRun(path)();
  if (record === undefined) throw new UserError(`${path} was removed while it was read.`);
  return record;
}

/**
 * The run in a folder, as of each call, for as long as the run grows; undefined while there is none. Parts whose files did not
 * change are the same objects as in the last record.
 *
 * @param onDamage receives the error of a damaged file, whose last valid content is used. Absent: the error is thrown.
 */
export function followRun(path: string, onDamage?: (error: UserError) => void): Part<RunRecord | undefined> {
  const file = (name: keyof typeof runFiles) => join(path, runFiles[name]);
  const tolerant = <T>(part: Part<T>) => tolerating(part, onDamage);
  const whole = <T>(name: keyof typeof runFiles, read: (path: string) => T) =>
    tolerant<T | undefined>(followFile(file(name), read));
  const config = whole('config', readRun);
  const problemSet = whole('problems', readProblems);
  const evaluations = [whole('evalBefore', readEvaluation), whole('evalAfter', readEvaluation)] as const;
  const vStar = whole('vStar', readVStarFile);
  const probe = whole('probe', (at) => readProbe(at).probe);
  const updates = followLog(file('metrics'), () => stepRecords(file('metrics')));
  const steps = tolerant<readonly StepRecord[] | undefined>(updates.read);
  let firstStep = 0;
  const drawn = followLog(file('rollouts'), () => rolloutRecords(file('rollouts'), () => firstStep));
  const rollouts = tolerant<ReturnType<typeof drawn.read> | undefined>(drawn.read);
  const times = tolerant<TimingsRecord | undefined>(
    followLog(file('timings'), () => timingRecords(file('timings'))).read,
  );
  const stage1Of = remembered(
    (samples: VStarFile, { train }: RunRecord['problems'], trainOn: TrainedProblems = 'solved', probe?: Probe) =>
      stage1Record(
        samples,
        train.map(({ id }) => id),
        { trainOn, probe },
      ),
  );
  const plannedOf = remembered((run: StoredRun, set: RunRecord['problems'], samples: VStarFile | undefined) =>
    plannedFrom(run.options, { rows: set.rows, ids: set.train.map(({ id }) => id) }, samples?.entries),
  );
  const epochOf = remembered(lastEpochOf);
  const rolloutsOf = remembered(countedRollouts);
  return () => {
    const [stored, problems] = [config(), problemSet()];
    if (stored === undefined || problems === undefined) {
      // A run writes its problems before its configuration.
      if (stored !== undefined && onDamage === undefined) readProblems(file('problems'));
      return undefined;
    }
    const [before, after] = [evaluations[0](), evaluations[1]()];
    const samples = vStar();
    const planned = plannedOf(stored, problems, samples);
    const made = steps() ?? [];
    const epoch = epochOf(made);
    // A resumed run may be an epoch back, whose rollouts are no longer known.
    if ((epoch?.firstStep ?? 0) < firstStep) drawn.restart();
    firstStep = epoch?.firstStep ?? 0;
    return {
      name: basename(resolve(path)),
      path,
      stored,
      problems,
      ...(before && { before }),
      ...(after && { after }),
      ...(samples && { stage1: stage1Of(samples, problems, stored.options.trainOn, probe()) }),
      ...(planned !== undefined && { plannedUpdates: planned }),
      steps: made,
      rollouts: rolloutsOf(rollouts() ?? noRollouts, epoch),
      timings: times() ?? noTimings,
    };
  };
}

const noRollouts = { count: 0, points: [], newest: [], recent: [] };
const noTimings: TimingsRecord = { phases: new Map(), updates: [] };

/** `part` with errors passed to `onDamage`, if given; its last valid value is then used. */
export function tolerating<T>(part: Part<T>, onDamage?: (error: UserError) => void): Part<T | undefined> {
  if (onDamage === undefined) return part;
  let last: T | undefined;
  return () => {
    try {
      last = part();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      onDamage(error);
    }
    return last;
  };
}

interface SampledRun {
  readonly trainOn: TrainedProblems;
  readonly probe: Probe | undefined;
}

/** Of the problems `ids`. @param run the run that the samples are for, which a verdict needs. */
export function stage1Record(
  { samples, beta1, entries }: VStarFile,
  ids: readonly string[],
  run?: SampledRun,
): Stage1Record {
  const complete = ids.flatMap((id) => {
    const entry = entries.get(id);
    return entry?.rewards.length === samples ? [entry] : [];
  });
  const done = complete.length;
  const isWhole = done === ids.length && done > 0;
  const exact = complete.map((entry) => entry.exact.filter(Boolean).length);
  return {
    samplesPerProblem: samples,
    done,
    total: ids.length,
    histogram: Array.from({ length: samples + 1 }, (_, k) => exact.filter((count) => count === k).length),
    entries,
    ...(isWhole && run && { preflight: preflight(complete, { beta1, ...run }) }),
  };
}

export interface SftRecord {
  /** Name of the folder, without its path. */
  readonly name: string;
  readonly path: string;
  readonly stored: StoredSft;
  readonly before: TokenLoss | undefined;
  readonly after: TokenLoss | undefined;
  readonly isFinished: boolean;
  readonly steps: readonly SftMetrics[];
  readonly timings: TimingsRecord;
}

/** @throws UserError when the folder holds no run, or a file in it is damaged. */
export function readSftRecord(path: string): SftRecord {
  requireRun(path);
  const record = followSft(path)();
  if (record === undefined) throw new UserError(`${path} was removed while it was read.`);
  return record;
}

/** As {@link followRun}, for a run of `sft`. */
export function followSft(path: string, onDamage?: (error: UserError) => void): Part<SftRecord | undefined> {
  const file = (name: keyof typeof runFiles) => join(path, runFiles[name]);
  const whole = <T>(name: keyof typeof runFiles, read: (path: string) => T) =>
    tolerating<T | undefined>(followFile(file(name), read), onDamage);
  const config = whole('config', readSftRun);
  const losses = [whole('evalBefore', readLoss), whole('evalAfter', readLoss)] as const;
  const isFinished = whole('finalChecksums', () => true);
  const updates = followLog(file('metrics'), () => sftSteps(file('metrics')));
  const steps = tolerating<readonly SftMetrics[] | undefined>(updates.read, onDamage);
  const times = followLog(file('timings'), () => timingRecords(file('timings')));
  const timings = tolerating<TimingsRecord | undefined>(times.read, onDamage);
  return () => {
    const stored = config();
    if (stored === undefined) return undefined;
    return {
      name: basename(resolve(path)),
      path,
      stored,
      before: losses[0](),
      after: losses[1](),
      isFinished: isFinished() ?? false,
      steps: steps() ?? [],
      timings: timings() ?? noTimings,
    };
  };
}

const sftStepShape = object({
  step: integer({ min: 1 }),
  epoch: integer({ min: 0 }),
  loss: number(),
  tokens: integer({ min: 1 }),
  trainedTokens: integer({ min: 1 }),
  gradientNorm: number(),
  learningRate: number(),
  heldOutLoss: optional(number()),
});

function sftSteps(path: string): Collector<readonly SftMetrics[]> {
  const source = { path, what: "a run's log of updates" };
  const steps: SftMetrics[] = [];
  return {
    add(line, at) {
      const { heldOutLoss, ...step } = check(sftStepShape, line, source, `line ${at}`);
      steps.push({ ...step, ...(heldOutLoss !== undefined && { heldOutLoss }) });
    },
    value: () => [...steps],
  };
}
