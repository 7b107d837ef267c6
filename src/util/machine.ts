/**
 * @file What this machine has: free disk space, memory that this process may use, the processor's features.
 */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { homedir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** Bytes this user can still write to the disk of `folder`, which need not exist yet: its nearest parent is asked. */
export function freeBytes(folder: string): number {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Bytes of memory: in a container the limit of its group counts, not the machine's memory. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Names of the processor's features as Linux lists them (`avx2`, `avx512f`, `asimd`); empty on other systems. */
export function processorFeatures(): ReadonlySet<string> {
  let list: string | undefined;
  try {
    list = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
  } catch {
    // Not Linux, or /proc is not mounted.
  }
  return new Set(list?.trim().split(/\s+/));
}

/**
 * The cache folder (not created here): `TINYZERO_CACHE` when set, else the place the platform keeps caches in.
 * It is shared by every checkout and install of tinyzero of one user.
 */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  if (env.TINYZERO_CACHE) return resolve(env.TINYZERO_CACHE);
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'tinyzero');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'tinyzero');
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'tinyzero', 'cache');
  return join(homedir(), '.cache', 'tinyzero');
}
