/**
 * @file The state of a run, from its folder alone: its record, whether a process is working on it, and when it was last written
 * to. The folder may be absent, on another machine's disk, half copied or removed. Only reads.
 */
import { existsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { commandOfRun, runFiles } from '../../run/folder.js';
import { lockHolder, lockName } from '../../run/lock.js';
import { UserError } from '../../util/errors.js';
import { versionOf } from '../follow.js';
import { followRun, followSft, type RunRecord, type SftRecord } from '../read.js';

/** `waiting`: there is no run yet. `gone`: there was one. `stopped`: not finished, and no process works on it. */
type WatchedState = 'waiting' | 'running' | 'stopped' | 'finished' | 'gone';

export interface Watched {
  /** Name of the folder, without its path. */
  readonly name: string;
  readonly path: string;
  readonly state: WatchedState;
  /** Absent before there is one; for a removed run, the last one. */
  readonly run?: WatchedRun;
  /** The process that works on it, and its machine unless it is this one: `process 123 on hopper`. */
  readonly holder?: string;
  /** Milliseconds since the last change. */
  readonly quietMs: number;
  /** Errors of files that have been unreadable for some time. */
  readonly damage: readonly string[];
}

type WatchedRun =
  | { readonly command: 'train'; readonly record: RunRecord }
  | { readonly command: 'sft'; readonly record: SftRecord };

/** A file may be half copied for a moment. */
const damageMs = 3000;
/** A folder without a lock, such as a copy, counts as running for this long after a change. */
const activeMs = 60_000;

/** @param now a clock in milliseconds since 1970. */
export function watchRun(path: string, now: () => number = Date.now): () => Watched {
  const name = basename(resolve(path));
  const follow = recordIn(path, (error) => errors.push(error.message));
  let errors: string[] = [];
  /** Since when a file has been unreadable, by its error. */
  let since = new Map<string, number>();
  let changed = { version: '', atMs: now() };
  let hadLock = false;
  let last: Pick<Watched, 'state' | 'run' | 'holder'> = { state: 'waiting' };

  const look = (): typeof last => {
    const version = versionIn(path);
    if (version !== changed.version) {
      // When watching begins, the age of the newest file counts, unless its clock is ahead.
      changed = { version, atMs: changed.version === '' ? Math.min(now(), newestIn(path) ?? now()) : now() };
    }
    const lock = lockOf(path);
    hadLock ||= lock.isThere;
    const holder = lock.holder !== undefined && { holder: lock.holder };
    const run = follow();
    if (run === undefined) return last.run ? { run: last.run, state: 'gone' } : { ...holder, state: 'waiting' };
    if (isFinished(run)) return { run, state: 'finished' };
    const isActive = lock.holder !== undefined || (!hadLock && now() - changed.atMs < activeMs);
    return { ...holder, run, state: isActive ? 'running' : 'stopped' };
  };

  return () => {
    errors = [];
    try {
      last = look();
    } catch (error) {
      // For example, a disk is briefly unavailable: the last state remains.
      if (!(error instanceof UserError)) throw error;
      errors.push(error.message);
    }
    since = new Map(errors.map((message) => [message, since.get(message) ?? now()]));
    const damage = [...since].filter(([, ms]) => now() - ms >= damageMs).map(([message]) => message);
    return { ...last, name, path, quietMs: Math.max(0, now() - changed.atMs), damage };
  };
}

/** The record of whichever command's run is in the folder. */
function recordIn(path: string, onDamage: (error: UserError) => void): () => WatchedRun | undefined {
  const train = followRun(path, onDamage);
  const sft = followSft(path, onDamage);
  return () => {
    // A folder without a configuration is not a run: it is being created or removed.
    if (!existsSync(join(path, runFiles.config))) return undefined;
    if (commandOfRun(path) === 'sft') {
      const record = sft();
      return record && { command: 'sft', record };
    }
    const record = train();
    return record && { command: 'train', record };
  };
}

function isFinished({ command, record }: WatchedRun): boolean {
  if (command === 'train') return record.after !== undefined;
  return record.isFinished && (record.before === undefined || record.after !== undefined);
}

function lockOf(path: string): { readonly isThere: boolean; readonly holder?: string } {
  const holder = lockHolder(path);
  if (holder === undefined) return { isThere: existsSync(join(path, lockName)) };
  const where = holder.host === hostname() ? '' : ` on ${holder.host}`;
  return { isThere: true, holder: `process ${holder.pid}${where}` };
}

const watchedFiles = [...Object.values(runFiles), lockName];

/** Changes when a file of the run changes. */
function versionIn(path: string): string {
  return watchedFiles.map((name) => versionOf(join(path, name)) ?? '').join(',');
}

/** When the newest file of a run was written, in milliseconds since 1970. */
function newestIn(path: string): number | undefined {
  const times = watchedFiles.map((name) => statSync(join(path, name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
  const newest = Math.max(...times);
  return newest === 0 ? undefined : newest;
}
