/**
 * @file The folder of a run: paths of its files, the lock, and which checkpoints are complete. Does not read the files'
 * contents.
 */
import { existsSync, lstatSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { repeatFile } from '../options/config-file.js';
import { checkpointStateFile } from '../stage2/checkpoint.js';
import { exitCodes, systemErrorCode, UserError } from '../util/errors.js';
import { explainWrites, makeFolder, syncFolder, unreadable } from '../util/file.js';

import { type FolderLock, lockFolder, lockName } from './lock.js';

/** Names inside a run folder. */
export const runFiles = {
  /** All resolved options, versions and hashes. A folder with this file is a run. */
  config: 'config.json',
  /** The options in a form that `--config` takes, to repeat the run; nothing is read from it. */
  repeat: repeatFile,
  /** Distinct problems, and the rows drawn from them. */
  problems: 'problems.json',
  /** How the reference answered a few training problems before stage 1. */
  probe: 'probe.json',
  /** The lines of supervised training, unchanged; only runs of `sft` have this file. */
  examples: 'examples.jsonl',
  vStar: 'v_star_dict.json',
  /** One object for each update; the same seed gives the same bytes. */
  metrics: 'metrics.jsonl',
  /** Everything that depends on a clock. */
  timings: 'timings.jsonl',
  rollouts: 'rollouts.jsonl',
  evalBefore: 'eval-before.json',
  evalAfter: 'eval-after.json',
  /** One folder per checkpoint, see {@link RunFolder.checkpointPath}. */
  checkpoints: 'checkpoints',
  /** Adapters that a server reads, while a run samples on it. */
  sampler: 'sampler',
  /** The trained model as a Hugging Face folder. */
  final: 'final',
  /** The model that `--keep best` has chosen so far, and the facts about it, written last. */
  best: 'best',
  bestFacts: 'best.json',
  /** Checksums of the files of `final`; written last. */
  finalChecksums: 'final.json',
  report: 'report.html',
  /** Event files of `--tensorboard`. */
  tensorboard: 'tensorboard',
} as const;

export interface RunFolder {
  readonly path: string;
  /** The path of one of {@link runFiles}. */
  file(name: keyof typeof runFiles): string;
  /** `checkpoints/step-000120`. */
  checkpointPath(step: number): string;
  /** Steps of complete checkpoints, ascending. */
  checkpoints(): number[];
  /** Renames a damaged checkpoint so that it is no longer used. Returns its new path. */
  setAside(step: number): string;
  /** @throws UserError when the folder was removed, or another process took it over. */
  requirePresent(): void;
  /**
   * Makes an empty folder for the checkpoint of `step`, removing the remains of an interrupted save.
   *
   * @throws UserError when a complete checkpoint exists.
   */
  startCheckpoint(step: number): string;
  /** Removes incomplete checkpoints and all complete ones except the newest `keep`. */
  prune(keep: number): void;
  /** Releases the lock. */
  release(): void;
}

/**
 * Creates and locks the folder of a new run. The folder may exist if it is empty, or holds only the remains of a run that
 * ended before its configuration was written.
 *
 * @throws UserError when the folder holds a run or anything else, cannot be written, or is locked by another process.
 */
export function createRunFolder(path: string): RunFolder {
  const made = explainWrites(path, () => makeFolder(path), 'Choose another folder with --out.');
  const lock = lockFolder(path);
  const release = () => {
    lock.release();
    if (made) removeIfEmpty(path);
  };
  try {
    const ours = new Set<string>(Object.values(runFiles));
    const names = readdirSync(path).filter((name) => !name.startsWith('.') && name !== lockName);
    if (names.includes(runFiles.config)) {
      throw new UserError({
        problem: `${path} already contains a run.`,
        fix: `Resume it with --resume ${path}, or choose another folder with --out.`,
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
    return runFolder(path, { ...lock, release });
  } catch (error) {
    release();
    throw error;
  }
}

/** A new folder in `runs/`, named after the model or the run's name, and the local time: `runs/builtin-20260131-235959`. */
export function newFolder(what: string, now = new Date()): string {
  const digits = (value: number) => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}${digits(now.getMonth() + 1)}${digits(now.getDate())}`;
  const time = `${digits(now.getHours())}${digits(now.getMinutes())}${digits(now.getSeconds())}`;
  return join('runs', `${basename(what).replace(/[^\w.-]+/g, '-')}-${day}-${time}`);
}

/** @throws UserError, ending in `fix`, when something is in the folder or in its place. */
export function requireEmptyFolder(path: string, fix: string): void {
  let names: string[] = [];
  try {
    names = readdirSync(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return;
    throw code === 'ENOTDIR' ? new UserError({ problem: `${path} is not a folder.`, fix }) : unreadable(path, error);
  }
  const [first] = names;
  if (first !== undefined)
    throw new UserError({ problem: `${path} is not an empty folder.`, found: `${first} in it`, fix });
}

/** Locks the folder of an existing run. @throws UserError when there is no run, or another process holds the lock. */
export function openRunFolder(path: string): RunFolder {
  requireRun(path);
  return runFolder(path, lockFolder(path));
}

/** @throws UserError when the folder holds no run. */
export function requireRun(path: string): void {
  if (!isWhole(join(path, runFiles.config), 'file')) {
    throw new UserError({
      problem: `${path} contains no run.`,
      expected: `a folder with ${runFiles.config}, as written by \`tinyzero train\` or \`tinyzero sft\``,
    });
  }
}

/**
 * Runs `work` on the run in `path`, and explains errors if the run has been removed meanwhile.
 *
 * @throws UserError that says so if `work` failed because the run was removed meanwhile.
 */
export function whileThere<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isWhole(join(path, runFiles.config), 'file')) throw error;
    throw new UserError(
      {
        problem: `${path} was removed or moved before its report was written.`,
        fix: 'If it was moved, `tinyzero report FOLDER` writes the report at its new place.',
      },
      { cause: error },
    );
  }
}

/** The command that made the run in `path`; undefined if there is none. */
export function commandOfRun(path: string): 'train' | 'sft' | undefined {
  if (isWhole(join(path, runFiles.examples), 'file')) return 'sft';
  return isWhole(join(path, runFiles.problems), 'file') ? 'train' : undefined;
}

/** Steps of the complete checkpoints in a run folder, ascending. Needs no lock. */
export function wholeCheckpoints(path: string): number[] {
  return checkpointFolders(path).flatMap(({ step, whole }) => (whole ? [step] : []));
}

function checkpointFolders(path: string): { step: number; whole: boolean }[] {
  const root = join(path, runFiles.checkpoints);
  // Only real folders whose names match exactly; symbolic links are ignored.
  const names = isWhole(root, 'folder') ? readdirSync(root) : [];
  return names
    .map((name) => ({ name, step: Number(/^step-(\d{6,15})$/.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ name, step }) => name === checkpointName(step))
    .filter(({ name }) => isWhole(join(root, name), 'folder'))
    .map(({ name, step }) => ({ step, whole: isWhole(join(root, name, checkpointStateFile), 'file') }))
    .sort((a, b) => a.step - b.step);
}

/** `step-000120`: the name of a checkpoint inside `checkpoints/`. */
export const checkpointName = (step: number) => `step-${String(step).padStart(6, '0')}`;

function runFolder(path: string, lock: FolderLock): RunFolder {
  const checkpointRoot = join(path, runFiles.checkpoints);
  const checkpointPath = (step: number) => join(checkpointRoot, checkpointName(step));
  const checkpoints = () => wholeCheckpoints(path);
  const remove = (step: number) =>
    explainWrites(checkpointPath(step), () => {
      // The state goes first, so that an interrupted removal leaves an incomplete checkpoint, not a damaged one.
      rmSync(join(checkpointPath(step), checkpointStateFile), { force: true });
      syncFolder(checkpointPath(step));
      rmSync(checkpointPath(step), { recursive: true, force: true });
    });
  return {
    path,
    file: (name) => join(path, runFiles[name]),
    checkpointPath,
    checkpoints,
    setAside: (step) => {
      const target = join(checkpointRoot, `damaged-${checkpointName(step)}`);
      explainWrites(target, () => {
        rmSync(target, { recursive: true, force: true });
        renameSync(checkpointPath(step), target);
        syncFolder(checkpointRoot);
      });
      return target;
    },
    requirePresent: () => {
      if (lock.isOurs()) return;
      throw new UserError({
        problem: `${path} was removed, moved or taken over by another process during the run.`,
        fix: 'If it was moved, resume it from its new place; otherwise start a new run.',
      });
    },
    startCheckpoint: (step) => {
      const folder = checkpointPath(step);
      if (checkpoints().includes(step)) throw new UserError(`${folder} already contains a checkpoint.`);
      explainWrites(folder, () => {
        rmSync(folder, { recursive: true, force: true });
        makeFolder(folder);
        syncFolder(checkpointRoot);
      });
      return folder;
    },
    prune: (keep) => {
      const kept = new Set(checkpoints().slice(-Math.max(1, keep)));
      for (const { step } of checkpointFolders(path)) if (!kept.has(step)) remove(step);
    },
    release: lock.release,
  };
}

/** Removes the folder of a run that wrote nothing. */
function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT', 'EROFS', 'EACCES', 'EPERM'].includes(systemErrorCode(error) ?? ''))
      throw error;
  }
}

/** Whether `path` is a regular file or a folder; symbolic links are neither. */
function isWhole(path: string, kind: 'file' | 'folder'): boolean {
  try {
    const stat = lstatSync(path);
    return kind === 'file' ? stat.isFile() : stat.isDirectory();
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** What to throw where `error` stopped a run: if the run has begun, how to resume it. */
export function stoppedRun(command: 'train' | 'sft', folder: string, error: unknown): unknown {
  if (!existsSync(join(folder, runFiles.config))) return error;
  return new UserError(
    { problem: 'Stopped.', fix: `Resume with \`tinyzero ${command} --resume ${folder}\`.` },
    { exitCode: exitCodes.interrupted, cause: error },
  );
}
