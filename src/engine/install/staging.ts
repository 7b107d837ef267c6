/**
 * @file The lock, the staging folder and the publication of an install.
 *
 * One install runs at a time per cache: two at once would only waste work. The lock is a folder whose time stamp the holder
 * renews (proper-lockfile); a lock that is no longer renewed is taken over. An engine is published files first, then
 * `engine.json`, rename, and last the pointer `current.json`. A process killed at any moment leaves the previous engine in
 * use, or none; the next install removes the leftovers.
 */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { hashFile } from '../../util/checksum.js';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { syncFolder, writeFileAtomic } from '../../util/file.js';
import { formatBytes } from '../../util/format.js';
import { freeBytes } from '../../util/machine.js';
import { isAlive } from '../../util/process.js';
import { Unavailable } from './fetch/unavailable.js';
import { describe, type EngineManifest, type InstalledEngine, type InstalledFile } from './installed.js';

/** Milliseconds without renewal after which a lock is stale, if its holder runs on another machine. */
const staleMs = 15_000;
/** The same if its holder ran on this machine and has exited. */
const deadStaleMs = 2_000;
const renewMs = 1_000;
const pollMs = 250;

interface LockOptions {
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

/** Creates the cache folder. @throws UserError if it is not writable. */
export function prepareRoot(root: string): void {
  try {
    mkdirSync(join(root, 'downloads'), { recursive: true });
    accessSync(root, constants.W_OK);
  } catch (error) {
    throw new UserError(
      {
        problem: `The cache folder ${root} is not writable (${systemErrorCode(error) ?? error}).`,
        fix: 'Set TINYZERO_CACHE to a writable folder.',
      },
      { cause: error },
    );
  }
}

/** Space for headers, objects and the addon during the build. */
const buildBytes = 100_000_000;

/** Throws `Unavailable` if the disk of `root` has too little space for `bytes` and the build. */
export function requireSpace(root: string, bytes: number): void {
  const needed = bytes + buildBytes;
  const free = freeBytes(root);
  if (free >= needed) return;
  throw new Unavailable(
    'no-space',
    `The disk of ${root} has ${formatBytes(free)} free, but the install needs ${formatBytes(needed)}.`,
  );
}

/** Creates an empty folder inside `root`, so that the final rename stays on one disk. */
export function newStaging(root: string): string {
  const folder = join(root, `staging-${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder);
  return folder;
}

/**
 * Removes leftovers of stopped installs, except downloads, which the next install reuses or resumes. Processes that
 * use a removed engine keep its libraries open until they exit.
 */
export function removeLeftovers(leftovers: readonly string[]): void {
  for (const path of leftovers) {
    if (/\.(whl|tgz|tar\.gz|zip|part)$/.test(path)) continue;
    rmSync(path, { recursive: true, force: true });
  }
}

/** Makes `staging` the current engine. The previous engine becomes a leftover; downloads are removed. */
export async function publish(
  root: string,
  staging: string,
  facts: Omit<EngineManifest, 'files'>,
  signal: AbortSignal,
): Promise<InstalledEngine> {
  rmSync(join(staging, 'build'), { recursive: true, force: true });
  const files: InstalledFile[] = [];
  for (const path of listFiles(staging)) {
    const file = join(staging, path);
    files.push({ path, bytes: statSync(file).size, sha256: await hashFile(file, 'sha256', 'hex', { signal }) });
    await sync(file);
  }
  const manifest: EngineManifest = { ...facts, files };
  writeFileAtomic(join(staging, 'engine.json'), `${JSON.stringify(manifest, null, 1)}\n`);
  const name = `tensorflow-${facts.tensorflow}-${facts.variant}-${basename(staging).slice(-8)}`;
  const folder = join(root, name);
  signal.throwIfAborted();
  renameSync(staging, folder);
  syncFolder(root);
  writeFileAtomic(join(root, 'current.json'), `${JSON.stringify({ folder: name })}\n`);
  rmSync(join(root, 'downloads'), { recursive: true, force: true });
  return describe(folder, manifest);
}

/** Relative paths of the regular files below `folder`, without links, with forward slashes, sorted. */
function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

/** Asynchronous: it may take seconds, and the lock must be renewed meanwhile. */
async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
