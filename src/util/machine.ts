/**
 * @file This program and the machine that it runs on: its version; free disk space, memory limit, processor features, cache
 * folder; and aligned memory.
 */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { homedir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** The version of tinyzero. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  return version;
}

/** Free disk space for this user at `folder`, in bytes. If the folder does not exist, its nearest parent counts. */
export function freeBytes(folder: string): number {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Memory limit in bytes; in a container, the limit of its control group. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** The processor's features by their Linux names (`avx2`, `avx512f`, `asimd`); empty on other systems. */
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
 * Path of the cache folder, which is not created here: `TINYZERO_CACHE` if set, otherwise in the platform's place for caches.
 * Shared by all of a user's checkouts and installations of tinyzero.
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

/** Not among the types of Node 20. */
declare const WebAssembly: { Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer } };

/**
 * At least `bytes` bytes of zeros, which take no memory until they are written. WebAssembly memory starts on a page
 * boundary, which other JavaScript buffers do not guarantee.
 *
 * @throws RangeError when the system cannot provide them.
 */
export function alignedMemory(bytes: number): ArrayBuffer {
  const pageBytes = 65_536;
  return new WebAssembly.Memory({ initial: Math.max(1, Math.ceil(bytes / pageBytes)) }).buffer;
}
