/**
 * @file Downloads the files of a run. Each is checked against its SHA-256 on the volume and appears under its name only when
 * it is complete. An interrupted download resumes where it stopped.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { runFiles } from '../../../run/folder.js';
import { UserError } from '../../../util/errors.js';
import { explainAsyncWrites, makeFolder, writeAll } from '../../../util/file.js';
import type { Reporter, Transfer } from '../../../util/reporter.js';
import type { Helper } from './helper.js';

interface RemoteFile {
  /** Below the run's folder. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What makes a folder a run: the last file to arrive. */
const lastFile = runFiles.config;

/**
 * Brings the folder `name` of the volume to `folder`. Files that are there and equal are left alone, and others are replaced.
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
        problem: `${name}/${path} arrived damaged, twice: its checksum differs from that on the volume.`,
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
