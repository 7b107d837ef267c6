/**
 * @file The folder of a run: which file lies where, who may write into it, and which checkpoints are whole. What the files
 * say is the business of those who write them.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointStateFile } from '../stage2/resume.js';
import { systemErrorCode, UserError } from '../util/errors.js';
import { syncFolder } from '../util/file.js';
import { explainWrites } from '../util/write.js';
import { lockFolder } from './lock.js';

/** Names inside a run folder. */
export const runFiles = {
  /** Every resolved option, versions, hashes. Its presence makes the folder a run. */
  config: 'config.json',
  /** Distinct problems and the rows drawn. */
  problems: 'problems.json',
  vStar: 'v_star_dict.json',
  /** One object a training step, the same bytes for the same seed. */
  metrics: 'metrics.jsonl',
  /** Everything that depends on a clock. */
  timings: 'timings.jsonl',
  rollouts: 'rollouts.jsonl',
  evalBefore: 'eval-before.json',
  evalAfter: 'eval-after.json',
  /** Holds a folder per checkpoint, see {@link RunFolder.checkpointPath}. */
  checkpoints: 'checkpoints',
  /** The trained model as a Hugging Face folder. */
  final: 'final',
  report: 'report.html',
  /** Event files for TensorBoard, where they are asked for. */
  tensorboard: 'tensorboard',
} as const;

export interface RunFolder {
  readonly path: string;
  /** The path of one of {@link runFiles}. */
  file(name: keyof typeof runFiles): string;
  /** `checkpoints/step-000120`. */
  checkpointPath(step: number): string;
  /** Steps of whole checkpoints, ascending. */
  checkpoints(): number[];
  /**
   * An empty folder for the checkpoint of `step`; whatever an interrupted save left there is removed.
   *
   * @throws UserError when a whole checkpoint is there already.
   */
  startCheckpoint(step: number): string;
  /** Removes all but the newest `keep` whole checkpoints, and what is left of incomplete ones. */
  prune(keep: number): void;
  /** Gives the lock back. */
  release(): void;
}

/**
 * Makes `path` a new run's folder and locks it. An empty folder may be there already, as may the remains of a run that
 * ended before its configuration was written.
 *
 * @throws UserError when a run, or anything else, is there; when it cannot be written; when another process has it.
 */
export function createRunFolder(path: string): RunFolder {
  const made = explainWrites(path, () => mkdirSync(path, { recursive: true })) !== undefined;
  const unlock = lockFolder(path);
  const release = () => {
    unlock();
    if (made) removeIfEmpty(path);
  };
  try {
    const ours = new Set<string>(Object.values(runFiles));
    const names = readdirSync(path).filter((name) => !name.startsWith('.') && !name.startsWith('run.lock'));
    if (names.includes(runFiles.config)) {
      throw new UserError({
        problem: `${path} already holds a run.`,
        fix: `Continue it with --resume ${path}, or choose another folder with --out.`,
      });
    }
    const foreign = names.find((name) => !ours.has(name));
    if (foreign !== undefined) {
      throw new UserError({
        problem: `${path} is not an empty folder.`,
        found: `${foreign} in it`,
        fix: 'Choose another folder with --out.',
      });
    }
    return runFolder(path, release);
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Locks the folder of an existing run.
 *
 * @throws UserError when there is none, or when another process has it.
 */
export function openRunFolder(path: string): RunFolder {
  requireRun(path);
  return runFolder(path, lockFolder(path));
}

/** @throws UserError when the folder holds no run. */
export function requireRun(path: string): void {
  if (!isWhole(join(path, runFiles.config), 'file')) {
    throw new UserError({
      problem: `${path} holds no run.`,
      expected: `a folder with ${runFiles.config}, as \`tinyzero train\` makes it`,
    });
  }
}

/** Steps of the whole checkpoints in a run's folder, ascending. Needs no lock. */
export function wholeCheckpoints(path: string): number[] {
  return checkpointFolders(path).flatMap(({ step, whole }) => (whole ? [step] : []));
}

function checkpointFolders(path: string): { step: number; whole: boolean }[] {
  const root = join(path, runFiles.checkpoints);
  // A plain folder called exactly as we would call it; anything else, links above all, is not ours.
  const names = isWhole(root, 'folder') ? readdirSync(root) : [];
  return names
    .map((name) => ({ name, step: Number(/^step-(\d{6,15})$/.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ name, step }) => name === checkpointName(step))
    .filter(({ name }) => isWhole(join(root, name), 'folder'))
    .map(({ name, step }) => ({ step, whole: isWhole(join(root, name, checkpointStateFile), 'file') }))
    .sort((a, b) => a.step - b.step);
}

/** `step-000120`: a checkpoint's name inside `checkpoints/`. */
export const checkpointName = (step: number) => `step-${String(step).padStart(6, '0')}`;

function runFolder(path: string, release: () => void): RunFolder {
  const checkpointRoot = join(path, runFiles.checkpoints);
  const checkpointPath = (step: number) => join(checkpointRoot, checkpointName(step));
  const checkpoints = () => wholeCheckpoints(path);
  const remove = (step: number) =>
    explainWrites(checkpointPath(step), () => {
      // The state goes first, so that a removal cut short leaves an incomplete checkpoint, not a broken whole one.
      rmSync(join(checkpointPath(step), checkpointStateFile), { force: true });
      syncFolder(checkpointPath(step));
      rmSync(checkpointPath(step), { recursive: true, force: true });
    });
  return {
    path,
    file: (name) => join(path, runFiles[name]),
    checkpointPath,
    checkpoints,
    startCheckpoint: (step) => {
      const folder = checkpointPath(step);
      if (checkpoints().includes(step)) throw new UserError(`${folder} already holds a checkpoint.`);
      explainWrites(folder, () => {
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder, { recursive: true });
        syncFolder(checkpointRoot);
      });
      return folder;
    },
    prune: (keep) => {
      const kept = new Set(checkpoints().slice(-Math.max(1, keep)));
      for (const { step } of checkpointFolders(path)) if (!kept.has(step)) remove(step);
    },
    release,
  };
}

/**
 * The model of a run where `name` is a run's folder; any other name as it is.
 *
 * @throws UserError when the run is not finished.
 */
export function trainedModel(name: string): string {
  if (!existsSync(join(name, runFiles.problems))) return name;
  const final = join(name, runFiles.final);
  if (existsSync(join(final, 'config.json'))) return final;
  throw new UserError({
    problem: `The run in ${name} has no trained model yet.`,
    fix: `Finish it with \`tinyzero train --resume ${name}\`, or give one of its checkpoints.`,
  });
}

/** A run that came to nothing leaves nothing. */
function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(systemErrorCode(error) ?? '')) throw error;
  }
}

/** Whether a plain file or folder is at `path`; links are neither. */
function isWhole(path: string, kind: 'file' | 'folder'): boolean {
  try {
    const stat = lstatSync(path);
    return kind === 'file' ? stat.isFile() : stat.isDirectory();
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return false;
    throw error;
  }
}
