/**
 * @file Checksums that tell a file from a damaged copy of it, JSON files that carry their own, and cryptographic hashes. CRC-32
 * sees every flipped bit and every burst of up to 32 bits, and is fast enough to be computed while gigabytes are written; it
 * is no protection against forgery.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { UserError } from './errors.js';
import { openRegularFile, readRegularFile } from './file.js';

export interface Checksum {
  readonly bytes: number;
  /** CRC-32 of all bytes, eight hexadecimal digits. */
  readonly crc32: string;
}

/** The checksum of no bytes. */
export const emptyChecksum: Checksum = { bytes: 0, crc32: '00000000' };

/** The checksum of what `before` stands for, followed by `data`. */
export function extendChecksum(before: Checksum, data: Uint8Array): Checksum {
  const value = crc32(data, Number.parseInt(before.crc32, 16));
  return { bytes: before.bytes + data.byteLength, crc32: value.toString(16).padStart(8, '0') };
}

export function checksumOf(data: string | Uint8Array): Checksum {
  return extendChecksum(emptyChecksum, typeof data === 'string' ? Buffer.from(data) : data);
}

export function sameChecksum(a: Checksum, b: Checksum): boolean {
  return a.bytes === b.bytes && a.crc32 === b.crc32;
}

/** The checksum of the first `bytes` bytes behind an open descriptor, or of all where there are fewer. */
export function checksumOfOpen(fd: number, bytes = Number.POSITIVE_INFINITY): Checksum {
  const block = Buffer.alloc(1 << 20);
  let sum = emptyChecksum;
  while (sum.bytes < bytes) {
    const count = readSync(fd, block, 0, Math.min(block.length, bytes - sum.bytes), sum.bytes);
    if (count === 0) break;
    sum = extendChecksum(sum, block.subarray(0, count));
  }
  return sum;
}

/** @returns undefined where there is no regular file, or one that cannot be read. */
export function checksumOfFile(path: string): Checksum | undefined {
  let fd: number;
  try {
    fd = openRegularFile(path);
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
  try {
    return checksumOfOpen(fd);
  } finally {
    closeSync(fd);
  }
}

const seal = /,\n {2}"checksum": "([0-9a-f]{8})"\n\}\n$/;

/** The JSON text of an object, its outermost `}` on a line of its own, with a last field `checksum` over all before that field. */
export function sealJson(text: string): string {
  const body = text.replace(/\n\}\n$/, '');
  return `${body},\n  "checksum": "${checksumOf(body).crc32}"\n}\n`;
}

/** @throws UserError when the file has changed since {@link sealJson} wrote its text. */
export function requireSeal(path: string, fix?: string): void {
  const bytes = readRegularFile(path);
  const match = seal.exec(bytes.toString('latin1', Math.max(0, bytes.length - 40)));
  const body = match && bytes.subarray(0, bytes.length - match[0].length);
  if (match && body && checksumOf(body).crc32 === match[1]) return;
  throw new UserError({
    problem: `${path} is damaged: its checksum does not fit its content.`,
    found: match && body ? `${checksumOf(body).crc32} where the file says ${match[1]}` : 'no checksum at its end',
    fix,
  });
}

/** Hash of a regular file's bytes. `onBytes` receives how many have been read so far. */
export async function hashFile(
  path: string,
  algorithm: 'sha256' | 'sha512' | 'md5' = 'sha256',
  encoding: 'hex' | 'base64' = 'hex',
  options: { signal?: AbortSignal; onBytes?: (done: number) => void } = {},
): Promise<string> {
  const hash = createHash(algorithm);
  let done = 0;
  const fd = openRegularFile(path);
  // The stream closes the file.
  for await (const chunk of createReadStream('', { fd, highWaterMark: 1 << 20, signal: options.signal })) {
    hash.update(chunk);
    done += chunk.length;
    options.onBytes?.(done);
  }
  return hash.digest(encoding);
}
