/**
 * @file The downloads of tfjs-node's own installer: libtensorflow (2.9.1) and a prebuilt addon, from the storage server
 * that the package names. Honours the same variable as that installer, TFJS_NODE_CDN_STORAGE, for mirrors.
 */
import { createWriteStream, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemErrorCode } from '../../../util/errors.js';
import { hashFile } from '../../../util/hash.js';
import type { Reporter } from '../../../util/reporter.js';
import { Unavailable } from './unavailable.js';

export interface RemoteFile {
  /** Below the storage server. */
  readonly path: string;
  /** Undefined for a file whose hash nobody publishes. */
  readonly sha256?: string;
  /** About; for the progress line until the server tells. */
  readonly bytes: number;
}

function storageServer(env: NodeJS.ProcessEnv): string {
  return (env.TFJS_NODE_CDN_STORAGE ?? 'https://storage.googleapis.com/').replace(/\/?$/, '/');
}

/** Milliseconds without a byte after which a transfer counts as dead. */
const idleMs = 60_000;
const attempts = 3;

/** Downloads `file` into `folder` and returns its path. A part left by an earlier run is continued. */
export async function fetchOfficial(
  file: RemoteFile,
  folder: string,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<string> {
  const target = join(folder, basename(file.path));
  if (file.sha256 !== undefined && statSync(target, { throwIfNoEntry: false }) !== undefined) {
    if ((await hashFile(target, 'sha256', 'hex', { signal })) === file.sha256) return target;
    rmSync(target);
  }
  const part = `${target}.part`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await transfer(`${storageServer(process.env)}${file.path}`, part, file.bytes, reporter, signal);
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
      throw new Unavailable('no-network', `${basename(file.path)} cannot be downloaded from ${serverName()} (${why}).`);
    }
  }
  if (file.sha256 !== undefined && (await hashFile(part, 'sha256', 'hex', { signal })) !== file.sha256) {
    rmSync(part);
    throw new Unavailable('wrong-hash', `${serverName()} served a ${basename(file.path)} with another hash.`);
  }
  renameSync(part, target);
  return target;
}

function serverName(): string {
  return new URL(storageServer(process.env)).host;
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
      // The part is not a beginning of this file; start again.
      rmSync(part);
      throw new Error('the server refused to continue the download');
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
    const source = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream);
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
