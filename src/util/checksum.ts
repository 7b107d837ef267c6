/**
 * @file Checksums that detect damaged files, JSON files that contain their own checksum, and cryptographic hashes. CRC-32
 * detects every single flipped bit and every burst of up to 32 bits, and is fast enough to compute while writing gigabytes.
 * It does not protect against forgery.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, readSync } from 'node:fs';
import * as zlib from 'node:zlib';
import { UserError } from './errors.js';
import { openRegularFile, readRegularFile } from './file.js';

export interface Checksum {
  readonly bytes: number;
  /** CRC-32 of all bytes, eight hexadecimal digits. */
  readonly crc32: string;
}

/** CRC-32 of earlier bytes followed by `bytes`; `before` is the CRC-32 of the earlier ones. */
type Crc32 = (bytes: Uint8Array, before: number) => number;

let crc32: Crc32 = zlib.crc32;

/** Installs a faster function with the same results, such as that of the native engine. */
export function useCrc32(faster: Crc32): void {
  crc32 = faster;
}

/** The checksum of no bytes. */
export const emptyChecksum: Checksum = { bytes: 0, crc32: '00000000' };

/** The checksum of the data of `before` followed by `data`. */
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

/** The checksum of the first `bytes` bytes of an open file, or of the whole file if it is shorter. */
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

/** @returns undefined if `path` is not a regular, readable file. */
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

/** Adds a last field `checksum`, over everything before it, to the JSON text of an object whose final `}` has its own line. */
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
    problem: `${path} is damaged: its checksum does not match its content.`,
    found: match && body ? `${checksumOf(body).crc32} instead of ${match[1]}` : 'no checksum at its end',
    fix,
  });
}

/** Hash of a regular file. `onBytes` receives the number of bytes read so far. */
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
