/**
 * @file The lock of a run folder, which allows one process at a time: a file that names its process. Unlike the engine's
 * install lock, it has no time stamp to renew: an update may block the event loop for longer than any sensible expiry, and
 * a killed run must be resumable immediately.
 */
import { randomBytes } from 'node:crypto';
import {
  constants,
  copyFileSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { systemErrorCode, UserError } from '../util/errors.js';
import { explainWrites, readRegularFile } from '../util/file.js';
import { isRecord } from '../util/json.js';
import { isAlive } from '../util/process.js';

export const lockName = 'run.lock';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Start time of the process by the kernel's clock; distinguishes it from a later process with the same id. */
  readonly began: string | null;
}

export interface FolderLock {
  /** Whether the folder still exists and this lock still holds it. */
  isOurs(): boolean;
  release(): void;
}

/**
 * Locks `folder`, which must exist. Takes over a lock whose process has ended, or that names no process.
 *
 * @throws UserError naming the process that holds the lock.
 */
export function lockFolder(folder: string): FolderLock {
  const path = join(folder, lockName);
  const own = JSON.stringify({ pid: process.pid, host: hostname(), began: beginning(process.pid) } satisfies Holder);
  // The folder may be shared, and whether a process on another machine still runs is unknown.
  const prefix = `.${lockName}.${hostname()}.`;
  removeStrays(folder, prefix);
  const mine = join(folder, `${prefix}${process.pid}.${randomBytes(4).toString('hex')}`);
  explainWrites(path, () => writeFileSync(mine, own, { flag: 'wx' }));
  try {
    while (!claim(mine, path)) {
      const held = readSettled(path);
      if (held === undefined) continue; // released just now
      const holder = parse(held);
      if (holder !== undefined && isRunning(holder)) throw locked(folder, path, holder);
      // Move the dead lock away. If another process replaced it in the meantime, the moved lock is alive: put it back.
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
  const isOurs = () => read(path) === own;
  return {
    isOurs,
    release: () => {
      try {
        if (isOurs()) rmSync(path, { force: true });
      } catch (error) {
        // The lock names this process, so it is free once the process ends, even if it cannot be removed.
        if (systemErrorCode(error) === undefined) throw error;
      }
    },
  };
}

/** The running process that holds the lock of `folder`; undefined if none does. Only reads. */
export function lockHolder(folder: string): { readonly pid: number; readonly host: string } | undefined {
  let text: string | undefined;
  try {
    text = read(join(folder, lockName));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
  const holder = parse(text ?? '');
  return holder !== undefined && isRunning(holder) ? { pid: holder.pid, host: holder.host } : undefined;
}

/** Removes temporary files of processes on this machine that were killed while taking the lock. */
function removeStrays(folder: string, prefix: string): void {
  explainWrites(folder, () => {
    for (const name of readdirSync(folder)) {
      const pid = name.startsWith(prefix)
        ? /^(\d+)\.[0-9a-f]{8}(\.old)?$/.exec(name.slice(prefix.length))?.[1]
        : undefined;
      if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(folder, name), { force: true });
    }
  });
}

/** Links the complete file `mine` as `path`, atomically. Returns false when `path` exists. */
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
    // No hard links here (FAT, some network drives): copy instead. A reader may briefly see an incomplete file.
    return explainWrites(path, () => attempt(() => copyFileSync(mine, path, constants.COPYFILE_EXCL)));
  }
}

/** Milliseconds after which a lock that names no process counts as damaged, not as being copied. */
const settledMs = 500;

/** The content of the lock. Text that names no process is read again until it stays unchanged for {@link settledMs}. */
function readSettled(path: string): string | undefined {
  let text = read(path);
  const end = performance.now() + settledMs;
  while (text !== undefined && parse(text) === undefined && performance.now() < end) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, settledMs / 10);
    text = read(path);
  }
  return text;
}

/** Undefined if there is no lock. @throws UserError when the lock cannot be read. */
function read(path: string): string | undefined {
  try {
    return readRegularFile(path).toString();
  } catch (error) {
    const code = systemErrorCode(error instanceof UserError ? error.cause : error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new UserError(
      {
        problem: `${path} cannot be read (${code ?? 'no regular file'}), so another process may be using the folder.`,
        fix: `If no process uses it, remove ${path}.`,
      },
      { cause: error },
    );
  }
}

function parse(text: string): Holder | undefined {
  try {
    const holder: unknown = JSON.parse(text);
    if (!isRecord(holder)) return undefined;
    const { pid, host, began } = holder;
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0 || typeof host !== 'string') return undefined;
    return { pid, host, began: typeof began === 'string' ? began : null };
  } catch {
    return undefined;
  }
}

/** Whether the holder still runs. Processes on other machines are assumed to. */
function isRunning({ pid, host, began }: Holder): boolean {
  if (host !== hostname()) return true;
  // The start time of another user's process may be hidden.
  const begins = beginning(pid);
  return isAlive(pid) && (begins === null || began === begins);
}

/** Start time of a process in clock ticks since boot, with the boot's id (Linux); null elsewhere. */
function beginning(pid: number): string | null {
  try {
    // Field 22. Field 2 is the program's name in brackets, which may itself contain spaces and brackets.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${ticks}`;
  } catch {
    return null;
  }
}

function locked(folder: string, path: string, { pid, host }: Holder): UserError {
  return new UserError({
    problem: `${folder} is in use by process ${pid} on ${host}.`,
    fix: `Wait for it, stop it, or choose another --out. If that process no longer runs, delete ${path}.`,
  });
}
