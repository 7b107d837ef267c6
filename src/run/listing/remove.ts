/** @file Removes runs: finds them by name, refuses those in progress, and leaves nothing half removed that looks like a run. */
import { lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../../util/errors.js';
import { explainWrites } from '../../util/file.js';
import { commandOfRun, runFiles } from '../folder.js';
import { lockFolder, lockHolder } from '../lock.js';
import { holdsPlan, readPlan } from '../many/plan.js';

export interface Removable {
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
  const folder = [name, join('runs', name)].find((path) => isFolder(path) && (holdsPlan(path) || isRun(path)));
  if (folder === undefined) {
    throw new UserError({
      problem: `${name} holds no run, and neither does ${join('runs', name)}.`,
      fix: '`tinyzero runs` lists the runs; only folders of runs are removed.',
    });
  }
  const members = holdsPlan(folder) ? readPlan(folder).runs.map((run) => join(folder, run.name)) : [];
  for (const path of [folder, ...members]) {
    const holder = lockHolder(path);
    if (holder === undefined) continue;
    throw new UserError({
      problem: `${path} is in progress, in process ${holder.pid} on ${holder.host}.`,
      fix: 'Stop it first with Ctrl-C where it runs; nothing was removed.',
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

function isRun(folder: string): boolean {
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
