/**
 * @file Takes chosen files out of wheels and zip archives (yauzl) and out of .tar.gz archives (a reader of our own:
 * npm tarballs and libtensorflow need regular files only), streaming, whatever their size.
 */
import { closeSync, createReadStream, createWriteStream, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import yauzl from 'yauzl';

export interface ExtractOptions {
  readonly signal?: AbortSignal;
  /** Hears how many bytes have been written so far. */
  readonly onBytes?: (done: number) => void;
}

/** Where a file of the archive goes, relative to the target folder; undefined leaves it out. */
export type Choose = (path: string) => string | undefined;

/** Extracts the chosen files of `archive` (zip or gzipped tar, told by its bytes) into `folder`; returns their paths. */
export async function extract(
  archive: string,
  folder: string,
  choose: Choose,
  options: ExtractOptions = {},
): Promise<string[]> {
  const written: string[] = [];
  let done = 0;
  const write = async (name: string, source: Readable, executable: boolean) => {
    const path = resolve(folder, name);
    if (!path.startsWith(resolve(folder) + sep)) throw new Error(`${archive} has an entry outside its folder: ${name}`);
    mkdirSync(dirname(path), { recursive: true });
    const meter = new Transform({
      transform(chunk, _encoding, next) {
        done += chunk.length;
        options.onBytes?.(done);
        next(null, chunk);
      },
    });
    await pipeline(source, meter, createWriteStream(path, { mode: executable ? 0o755 : 0o644 }), {
      signal: options.signal,
    });
    written.push(name);
  };
  if (startsWith(archive, 'PK')) await extractZip(archive, choose, write);
  else await extractTarGz(archive, choose, write, options.signal);
  return written;
}

function startsWith(path: string, magic: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(magic.length);
    return readSync(fd, start, 0, start.length, 0) === start.length && start.toString('latin1') === magic;
  } finally {
    closeSync(fd);
  }
}

type Write = (name: string, source: Readable, executable: boolean) => Promise<void>;

async function extractZip(archive: string, choose: Choose, write: Write): Promise<void> {
  const zip = await new Promise<yauzl.ZipFile>((resolvePromise, reject) =>
    yauzl.open(archive, { lazyEntries: true, autoClose: false }, (error, file) =>
      error ? reject(error) : resolvePromise(file),
    ),
  );
  try {
    await new Promise<void>((resolvePromise, reject) => {
      zip.on('error', reject);
      zip.on('end', () => resolvePromise());
      zip.on('entry', (entry: yauzl.Entry) => {
        const name = entry.fileName.endsWith('/') ? undefined : choose(entry.fileName);
        if (name === undefined) return zip.readEntry();
        const executable = ((entry.externalFileAttributes >>> 16) & 0o100) !== 0;
        zip.openReadStream(entry, (error, stream) => {
          if (error) return reject(error);
          // yauzl checks the size; the archive as a whole was checked against its hash.
          write(name, stream, executable).then(() => zip.readEntry(), reject);
        });
      });
      zip.readEntry();
    });
  } finally {
    zip.close();
  }
}

const blockBytes = 512;

/** Reads POSIX ustar with GNU long names and pax paths; entries that are not regular files are left out. */
async function extractTarGz(archive: string, choose: Choose, write: Write, signal?: AbortSignal): Promise<void> {
  const source = createReadStream(archive, { highWaterMark: 1 << 20 });
  const unzipped = createGunzip({ chunkSize: 1 << 20 });
  source.on('error', (error) => unzipped.destroy(error));
  source.pipe(unzipped);
  const reader = new ByteReader(unzipped[Symbol.asyncIterator]());
  let longName: string | undefined;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const header = await reader.take(blockBytes);
      if (header.length < blockBytes || header.every((byte) => byte === 0)) return;
      const size = parseOctal(header.subarray(124, 136));
      const padded = Math.ceil(size / blockBytes) * blockBytes;
      const type = String.fromCharCode(header[156] ?? 0);
      if (type === 'L' || type === 'x') {
        const data = (await reader.take(padded)).subarray(0, size);
        longName = type === 'L' ? cString(data) : (paxPath(data.toString('utf8')) ?? longName);
        continue;
      }
      const prefix = cString(header.subarray(345, 500));
      const path = longName ?? (prefix === '' ? '' : `${prefix}/`) + cString(header.subarray(0, 100));
      longName = undefined;
      const name = type === '0' || type === '\0' ? choose(path.replace(/^\.\//, '')) : undefined;
      if (name === undefined) await reader.skip(padded);
      else {
        const executable = (parseOctal(header.subarray(100, 108)) & 0o100) !== 0;
        await write(name, Readable.from(reader.chunks(size)), executable);
        await reader.skip(padded - size);
      }
    }
  } finally {
    source.destroy();
    unzipped.destroy();
  }
}

/** Hands out a stream of chunks in pieces of asked sizes. */
class ByteReader {
  private rest: Buffer = Buffer.alloc(0);
  constructor(private readonly source: AsyncIterator<Buffer>) {}

  /** Up to `count` bytes as the stream delivers them: ends early only where the stream does. */
  async *chunks(count: number): AsyncGenerator<Buffer> {
    for (let left = count; left > 0; ) {
      if (this.rest.length === 0) {
        const next = await this.source.next();
        if (next.done) throw new Error('the archive ends in the middle of a file');
        this.rest = next.value;
      }
      const piece = this.rest.subarray(0, left);
      this.rest = this.rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async take(count: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of this.chunks(count)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async skip(count: number): Promise<void> {
    for await (const _ of this.chunks(count));
  }
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? bytes.length : end);
}

function parseOctal(bytes: Buffer): number {
  return Number.parseInt(cString(bytes).trim() || '0', 8);
}

function paxPath(records: string): string | undefined {
  return /\d+ path=(.*)\n/.exec(records)?.[1];
}
