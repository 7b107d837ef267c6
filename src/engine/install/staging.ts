/**
 * @file The staging folder of an install, and its publication: files first, then `engine.json`, rename, and last the
 * pointer `current.json`. A process killed at any moment leaves the previous engine in use, or none; the next install
 * removes the leftovers.
 */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { hashFile } from '../../util/checksum.js';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { syncFolder, writeFileAtomic } from '../../util/file.js';
import { formatBytes } from '../../util/format.js';
import { freeBytes } from '../../util/machine.js';
import { Unavailable } from './fetch/unavailable.js';
import { describe, type EngineManifest, type InstalledEngine, type InstalledFile } from './installed.js';

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
    `The disk of ${root} has ${formatBytes(free)} free, and the install needs ${formatBytes(needed)}.`,
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
