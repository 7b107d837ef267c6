/**
 * @file The install lock: one install at a time per cache. The lock is a folder whose time stamp the holder renews
 * (proper-lockfile); a lock that is no longer renewed is taken over. Two installs at once would only waste work: each
 * builds in its own folder and renames it into place.
 */
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { writeFileAtomic } from '../../util/file.js';
import { isAlive } from '../../util/process.js';

/** Milliseconds without renewal after which a lock is stale, if its holder runs on another machine. */
const staleMs = 15_000;
/** The same if its holder ran on this machine and has exited. */
const deadStaleMs = 2_000;
const renewMs = 1_000;
const pollMs = 250;

export interface LockOptions {
  readonly signal: AbortSignal;
  /** Called once if another process holds the lock; `holder` describes it. */
  readonly onWait: (holder: string) => void;
  /** Called if the lock is lost, for example after the machine slept; the work must stop. */
  readonly onLost: (error: Error) => void;
}

/** Waits for the lock at `path`; resolves to a function that releases it. */
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

/** Description of the lock's holder, for `engine status`; undefined if the lock is free or its holder has exited. */
export function lockHolder(path: string): string | undefined {
  const renewed = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  if (renewed === undefined) return undefined;
  const owner = readOwner(`${path}.owner`);
  if (owner === undefined) return Date.now() - renewed < staleMs ? 'another process' : undefined;
  const holds = owner.host === hostname() ? isAlive(owner.pid) : Date.now() - renewed < staleMs;
  return holds ? `process ${owner.pid} on ${owner.host}` : undefined;
}

/** Whether the holder ran on this machine and has exited, and the lock was not taken since. */
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

/** The error for a lock that was lost during the install. */
export function lostLock(error: Error): UserError {
  return new UserError(
    {
      problem: `The install lost its lock (${error.message}), most likely because this machine was suspended.`,
      fix: 'Run it again.',
    },
    { cause: error },
  );
}
