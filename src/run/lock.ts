/**
 * @file One process at a time in a run folder. The lock is a file that names its process. It has no time stamp to renew (as the
 * engine's install lock has): an update may block the event loop for longer than any sensible expiry, and a killed run must
 * be resumable at once.
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
import { isAlive } from '../util/process.js';
import { explainWrites } from '../util/write.js';

export const lockName = 'run.lock';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process started, by the kernel's clock: tells it from a later process with the same id. */
  readonly began: string | null;
}

export interface FolderLock {
  /** Whether the folder is still there and still locked by this call. */
  isOurs(): boolean;
  release(): void;
}

/**
 * Locks `folder`, which must exist. Takes over a lock whose process is gone, and one that names no process.
 *
 * @throws UserError naming the process that holds the lock.
 */
export function lockFolder(folder: string): FolderLock {
  const path = join(folder, lockName);
  const own = JSON.stringify({ pid: process.pid, host: hostname(), began: beginning(process.pid) } satisfies Holder);
  // Processes of other machines, which may share the folder, cannot be asked whether they still run.
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
      // Move the dead lock away. If another process replaced it after it was read, what was moved is alive: put it back.
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
        // The lock names this process, so it is free as soon as the process has ended, removed or not.
        if (systemErrorCode(error) === undefined) throw error;
      }
    },
  };
}

/** The running process that holds the lock of `folder`; undefined when none does. Only reads. */
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

/** Removes what processes of this machine left that were killed while they took the lock. */
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

/** Makes the file `mine` known as `path`, complete at once; false when the name is taken. */
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

/** Milliseconds after which a lock that names no process is taken for damaged, not for one that is being copied. */
const settledMs = 500;

/** The content of the lock. Text that names no process is read again until it has stayed the same for a while. */
function readSettled(path: string): string | undefined {
  let text = read(path);
  const end = performance.now() + settledMs;
  while (text !== undefined && parse(text) === undefined && performance.now() < end) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, settledMs / 10);
    text = read(path);
  }
  return text;
}

/** Undefined where there is no lock. @throws UserError when something else is there. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new UserError(
      {
        problem: `${path} cannot be read (${code}), so it is unknown whether another process has the folder.`,
        fix: `If no process has it, remove ${path}.`,
      },
      { cause: error },
    );
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
  // The process of another user may hide when it started.
  const begins = beginning(pid);
  return isAlive(pid) && (begins === null || began === begins);
}

/** Start time of a process in clock ticks since boot, with the boot's id (Linux); null elsewhere. */
function beginning(pid: number): string | null {
  try {
    // Field 22; the second is the program's name in brackets, which may itself hold spaces and brackets.
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
