/**
 * @file Atomic writing of files (a temporary file is flushed, then renamed), reading of regular files only, and clear errors
 * for both.
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
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { systemErrorCode, UserError } from './errors.js';
import { isAlive } from './process.js';

/**
 * Creates a folder and its missing parents. Node's recursive mkdir never returns on a file system that rejects new folders
 * with ENOENT (`/proc`), and can report a misleading error.
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
 * Writes `data` to `path` atomically: even if the process is killed, readers see either the old file or the new one. Writes a
 * temporary file in the same folder, then fsync, rename, and fsync of the folder. Creates missing parent folders. Removes
 * temporary files that killed processes left for the same path.
 *
 * @throws the system error of the failing call (ENOSPC, EACCES, ...) after removing the temporary file.
 */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  writeAtomic(path, (fd) => writeAll(fd, typeof data === 'string' ? Buffer.from(data) : data));
}

/** Writes a file that must not exist yet. @throws the system error, EEXIST if it does. */
export function writeNewFile(path: string, data: string): void {
  makeFolder(dirname(path));
  const fd = openSync(path, 'wx');
  try {
    writeAll(fd, Buffer.from(data));
  } finally {
    closeSync(fd);
  }
}

/** As {@link writeFileAtomic}, for content produced in pieces: `write` receives the open file descriptor. */
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

/** A temporary file next to `path`. `commit` flushes it and renames it to `path`; `abandon` removes it. */
export function beginAtomic(path: string): { fd: number; temporary: string; commit(): void; abandon(): void } {
  const folder = dirname(path);
  makeFolder(folder);
  // The folder may be shared, and whether a process on another machine still writes is unknown.
  const prefix = `.${basename(path)}.${hostname()}.`;
  removeAbandoned(folder, prefix);
  const temporary = join(folder, `${prefix}${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  const fd = openSync(temporary, 'wx');
  let open = true;
  return {
    fd,
    temporary,
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
 * Opens a regular file for reading. Never blocks, as opening a named pipe without a writer would. Pipes, devices and folders
 * are rejected, since reading them may never end.
 *
 * @throws UserError explaining the system error, which is its `cause`.
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

/** Bytes in a regular file. @throws UserError as {@link openRegularFile}. */
export function regularFileBytes(path: string): number {
  const fd = openRegularFile(path);
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}

/** More than any configuration, tokenizer (Llama 3's has 17 MB) or list of problems; less than V8's longest string. */
const maxFileBytes = 256 * 2 ** 20;

/**
 * The content of a regular file.
 *
 * @param maxBytes size limit.
 * @throws UserError when the file is missing, unreadable, not a regular file, or larger.
 */
export function readRegularFile(path: string, maxBytes = maxFileBytes): Buffer {
  const fd = openRegularFile(path);
  try {
    const size = fstatSync(fd).size;
    if (size > maxBytes) throw tooLarge(path, maxBytes, size);
    const parts: Buffer[] = [];
    // Read to the end regardless of the reported size: files in /proc report 0 bytes.
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

/**
 * Opens a regular file and reads its header. The caller closes it; it is closed here if the header cannot be read.
 *
 * @throws UserError that names the file.
 */
export function openWithHeader<H extends object>(
  path: string,
  readHeader: (fd: number, path: string) => H,
): { readonly path: string; readonly fd: number } & H {
  const fd = openRegularFile(path);
  try {
    return { path, fd, ...readHeader(fd, path) };
  } catch (error) {
    closeSync(fd);
    throw error instanceof UserError ? error : unreadable(path, error);
  }
}

/** The error for a file that cannot be opened or read, explaining the system error. */
export function unreadable(path: string, error: unknown): UserError {
  const code = systemErrorCode(error);
  const reason =
    code === 'ENOENT'
      ? 'no such file'
      : code === 'EACCES' || code === 'EPERM'
        ? 'permission denied'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'ENXIO'
            ? 'it is not a regular file'
            : error instanceof Error
              ? error.message
              : String(error);
  return new UserError(`Cannot read ${path}: ${reason}.`, { cause: error });
}

/** Writes all of `data`, in several `write` calls if necessary (on Linux, one call writes at most 2 GiB). */
export function writeAll(fd: number, data: Uint8Array): void {
  let offset = 0;
  while (offset < data.byteLength) {
    offset += writeSync(fd, data, offset, Math.min(data.byteLength - offset, 1 << 30));
  }
}

/** Makes a rename inside `folder` durable. Windows cannot open folders and does not need this. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Why a file cannot be written, by system error. */
const writeErrors: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'your disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'its folder does not exist and cannot be created',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'part of the path is a file, not a folder',
  EEXIST: 'a file with that name exists',
  EISDIR: 'a folder with that name exists',
  EFBIG: 'it would exceed the largest file size allowed here',
  EIO: 'the disk reports an error',
  EMFILE: 'too many files are open',
};

/** Runs `write` and turns a known system error into a UserError that names `path`. */
export function explainWrites<T>(path: string, write: () => T, fix?: string): T {
  try {
    return write();
  } catch (error) {
    throw explained(path, error, fix);
  }
}

/** {@link explainWrites} for asynchronous writes. */
export async function explainAsyncWrites<T>(path: string, write: () => Promise<T>, fix?: string): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw explained(path, error, fix);
  }
}

const runFix = 'Completed work is not lost. Fix the cause and use --resume, or choose another --out.';

function explained(path: string, error: unknown, fix = runFix): unknown {
  const reason = writeErrors[systemErrorCode(error) ?? ''];
  if (reason === undefined) return error;
  return new UserError({ problem: `${path} cannot be written: ${reason}.`, fix }, { cause: error });
}
