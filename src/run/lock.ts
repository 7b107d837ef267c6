/**
 * @file One process at a time in a run folder. The lock is a file that names its process, not one whose time stamp is
 * renewed (as the engine's install lock is): a training step may block the event loop for longer than any sensible
 * expiry, and a run that was killed must be resumable at once.
 */
import { randomBytes } from 'node:crypto';
import { constants, copyFileSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { systemErrorCode, UserError } from '../util/errors.js';
import { isAlive } from '../util/process.js';
import { explainWrites } from '../util/write.js';

const lockName = 'run.lock';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, by the kernel's clock: tells it from a later one with the same number. */
  readonly began: string | null;
}

/**
 * Takes the lock of `folder`, which must exist; the result gives it back. A lock whose process is gone is taken over.
 *
 * @throws UserError naming the process that holds it.
 */
export function lockFolder(folder: string): () => void {
  const path = join(folder, lockName);
  const own = JSON.stringify({ pid: process.pid, host: hostname(), began: beginning(process.pid) } satisfies Holder);
  const mine = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  explainWrites(path, () => writeFileSync(mine, own, { flag: 'wx' }));
  try {
    while (!claim(mine, path)) {
      const held = read(path);
      if (held === undefined) continue; // given back just now
      const holder = parse(held);
      if (holder === undefined || isRunning(holder)) throw locked(folder, path, holder);
      // Move the dead lock away. Another process may have replaced it since it was read: then what was moved is alive.
      const removed = `${mine}.old`;
      try {
        renameSync(path, removed);
      } catch (error) {
        if (systemErrorCode(error) === 'ENOENT') continue;
        throw error;
      }
      if (read(removed) !== held) claim(removed, path);
      rmSync(removed, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    if (read(path) === own) rmSync(path, { force: true });
  };
}

/** The running process that holds the lock of `folder`; undefined when none does. Only looks. */
export function lockHolder(folder: string): { readonly pid: number; readonly host: string } | undefined {
  const holder = parse(read(join(folder, lockName)) ?? '');
  return holder !== undefined && isRunning(holder) ? { pid: holder.pid, host: holder.host } : undefined;
}

/** Makes the file `mine` known as `path`, whole at once; false when the name is taken. */
function claim(mine: string, path: string): boolean {
  const attempt = (how: () => void) => {
    try {
      how();
      return true;
    } catch (error) {
      if (systemErrorCode(error) === 'EEXIST') return false;
      throw error;
    }
  };
  try {
    return attempt(() => linkSync(mine, path));
  } catch {
    // No hard links here (FAT, some network drives): a copy, which a reader may for a moment find unfinished.
    return explainWrites(path, () => attempt(() => copyFileSync(mine, path, constants.COPYFILE_EXCL)));
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): Holder | undefined {
  try {
    const { pid, host, began } = JSON.parse(text) as Partial<Holder>;
    if (!Number.isSafeInteger(pid) || pid! <= 0 || typeof host !== 'string') return undefined;
    return { pid: pid!, host, began: typeof began === 'string' ? began : null };
  } catch {
    return undefined;
  }
}

/** Whether the holder still runs; assumed of processes on other machines, which cannot be asked. */
function isRunning({ pid, host, began }: Holder): boolean {
  if (host !== hostname()) return true;
  // Somebody else's process may hide its beginning.
  const begins = beginning(pid);
  return isAlive(pid) && (begins === null || began === begins);
}

/** Start time of a process in clock ticks since boot, with the boot's id (Linux); null elsewhere. */
function beginning(pid: number): string | null {
  try {
    // Field 22; the second is the program's name in brackets, which may hold spaces and brackets itself.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${ticks}`;
  } catch {
    return null;
  }
}

function locked(folder: string, path: string, holder: Holder | undefined): UserError {
  const who = holder === undefined ? 'an unknown process' : `process ${holder.pid} on ${holder.host}`;
  return new UserError({
    problem: `${folder} is in use by ${who}.`,
    fix: `Wait for it, stop it, or choose another --out. If no such process runs any more, delete ${path}.`,
  });
}
