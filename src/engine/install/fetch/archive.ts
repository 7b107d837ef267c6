/**
 * @file Extracts chosen files from wheels and zip archives (yauzl) and from .tar.gz archives (tar), streaming.
 */
import { closeSync, createReadStream, createWriteStream, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname, resolve, sep } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Parser } from 'tar';
import yauzl from 'yauzl';

export interface ExtractOptions {
  readonly signal?: AbortSignal;
  /** Receives the number of bytes written so far. */
  readonly onBytes?: (done: number) => void;
}

/** Maps an entry's path to its path below the target folder; undefined skips the entry. */
export type Choose = (path: string) => string | undefined;

/** Extracts the chosen files of `archive` (zip or gzipped tar, by its first bytes) into `folder`; returns their paths. */
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

/** Skips entries that are not regular files. The parser waits until each entry has been read. */
async function extractTarGz(archive: string, choose: Choose, write: Write, signal?: AbortSignal): Promise<void> {
  let written: Promise<void> = Promise.resolve();
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      const name =
        entry.type === 'File' || entry.type === 'OldFile' ? choose(entry.path.replace(/^\.\//, '')) : undefined;
      if (name === undefined) entry.resume();
      else {
        const executable = ((entry.mode ?? 0) & 0o100) !== 0;
        written = written.then(() => write(name, Readable.from(entry), executable));
        // Awaited at the end; meanwhile it must not be reported as unhandled.
        written.catch((error) => parser.abort(error));
      }
    },
  });
  const source = createReadStream(archive, { highWaterMark: 1 << 20, signal });
  await new Promise<void>((resolvePromise, reject) => {
    source.on('error', reject);
    parser.on('error', reject);
    parser.on('end', () => resolvePromise());
    source.pipe(parser);
  }).finally(() => source.destroy());
  await written;
}
