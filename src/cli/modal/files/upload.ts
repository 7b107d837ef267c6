/**
 * @file Uploads the files that a run needs to the volume: models, problems, tasks, V* files. Each is stored by the hash of its
 * content, so nothing is uploaded twice.
 */
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { create } from 'tar';
import { exitCodes, UserError } from '../../../util/errors.js';
import type { Reporter } from '../../../util/reporter.js';
import { inputFolder } from '../layout.js';
import type { Helper } from './helper.js';

/** A file or a folder of this machine. */
export interface Input {
  readonly path: string;
  readonly bytes: number;
  /** Files below `path`, or the file itself as its own name. */
  readonly files: readonly string[];
  /** Where it is on the volume, once its content is hashed. */
  readonly remote: () => Promise<string>;
}

/** Not needed where only the trained model matters, and several times its size. */
const leftOut = ['checkpoints', 'run.lock'];

/** @param whole upload everything in the folder, for a run that is resumed there. @throws UserError for a task that imports files. */
export function inputOf(path: string, whole = false): Input {
  const isFolder = statSync(path).isDirectory();
  const skipped = whole ? ['run.lock'] : leftOut;
  const files = isFolder
    ? readdirSync(path, { recursive: true, encoding: 'utf8', withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(join(path, 'x').length - 1))
        .filter((file) => !skipped.includes(file.split(/[/\\]/)[0]!) && !basename(file).startsWith('.'))
        .sort()
    : [basename(path)];
  if (!isFolder) requireAlone(path);
  const folder = isFolder ? path : dirname(path);
  const bytes = files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
  let hashed: Promise<string> | undefined;
  const remote = () => {
    hashed ??= hashOf(folder, files);
    return hashed.then((hash) => `${inputFolder}/${hash.slice(0, 16)}/${basename(resolve(path))}`);
  };
  return { path, bytes, files, remote };
}

/** A task is sent alone. */
function requireAlone(path: string): void {
  if (!/\.[cm]?[jt]s$/.test(path)) return;
  const found = /\bfrom\s+['"](\.[^'"]*)['"]|\bimport\s*\(?\s*['"](\.[^'"]*)['"]/.exec(readFileSync(path, 'utf8'));
  if (found === null) return;
  throw new UserError(
    {
      problem: `${path} imports ${found[1] ?? found[2]}, and a task is sent to Modal as one file.`,
      fix: 'Put the task and what it imports into one file.',
    },
    { exitCode: exitCodes.usage },
  );
}

async function hashOf(folder: string, files: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`${file}\0${statSync(join(folder, file)).size}\0`);
    for await (const chunk of createReadStream(join(folder, file))) hash.update(chunk);
  }
  return hash.digest('hex');
}

/** Sends `input` to its place on the volume, or to `to`, unless it is there. A transfer that is cut off leaves nothing behind. */
export async function send(helper: Helper, input: Input, reporter: Reporter, to?: string): Promise<string> {
  const place = to ?? (await input.remote());
  const isFolder = statSync(input.path).isDirectory();
  if ((await helper.exec(['test', '-e', place])).code === 0) return place;
  const part = `${place}.part`;
  const target = isFolder ? part : dirname(part);
  const transfer = reporter.transfer(`Sending ${input.path}`, input.bytes);
  try {
    const cwd = isFolder ? input.path : dirname(input.path);
    const archive = create({ cwd, portable: true, follow: true }, [...input.files]);
    const script = isFolder
      ? 'mkdir -p "$1" && tar -xf - -C "$1" && mv "$1" "$2"'
      : 'mkdir -p "$1" && tar -xf - -C "$1"';
    const { code, stderr } = await helper.exec(['sh', '-c', `rm -rf "$1.part"; ${script}`, 'sh', target, place], {
      input: counted(archive as unknown as AsyncIterable<Uint8Array>, (bytes) =>
        transfer.update(Math.min(bytes, input.bytes)),
      ),
    });
    if (code !== 0) throw new UserError(`${input.path} could not be written to the volume: ${stderr.trim()}`);
  } finally {
    transfer.end();
  }
  return place;
}

/** Pieces of a size that one message carries well. */
const pieceBytes = 1 << 20;

async function* counted(source: AsyncIterable<Uint8Array>, tick: (bytes: number) => void): AsyncIterable<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += pieceBytes) yield chunk.subarray(at, at + pieceBytes);
    bytes += chunk.length;
    tick(bytes);
  }
}
