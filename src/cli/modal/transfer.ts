/**
 * @file Transfers files to and from the volume. Models, problems, tasks and V* files are stored by the hash of their content,
 * so nothing is uploaded twice. A downloaded file is checked against its SHA-256 on the volume and appears under its name
 * only when it is complete; an interrupted download resumes where it stopped.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, normalize, resolve } from 'node:path';
import { create } from 'tar';
import { runFiles } from '../../run/folder.js';
import { exitCodes, UserError } from '../../util/errors.js';
import { explainAsyncWrites, makeFolder, writeAll } from '../../util/file.js';
import type { Reporter, Transfer } from '../../util/reporter.js';
import type { Helper } from './helper.js';
import { inputFolder } from './layout.js';

/** A file or a folder of this machine. */
export interface Input {
  readonly path: string;
  readonly bytes: number;
  /** Files below `path`, or the file itself as its own name. */
  readonly files: readonly string[];
  /** Where it is on the volume, once its content is hashed. */
  readonly remote: () => Promise<string>;
}

/** Not needed to use the trained model, and several times its size. */
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

/** Sends `input` to its place on the volume, or to `to`, unless it already exists. An interrupted transfer leaves nothing behind. */
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
      input: counted(archive, (bytes) => transfer.update(Math.min(bytes, input.bytes))),
    });
    if (code !== 0) throw new UserError(`${input.path} could not be written to the volume: ${stderr.trim()}`);
  } finally {
    transfer.end();
  }
  return place;
}

/** Size of the pieces that are sent. */
const pieceBytes = 1 << 20;

async function* counted(source: AsyncIterable<Uint8Array>, tick: (bytes: number) => void): AsyncIterable<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += pieceBytes) yield chunk.subarray(at, at + pieceBytes);
    bytes += chunk.length;
    tick(bytes);
  }
}

interface RemoteFile {
  /** Below the run's folder. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** A folder with this file counts as a run, so it is downloaded last. */
const lastFile = runFiles.config;

/**
 * Downloads the folder `name` of the volume to `folder`. Files that already exist are kept if equal, otherwise replaced.
 *
 * @returns bytes that were received. @throws UserError if the volume has no such folder, or a file arrives damaged twice.
 */
export async function fetchFolder(
  helper: Helper,
  name: string,
  folder: string,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<number> {
  const files = await listFiles(helper, name);
  const missing: RemoteFile[] = [];
  for (const file of files) {
    const path = join(folder, file.path);
    if (!existsSync(path) || (await sha256(path)) !== file.sha256) missing.push(file);
  }
  const total = missing.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total === 0) return 0;
  const transfer = reporter.transfer(`Fetching ${name} into ${folder}`, total);
  let done = 0;
  try {
    for (const file of missing) {
      signal.throwIfAborted();
      await explainAsyncWrites(folder, () => fetchFile(helper, name, folder, file, transfer, done));
      done += file.bytes;
      transfer.update(done);
    }
  } finally {
    transfer.end();
  }
  return total;
}

async function fetchFile(
  helper: Helper,
  name: string,
  folder: string,
  { path, bytes, sha256: expected }: RemoteFile,
  transfer: Transfer,
  before: number,
): Promise<void> {
  const target = join(folder, path);
  const part = `${target}.part`;
  makeFolder(dirname(target));
  for (let attempt = 0; ; attempt++) {
    let have = existsSync(part) ? statSync(part).size : 0;
    if (have > bytes) {
      rmSync(part);
      have = 0;
    }
    const fd = openSync(part, 'a');
    try {
      for await (const chunk of helper.read(['tail', '-c', `+${have + 1}`, `${name}/${path}`])) {
        writeAll(fd, chunk);
        have += chunk.length;
        transfer.update(before + have);
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if ((await sha256(part)) === expected) break;
    rmSync(part);
    if (attempt > 0) {
      throw new UserError({
        problem: `${name}/${path} arrived damaged twice: its checksum differs from that on the volume.`,
        fix: `If the run is still active, download it after it has ended: \`tinyzero modal get ${name}\`.`,
      });
    }
  }
  renameSync(part, target);
}

async function listFiles(helper: Helper, name: string): Promise<RemoteFile[]> {
  const find = `cd "$1" 2>/dev/null || exit 44; find . -type f ! -name run.lock ! -name '.*' ! -name '*.part'`;
  const script = `${find} -printf '%s %p\\n'; echo; find . -type f -exec sha256sum {} +`;
  const { code, stdout, stderr } = await helper.exec(['sh', '-c', script, 'sh', name]);
  if (code === 44) {
    throw new UserError({
      problem: `There is no run ${name} on the volume.`,
      fix: 'List them with `tinyzero modal ls`.',
    });
  }
  if (code !== 0) throw new UserError(`The files of ${name} could not be listed: ${stderr.trim()}`);
  const [sizes = '', sums = ''] = stdout.split('\n\n');
  const hashes = new Map(
    sums
      .split('\n')
      .filter(Boolean)
      .map((line) => [line.slice(66), line.slice(0, 64)]),
  );
  const files = sizes
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [, bytes, path] = /^(\d+) \.\/(.+)$/.exec(line) ?? [];
      const sha = hashes.get(`./${path}`);
      if (path === undefined || sha === undefined || normalize(path).startsWith('..')) {
        throw new UserError(`The volume lists a file that cannot be fetched: ${JSON.stringify(line)}.`);
      }
      return { path, bytes: Number(bytes), sha256: sha };
    });
  // A finished run is never resumed, and its checkpoints are several times the size of its model.
  const isFinished = files.some(({ path }) => path === runFiles.finalChecksums);
  return files
    .filter(({ path }) => !isFinished || !path.startsWith(`${runFiles.checkpoints}/`))
    .sort((a, b) => Number(a.path === lastFile) - Number(b.path === lastFile) || (a.path < b.path ? -1 : 1));
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}
