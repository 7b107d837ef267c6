/**
 * @file Hashes of files, read in pieces so that the size does not matter.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** Hash of a file's bytes. `onBytes` hears how many have been read so far. */
export async function hashFile(
  path: string,
  algorithm: 'sha256' | 'sha512' | 'md5' = 'sha256',
  encoding: 'hex' | 'base64' = 'hex',
  options: { signal?: AbortSignal; onBytes?: (done: number) => void } = {},
): Promise<string> {
  const hash = createHash(algorithm);
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal: options.signal })) {
    hash.update(chunk);
    done += chunk.length;
    options.onBytes?.(done);
  }
  return hash.digest(encoding);
}
