/**
 * @file Lists the runs in a folder with the state of each, for `tinyzero runs`, even if files are missing or damaged.
 * Removes runs under their locks.
 */
import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import type { TrainingOptions } from '../../options/settings.js';
import { readEvaluation } from '../../policy/eval-compare.js';
import { preflight } from '../../stage1/preflight.js';
import { readVStarFile } from '../../stage1/v-star-file.js';
import { algorithms } from '../../stage2/algorithm.js';
import { readCheckpointState } from '../../stage2/checkpoint.js';
import { plannedFrom } from '../../stage2/plan.js';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { explainWrites, unreadable } from '../../util/file.js';
import { hasFinal } from '../checkpoints.js';
import { checkpointName, commandOfRun, runFiles, wholeCheckpoints } from '../folder.js';
import { lockFolder, lockHolder } from '../lock.js';
import { readLog } from '../logs.js';
import { holdsPlan, readPlan } from '../many/plan.js';
import { readProblems, readRun } from '../record.js';
import { readSftRun } from '../sft/record.js';

type RunState = 'finished' | 'running' | 'stopped' | 'damaged';

export interface RunEntry {
  /** Path of the run folder. */
  readonly folder: string;
  /** When the configuration was written, ISO 8601; null before that. */
  readonly started: string | null;
  readonly model: string | null;
  readonly algo: string | null;
  /** `multiplication`, or the file of the task, the problems or the lines. */
  readonly task: string | null;
  /** The value of `--name`. */
  readonly name: string | null;
  readonly note: string | null;
  /** The resolved options in use; null before the configuration is written. */
  readonly options: Readonly<Record<string, unknown>> | null;
  /** Exact rate on held-out problems: sampled if there are samples, otherwise greedy. Null while unknown. */
  readonly before: number | null;
  readonly after: number | null;
  /** Updates made so far. */
  readonly updates: number;
  readonly plannedUpdates: number | null;
  /** The update from which `train --resume` continues; null when nothing can be resumed. */
  readonly resumesAfter: number | null;
  readonly state: RunState;
  /** Details of the state: the running process, where the run stopped, or what is damaged. */
  readonly detail: string | null;
}

/**
 * Lists the runs in `folder` and in its sets of runs, newest first. If `folder` is itself a run, lists only that run.
 *
 * @throws UserError when the folder cannot be read.
 */
export function listRuns(folder: string): RunEntry[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTDIR') throw new UserError(`${folder} is not a folder.`, { cause: error });
    throw unreadable(folder, error);
  }
  const folders = names.includes(runFiles.config) ? [folder] : names.map((name) => join(folder, name));
  const inSets = folders.filter(holdsPlan).flatMap((set) => readdirSync(set).map((name) => join(set, name)));
  const single = folders.filter((path) => !holdsPlan(path));
  return [...single, ...inSets].filter(isRun).map(describeRun).sort(newestFirst);
}

/** The built-in task. */
const multiplication = 'multiplication';

/**
 * A run that has just started has a lock but no configuration yet. A model's folder has a config.json too, next to its
 * weights.
 */
function isRun(folder: string): boolean {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return false;
  if (lockHolder(folder) !== undefined) return true;
  const isModel = () => readdirSync(folder).some((name) => /^model.*\.safetensors$/.test(name));
  return existsSync(join(folder, runFiles.config)) && !isModel();
}

function newestFirst(a: RunEntry, b: RunEntry): number {
  const time = ({ started }: RunEntry) => started ?? '9999'; // a run that has just started is the newest
  return time(b).localeCompare(time(a)) || a.folder.localeCompare(b.folder);
}

const unknown = {
  started: null,
  model: null,
  algo: null,
  task: null,
  name: null,
  note: null,
  options: null,
  before: null,
  after: null,
  updates: 0,
  plannedUpdates: null,
  resumesAfter: null,
} as const;

/** The state of the run in `folder`, which has a configuration or a lock. */
export function describeRun(folder: string): RunEntry {
  const holder = lockHolder(folder);
  const running =
    holder &&
    ({
      state: 'running',
      detail: `process ${holder.pid}${holder.host === hostname() ? '' : ` on ${holder.host}`}`,
    } as const);
  const config = join(folder, runFiles.config);
  if (running && !existsSync(config)) return { folder, ...unknown, ...running };
  let known: Omit<RunEntry, 'state' | 'detail'> = { folder, ...unknown };
  try {
    known = { ...known, started: statSync(config).mtime.toISOString() };
    if (commandOfRun(folder) === 'sft') {
      const sft = describeSft(folder, known);
      return running ? { ...sft, ...running } : sft;
    }
    const { options } = readRun(config);
    const { model = null, algo, name = null, note = null, task, problems } = options;
    known = { ...known, model, algo, task: task ?? problems ?? multiplication, name, note, options: givenOf(options) };
    known = { ...known, before: exactRate(folder, 'evalBefore'), after: exactRate(folder, 'evalAfter') };
    known = { ...known, ...updatesOf(folder, options) };
    return { ...known, ...(running ?? stateOf(folder, options, known)) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Files that a running process is writing may briefly look damaged.
    return { ...known, ...(running ?? { state: 'damaged', detail: error.message }) };
  }
}

/** Without options that the run did not use. */
function givenOf(options: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** A run of supervised training, which measures a loss but no accuracy. */
function describeSft(folder: string, known: Omit<RunEntry, 'state' | 'detail'>): RunEntry {
  const { options, updates: planned } = readSftRun(join(folder, runFiles.config));
  let updates = 0;
  for (const { step } of readLog(join(folder, runFiles.metrics))) updates = Number(step);
  const isFinished = hasFinal(folder);
  const resumesAfter = isFinished ? null : (wholeCheckpoints(folder).at(-1) ?? 0);
  const plannedUpdates = planned ?? null;
  const { model = null, data: task = null, name = null, note = null } = options;
  const about = { model, algo: 'sft', task, name, note, options: givenOf(options) };
  const entry = { ...known, ...about, updates, plannedUpdates, resumesAfter };
  return isFinished
    ? { ...entry, plannedUpdates: updates, state: 'finished', detail: null }
    : {
        ...entry,
        state: 'stopped',
        detail: `at update ${resumesAfter}${planned === undefined ? '' : ` of ${planned}`}`,
      };
}

/** Null before the evaluation. */
function exactRate(folder: string, name: 'evalBefore' | 'evalAfter'): number | null {
  const path = join(folder, runFiles[name]);
  if (!existsSync(path)) return null;
  const { greedy, sampled } = readEvaluation(path);
  return (sampled ?? greedy).exact.rate;
}

function updatesOf(folder: string, options: TrainingOptions) {
  let updates = 0;
  for (const { step } of readLog(join(folder, runFiles.metrics))) updates = Number(step);
  const newest = wholeCheckpoints(folder).at(-1);
  if (newest !== undefined) readCheckpointState(join(folder, runFiles.checkpoints, checkpointName(newest)));
  const finished = existsSync(join(folder, runFiles.evalAfter));
  return {
    updates,
    plannedUpdates: finished ? updates : plannedIn(folder, options),
    resumesAfter: finished ? null : (newest ?? 0),
  };
}

/** Number of planned updates; null until stage 1 has chosen the problems to train on. */
function plannedIn(folder: string, options: TrainingOptions): number | null {
  const { algo, epochs, batchSize, numSamples } = options;
  if (batchSize === undefined || numSamples === undefined || epochs === undefined) {
    throw new UserError(`${join(folder, runFiles.config)} lacks the batch size, the epochs or the number of samples.`);
  }
  const { train, rows } = readProblems(join(folder, runFiles.problems));
  const samples = algorithms[algo].hasStage1 ? vStarIn(folder)?.entries : undefined;
  return plannedFrom(options, { rows, ids: train.map(({ id }) => id) }, samples) ?? null;
}

function vStarIn(folder: string) {
  const path = join(folder, runFiles.vStar);
  return existsSync(path) ? readVStarFile(path) : undefined;
}

function stateOf(
  folder: string,
  { beta1 = 0, trainOn = 'solved', force }: TrainingOptions,
  { before, after, updates, plannedUpdates: planned, resumesAfter }: Omit<RunEntry, 'state' | 'detail'>,
): Pick<RunEntry, 'state' | 'detail'> {
  const hasModel = hasFinal(folder);
  if (after !== null && !hasModel) return { state: 'damaged', detail: `${runFiles.final}/ is missing` };
  if (after !== null) return { state: 'finished', detail: null };
  const stopped = (detail: string) => ({ state: 'stopped', detail }) as const;
  if (hasModel) return stopped('after training, before the last evaluation');
  if (before === null) return stopped('in the evaluation before training');
  if (planned === null) return stopped('in stage 1');
  const file = updates === 0 ? vStarIn(folder) : undefined;
  if (file !== undefined && !force) {
    const { verdict } = preflight([...file.entries.values()], { beta1, trainOn });
    if (verdict === 'stop') return stopped('after stage 1: nothing to learn');
  }
  return stopped(`at update ${resumesAfter} of ${planned}`);
}

interface Removable {
  /** Path of the folder. */
  readonly folder: string;
  /** Runs in it: 1, or those of a set. */
  readonly runs: number;
  readonly bytes: number;
}

/**
 * The run or the set that `name` means: a path, or the name of a folder in `runs/`.
 *
 * @throws UserError when there is none, or it is in progress.
 */
export function findRemovable(name: string): Removable {
  const folder = [name, join('runs', name)].find((path) => isFolder(path) && (holdsPlan(path) || isOwnRun(path)));
  if (folder === undefined) {
    throw new UserError({
      problem: `There is no run in ${name} or ${join('runs', name)}.`,
      fix: 'List the runs with `tinyzero runs`; only folders of runs can be removed.',
    });
  }
  const members = holdsPlan(folder) ? readPlan(folder).runs.map((run) => join(folder, run.name)) : [];
  for (const path of [folder, ...members]) {
    const holder = lockHolder(path);
    if (holder === undefined) continue;
    throw new UserError({
      problem: `${path} is in progress, in process ${holder.pid} on ${holder.host}.`,
      fix: 'Nothing was removed. Stop the run first, with Ctrl-C in its terminal.',
    });
  }
  return { folder, runs: holdsPlan(folder) ? members.filter(isFolder).length : 1, bytes: bytesOf(folder) };
}

/** @throws UserError when a process has begun to use the run, or the folder cannot be removed. */
export function remove({ folder }: Removable): void {
  const path = resolve(folder);
  // The lock keeps a new process out until the folder has another name, under which nothing looks for runs.
  const lock = lockFolder(path);
  const aside = join(dirname(path), `.removed-${basename(path)}-${process.pid}`);
  explainWrites(path, () => {
    try {
      renameSync(path, aside);
    } catch (error) {
      lock.release();
      throw error;
    }
    rmSync(aside, { recursive: true, force: true });
  });
}

function isOwnRun(folder: string): boolean {
  try {
    return commandOfRun(folder) !== undefined && lstatSync(join(folder, runFiles.config)).isFile();
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce(
      (sum, entry) => sum + (lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
}
