/**
 * @file Where tinyzero keeps what it can get again: the native engine, downloads, models.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

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
