/**
 * @file The folder an engine grows in, and how it becomes the engine: files first, `engine.json`, rename, then the
 * pointer `current.json`. Whenever the process dies, the old engine is in use or none is, and what is left is rubbish
 * that the next install removes.
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

/** Makes the cache's folder, or says why it cannot be used. */
export function prepareRoot(root: string): void {
  try {
    mkdirSync(join(root, 'downloads'), { recursive: true });
    accessSync(root, constants.W_OK);
  } catch (error) {
    throw new UserError(
      {
        problem: `The cache folder ${root} cannot be written (${systemErrorCode(error) ?? error}).`,
        fix: 'Set TINYZERO_CACHE to a folder that can.',
      },
      { cause: error },
    );
  }
}

/** Headers, objects and the addon take this much beside the libraries while it is built. */
const buildBytes = 100_000_000;

/** Refuses, before anything is fetched, what would not fit. */
export function requireSpace(root: string, bytes: number): void {
  const needed = bytes + buildBytes;
  const free = freeBytes(root);
  if (free >= needed) return;
  throw new Unavailable(
    'no-space',
    `The disk of ${root} has ${formatBytes(free)} free, and the install needs ${formatBytes(needed)}.`,
  );
}

/** An empty folder of this process's own, inside `root` so that renaming it stays on one disk. */
export function newStaging(root: string): string {
  const folder = join(root, `staging-${process.pid}-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder);
  return folder;
}

/**
 * Removes what stopped installs left. Finished downloads stay, and unfinished ones that can be continued. A process
 * that runs on an engine has its libraries open and keeps them until it ends.
 */
export function removeLeftovers(leftovers: readonly string[]): void {
  for (const path of leftovers) {
    if (/\.(whl|tgz|tar\.gz|zip|part)$/.test(path)) continue;
    rmSync(path, { recursive: true, force: true });
  }
}

/** Turns `staging` into the engine in use. The one before becomes a leftover, and so do the downloads. */
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

/** Regular files below `folder`, links left out (what they point at is listed), with forward slashes, sorted. */
function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

/** Asynchronous, because it may take seconds, and the lock has to be renewed meanwhile. */
async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
