/**
 * @file Downloads libtensorflow (2.9.1) from the storage server of tfjs-node's installer. Like that installer, it supports
 * mirrors over https through TFJS_NODE_CDN_STORAGE.
 */
import { createWriteStream, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hashFile } from '../../../util/checksum.js';
import { systemErrorCode } from '../../../util/errors.js';
import type { Reporter } from '../../../util/reporter.js';
import { Unavailable } from './unavailable.js';

export interface RemoteFile {
  /** Relative to the storage server. */
  readonly path: string;
  readonly sha256: string;
  /** Approximate, for the progress line until the server sends the length. */
  readonly bytes: number;
}

/**
 * The storage server, or the mirror that TFJS_NODE_CDN_STORAGE names.
 *
 * @throws Unavailable if that is not an https address.
 */
export function storageServer(env: NodeJS.ProcessEnv = process.env): URL {
  const text = env.TFJS_NODE_CDN_STORAGE ?? 'https://storage.googleapis.com/';
  const url = URL.canParse(text) ? new URL(text.replace(/\/?$/, '/')) : undefined;
  if (url?.protocol === 'https:') return url;
  throw new Unavailable('no-network', 'TFJS_NODE_CDN_STORAGE must be an https address.');
}

/** Milliseconds without data after which a transfer is aborted. */
const idleMs = 60_000;
const attempts = 3;

/**
 * Downloads `file` from `server` into `folder` and returns its path. Resumes a partial download of an earlier run.
 *
 * @throws Unavailable if the server is out of reach or the bytes are not the pinned ones.
 */
export async function fetchOfficial(
  file: RemoteFile,
  folder: string,
  reporter: Reporter,
  signal: AbortSignal,
  server = storageServer(),
): Promise<string> {
  const target = join(folder, basename(file.path));
  if (statSync(target, { throwIfNoEntry: false }) !== undefined) {
    if ((await hashFile(target, 'sha256', 'hex', { signal })) === file.sha256) return target;
    rmSync(target);
  }
  const part = `${target}.part`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await transfer(`${server}${file.path}`, part, file.bytes, reporter, signal);
      break;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Unavailable) throw error;
      if (systemErrorCode(error) === 'ENOSPC') {
        throw new Unavailable('no-space', `The disk filled up while ${basename(file.path)} was downloaded.`);
      }
      if (attempt < attempts) continue;
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const why = systemErrorCode(cause) ?? (cause instanceof Error ? cause.message : String(cause));
      throw new Unavailable('no-network', `${basename(file.path)} is not downloadable from ${server.host} (${why}).`);
    }
  }
  if ((await hashFile(part, 'sha256', 'hex', { signal })) !== file.sha256) {
    rmSync(part);
    throw new Unavailable('wrong-hash', `${server.host} served ${basename(file.path)} with an unexpected hash.`);
  }
  renameSync(part, target);
  return target;
}

async function transfer(
  url: string,
  part: string,
  about: number,
  reporter: Reporter,
  outer: AbortSignal,
): Promise<void> {
  const have = statSync(part, { throwIfNoEntry: false })?.size ?? 0;
  const idle = new AbortController();
  let timer = setTimeout(() => idle.abort(new Error('no data for a minute')), idleMs);
  const signal = AbortSignal.any([outer, idle.signal]);
  try {
    const response = await fetch(url, { signal, headers: have > 0 ? { range: `bytes=${have}-` } : {} });
    if (response.status === 416) {
      // The partial file is not a prefix of this file: start over.
      rmSync(part);
      throw new Error('the server refused to resume the download');
    }
    if (!response.ok || response.body === null) {
      throw new Unavailable(
        'download-failed',
        `${new URL(url).host} answered ${response.status} for ${basename(part)}.`,
      );
    }
    const resumed = response.status === 206;
    const offset = resumed ? have : 0;
    const length = Number(response.headers.get('content-length') ?? 0);
    const view = reporter.transfer(`Downloading ${basename(part, '.part')}`, length > 0 ? offset + length : about);
    let done = offset;
    const source = Readable.fromWeb(response.body);
    try {
      await pipeline(
        source,
        async function* (chunks: AsyncIterable<Uint8Array>) {
          for await (const chunk of chunks) {
            clearTimeout(timer);
            timer = setTimeout(() => idle.abort(new Error('no data for a minute')), idleMs);
            done += chunk.byteLength;
            view.update(done);
            yield chunk;
          }
        },
        createWriteStream(part, { flags: resumed ? 'a' : 'w' }),
        { signal },
      );
    } finally {
      view.end();
    }
    if (length > 0 && done !== offset + length) throw new Error('the transfer ended early');
  } finally {
    clearTimeout(timer);
  }
}
