/**
 * @file One install at a time per cache. The lock is a folder whose time stamp its holder renews (proper-lockfile);
 * one that is no longer renewed belonged to a process that was killed and is taken over. Two processes that got past
 * each other would waste work, not break anything: each builds in a folder of its own and renames it into place.
 */
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { writeFileAtomic } from '../../util/file.js';
import { isAlive } from '../../util/process.js';

/** Milliseconds without renewal after which a lock counts as abandoned, when its holder cannot be asked. */
const staleMs = 15_000;
/** The same when its holder ran on this machine and is gone. */
const deadStaleMs = 2_000;
const renewMs = 1_000;
const pollMs = 250;

export interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once if another process holds the lock. */
  readonly onWait: (holder: string) => void;
  /** Called if the lock was lost, for instance because the machine slept; work under it must stop. */
  readonly onLost: (error: Error) => void;
}

/** Waits for the lock at `path`; resolves to the function that gives it back. */
export async function acquireLock(path: string, options: LockOptions): Promise<() => Promise<void>> {
  mkdirSync(dirname(path), { recursive: true });
  const ownerPath = `${path}.owner`;
  for (let waited = false; ; ) {
    options.signal.throwIfAborted();
    const owner = readOwner(ownerPath);
    if (owner !== undefined && isAbandoned(path, owner)) rmSync(path, { recursive: true, force: true });
    try {
      const release = await lockfile.lock(path, {
        lockfilePath: path,
        realpath: false,
        stale: staleMs,
        update: renewMs,
        onCompromised: options.onLost,
      });
      writeFileAtomic(ownerPath, JSON.stringify({ pid: process.pid, host: hostname() }));
      return async () => {
        rmSync(ownerPath, { force: true });
        await release();
      };
    } catch (error) {
      if (systemErrorCode(error) !== 'ELOCKED') throw error;
      if (!waited) options.onWait(owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`);
      waited = true;
      await sleep(pollMs, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted());
    }
  }
}

/** Who holds the lock at `path`, for `engine status`; undefined when nobody does or the holder has died. */
export function lockHolder(path: string): string | undefined {
  const renewed = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  if (renewed === undefined) return undefined;
  const owner = readOwner(`${path}.owner`);
  if (owner === undefined) return Date.now() - renewed < staleMs ? 'another process' : undefined;
  const holds = owner.host === hostname() ? isAlive(owner.pid) : Date.now() - renewed < staleMs;
  return holds ? `process ${owner.pid} on ${owner.host}` : undefined;
}

/** Whether the lock's holder ran here and is gone, and nobody has taken the lock since. */
function isAbandoned(path: string, owner: { pid: number; host: string }): boolean {
  if (owner.host !== hostname() || isAlive(owner.pid)) return false;
  const renewed = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return renewed !== undefined && Date.now() - renewed > deadStaleMs;
}

function readOwner(path: string): { pid: number; host: string } | undefined {
  try {
    const owner: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof owner !== 'object' || owner === null || !('pid' in owner) || !('host' in owner)) return undefined;
    return typeof owner.pid === 'number' && typeof owner.host === 'string'
      ? { pid: owner.pid, host: owner.host }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The plain error for a lock that was lost midway. */
export function lostLock(error: Error): UserError {
  return new UserError(
    {
      problem: `The install lost its lock (${error.message}), most likely because this machine was suspended.`,
      fix: 'Run it again.',
    },
    { cause: error },
  );
}
