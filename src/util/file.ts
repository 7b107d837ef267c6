/**
 * @file Files are written whole or not at all (a temporary file, flushed, then renamed), and only regular files are read.
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
  readSync,
  renameSync,
  rmSync,
  statSync,
  write,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { systemErrorCode, UserError } from './errors.js';
import { isAlive } from './process.js';

/**
 * Creates a folder and its missing parents. Node's recursive mkdir never returns where a file system refuses new folders with
 * ENOENT (`/proc`), and names another error than the one that counts.
 *
 * @returns whether the folder is new.
 * @throws the system error of the folder that cannot be created.
 */
export function makeFolder(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    const code = systemErrorCode(error);
    if (isFolder(path)) return false;
    const parent = dirname(resolve(path));
    if (code !== 'ENOENT' || isFolder(parent)) throw error;
    makeFolder(parent);
    return makeFolder(path);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

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
  makeFolder(folder);
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
 * Opens a regular file for reading. Opening never waits, as it would for a named pipe without a writer; pipes, devices and
 * folders are refused, since reading them may never end.
 *
 * @throws UserError with the system's reason in words; its `cause` is the system's error.
 */
export function openRegularFile(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // Windows lacks the flag and such pipes
  } catch (error) {
    throw unreadable(path, error);
  }
  const stat = fstatSync(fd);
  if (stat.isFile()) return fd;
  closeSync(fd);
  throw new UserError(`Cannot read ${path}: it is ${stat.isDirectory() ? 'a folder' : 'not a regular file'}.`);
}

/** Above every configuration, tokenizer (Llama 3's is 17 MB) and list of problems; below V8's longest string. */
const maxFileBytes = 256 * 2 ** 20;

/**
 * The content of a regular file.
 *
 * @param maxBytes how large the file may be.
 * @throws UserError when it is missing, unreadable, no regular file, or larger.
 */
export function readRegularFile(path: string, maxBytes = maxFileBytes): Buffer {
  const fd = openRegularFile(path);
  try {
    const size = fstatSync(fd).size;
    if (size > maxBytes) throw tooLarge(path, maxBytes, size);
    const parts: Buffer[] = [];
    // Read to the end whatever the size says: files of /proc claim 0 bytes.
    for (let total = 0; ; ) {
      const part = Buffer.allocUnsafe(Math.max(size - total + 1, 4096));
      const count = readSync(fd, part, 0, part.length, null);
      if (count === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, count));
      total += count;
      if (total > maxBytes) throw tooLarge(path, maxBytes, total);
    }
  } catch (error) {
    throw error instanceof UserError ? error : unreadable(path, error);
  } finally {
    closeSync(fd);
  }
}

function tooLarge(path: string, maxBytes: number, size: number): UserError {
  return new UserError({ problem: `${path} is too large.`, expected: `at most ${maxBytes} bytes`, found: `${size}` });
}

/** The error for a file that cannot be opened or read, with the system's reason in words. */
export function unreadable(path: string, error: unknown): UserError {
  const code = systemErrorCode(error);
  const reason =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EACCES' || code === 'EPERM'
        ? 'permission is denied'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'ENXIO'
            ? 'it is not a regular file'
            : error instanceof Error
              ? error.message
              : String(error);
  return new UserError(`Cannot read ${path}: ${reason}.`, { cause: error });
}

/** Writes every byte, however many `write` calls that takes (one call moves at most 2 GiB on Linux). */
export function writeAll(fd: number, data: Uint8Array): void {
  let offset = 0;
  while (offset < data.byteLength) {
    offset += writeSync(fd, data, offset, Math.min(data.byteLength - offset, 1 << 30));
  }
}

/** As {@link writeAll}, on another thread: the caller may compute meanwhile, but not change `data`. */
export async function writeAllAsync(fd: number, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.byteLength; ) {
    offset += (await writePiece(fd, data, offset, Math.min(data.byteLength - offset, 1 << 30))).bytesWritten;
  }
}

const writePiece = promisify(write);

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
