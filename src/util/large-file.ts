/**
 * @file Atomic writing of large files from start to end. Where the system allows (`O_DIRECT` on Linux), the bytes bypass the
 * page cache: copying gigabytes into it and flushing them keeps every processor busy, and `fsync` then waits for all of them
 * (docs/log.md). Other threads write the blocks while the caller prepares the next ones; once the space is reserved, the
 * system writes several at a time.
 */
import { closeSync, constants, openSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { systemErrorCode } from './errors.js';
import { beginAtomic } from './file.js';
import { alignedMemory } from './machine.js';

/** Appends bytes. They may be changed once the promise resolves; it rejects when an earlier write has failed. */
export type Append = (bytes: Uint8Array) => Promise<void>;

/** Direct writes need an address, position and length that are multiples of the disk's block size, which is no larger. */
const blockBytes = 4096;
/** Larger writes were no faster. */
const bufferBytes = 4 << 20;
const bufferCount = 3;

/** Sets the length of an open file and reserves its blocks on the disk. If it fails, the file is written without it. */
type Reserve = (fd: number, bytes: number) => void;

let reserve: Reserve = () => {};

/** Installs the function of the native engine, since Node has none. */
export function useReserve(native: Reserve): void {
  reserve = native;
}

/**
 * As {@link import('./file.js').writeAtomic}, for content that `produce` appends in pieces of any size.
 *
 * @param bytes the size of the whole content.
 * @param onBlock receives the content in blocks, in order, each while other threads write it. It costs no time as long as it
 * is faster than the disk.
 * @throws the system error of the failing call (ENOSPC, EACCES, ...); an older file is then unchanged.
 */
export async function writeLargeFile(
  path: string,
  bytes: number,
  produce: (append: Append) => Promise<void>,
  onBlock?: (block: Uint8Array) => void,
): Promise<void> {
  const file = beginAtomic(path);
  const target = openTarget(file.fd, file.temporary, bytes);
  try {
    const written = await appendBlocks(target.write, produce, onBlock).finally(target.close);
    if (written !== bytes) throw new Error(`${path}: ${written} bytes were written instead of ${bytes}`);
    file.commit();
  } catch (error) {
    file.abandon();
    throw error;
  }
}

type WriteAt = (bytes: Uint8Array, position: number) => Promise<void>;

/** Cuts what `produce` appends into whole buffers and writes a few of them meanwhile. @returns the bytes written. */
async function appendBlocks(
  writeAt: WriteAt,
  produce: (append: Append) => Promise<void>,
  onBlock?: (block: Uint8Array) => void,
): Promise<number> {
  const buffers: Uint8Array[] = [];
  const writing: Promise<void>[] = [];
  let current = 0;
  let filled = 0;
  let position = 0;
  const send = () => {
    const block = buffers[current]!.subarray(0, filled);
    writing[current] = writeAt(block, position);
    // An error is thrown where the promise is awaited, which may be later.
    writing[current]!.catch(() => {});
    onBlock?.(block);
    position += filled;
    current = (current + 1) % bufferCount;
    filled = 0;
  };
  try {
    await produce(async (bytes) => {
      for (let done = 0; done < bytes.byteLength; ) {
        if (filled === 0) {
          await writing[current];
          buffers[current] ??= new Uint8Array(alignedMemory(bufferBytes));
        }
        const count = Math.min(bytes.byteLength - done, bufferBytes - filled);
        buffers[current]!.set(bytes.subarray(done, done + count), filled);
        filled += count;
        done += count;
        if (filled === bufferBytes) send();
      }
    });
    if (filled > 0) send();
    await Promise.all(writing);
    return position;
  } finally {
    await Promise.allSettled(writing); // nobody may write to a descriptor that is closed
  }
}

const writePiece = promisify(write);

/** Writes whole blocks without the page cache if the file system can, and the rest as usual. */
function openTarget(fd: number, path: string, bytes: number): { write: WriteAt; close(): void } {
  const direct = bytes < blockBytes ? undefined : openDirect(path);
  if (direct !== undefined) reserve(direct, bytes);
  // Some file systems accept the flag and reject the writes. The descriptor stays open: others may be writing.
  let rejected = false;
  const writeAt: WriteAt = async (bytes, position) => {
    const whole = bytes.byteLength - (bytes.byteLength % blockBytes);
    for (let done = 0; done < bytes.byteLength; ) {
      const past = direct !== undefined && !rejected && done < whole && done % blockBytes === 0;
      const end = past ? whole : bytes.byteLength;
      try {
        done += (await writePiece(past ? direct : fd, bytes, done, end - done, position + done)).bytesWritten;
      } catch (error) {
        if (!past || systemErrorCode(error) !== 'EINVAL') throw error;
        rejected = true;
      }
    }
  };
  return { write: writeAt, close: () => direct !== undefined && closeSync(direct) };
}

/** @returns undefined where the system or the file system does not support direct writes. */
function openDirect(path: string): number | undefined {
  if (constants.O_DIRECT === undefined) return undefined;
  try {
    return openSync(path, constants.O_WRONLY | constants.O_DIRECT);
  } catch {
    return undefined;
  }
}
