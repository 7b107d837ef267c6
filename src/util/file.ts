/**
 * @file Files that are either whole or not there: written beside, flushed to disk, then renamed.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isAlive } from './process.js';

/**
 * Writes `data` to `path` so that a reader, or a process killed at any moment, sees the old file or the new one, never
 * a part: temporary file in the same folder, fsync, rename, fsync of the folder. Creates missing parent folders. What a
 * killed process left of the same file is removed.
 *
 * @throws the system error of the failing call (ENOSPC, EACCES, ...) after removing the temporary file.
 */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  writeAtomic(path, (fd) => writeAll(fd, typeof data === 'string' ? Buffer.from(data) : data));
}

/** As {@link writeFileAtomic}, for content that is produced in pieces: `write` gets the open file descriptor. */
export function writeAtomic(path: string, write: (fd: number) => void): void {
  const file = beginAtomic(path);
  try {
    write(file.fd);
    file.commit();
  } catch (error) {
    file.abandon();
    throw error;
  }
}

/** As {@link writeAtomic}, for pieces that have to be waited for. */
export async function writeAtomicAsync(path: string, write: (fd: number) => Promise<void>): Promise<void> {
  const file = beginAtomic(path);
  try {
    await write(file.fd);
    file.commit();
  } catch (error) {
    file.abandon();
    throw error;
  }
}

function beginAtomic(path: string): { fd: number; commit(): void; abandon(): void } {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true });
  // Processes of other machines, which may share the folder, cannot be asked whether they still write.
  const prefix = `.${basename(path)}.${hostname()}.`;
  removeAbandoned(folder, prefix);
  const temporary = join(folder, `${prefix}${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  const fd = openSync(temporary, 'wx');
  let open = true;
  return {
    fd,
    commit() {
      fsyncSync(fd);
      closeSync(fd);
      open = false;
      renameSync(temporary, path);
      syncFolder(folder);
    },
    abandon() {
      if (open) closeSync(fd);
      rmSync(temporary, { force: true });
    },
  };
}

function removeAbandoned(folder: string, prefix: string): void {
  for (const name of readdirSync(folder)) {
    const pid = name.startsWith(prefix) ? /^(\d+)\.[0-9a-f]{8}\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined;
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(folder, name), { force: true });
  }
}

/**
 * Opens a file for reading; undefined when something else than a regular file is there. Opening never waits, as it
 * would for a named pipe that nobody writes to.
 *
 * @throws the system error when there is nothing to open.
 */
export function openRegularFile(path: string): number | undefined {
  const fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // Windows lacks the flag and such pipes
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  return undefined;
}

/** Writes every byte, however many `write` calls that takes (one call moves at most 2 GiB on Linux). */
export function writeAll(fd: number, data: Uint8Array): void {
  let offset = 0;
  while (offset < data.byteLength) {
    offset += writeSync(fd, data, offset, Math.min(data.byteLength - offset, 1 << 30));
  }
}

/** Makes a rename inside `folder` durable. Windows cannot open folders, and needs no such call. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
