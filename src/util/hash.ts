/**
 * @file Hashes of files, read in pieces so that the size does not matter.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { openRegularFile } from './file.js';

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
