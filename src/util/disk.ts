/**
 * @file Free space on the disk that holds a folder.
 */
import { existsSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Bytes this user can still write there. The folder need not exist yet: its nearest parent is asked. */
export function freeBytes(folder: string): number {
  let path = resolve(folder);
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
