/**
 * @file Fetches a wheel with the user's pip, which knows their index, mirror, proxy and certificates. pip only
 * downloads, by explicit tags, so its Python version does not matter.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashFile } from '../../../util/checksum.js';
import { formatBytes } from '../../../util/format.js';
import { findProgram, run } from '../../../util/process.js';
import type { Reporter } from '../../../util/reporter.js';
import type { Wheel } from '../packages.js';
import { Unavailable } from './unavailable.js';

export interface Pip {
  readonly command: string;
  readonly args: readonly string[];
}

const candidates: readonly (readonly string[])[] = [
  ['pip3'],
  ['pip'],
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
  ['py', '-m', 'pip'],
];

/** The first pip on the PATH that answers. */
export async function findPip(signal?: AbortSignal): Promise<Pip> {
  for (const [name = '', ...args] of candidates) {
    const command = findProgram(name);
    if (command === undefined) continue;
    const answer = await run(command, [...args, '--version'], { signal });
    if (answer.code === 0) return { command, args };
  }
  throw new Unavailable(
    'no-pip',
    "pip was not found (pip3, pip, python3 -m pip), and TensorFlow's library comes from the Python package index.",
  );
}

const pollMs = 200;

/**
 * Downloads `wheel` into `folder` and returns its path. Reuses a finished download of an earlier run. Newer versions of
 * pip resume a broken transfer.
 */
export async function downloadWheel(
  pip: Pip,
  wheel: Wheel,
  folder: string,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<string> {
  const target = join(folder, wheel.file);
  if (statSync(target, { throwIfNoEntry: false })?.size === wheel.bytes) {
    if ((await hashFile(target, 'sha256', 'hex', { signal })) === wheel.sha256) {
      reporter.line(`Using the ${formatBytes(wheel.bytes)} that an earlier run downloaded (${wheel.file}).`);
      return target;
    }
  }
  const work = join(folder, `pip-${process.pid}`);
  const temporary = join(work, 'tmp');
  mkdirSync(temporary, { recursive: true });
  const requirements = join(work, 'requirements.txt');
  writeFileSync(requirements, `${wheel.project}==${wheel.version} --hash=sha256:${wheel.sha256}\n`);
  const transfer = reporter.transfer(`Downloading ${wheel.project} ${wheel.version}`, wheel.bytes);
  // pip reports no machine-readable progress, so watch the file grow in its temporary folder.
  const watch = setInterval(() => transfer.update(Math.min(largestFile(temporary), wheel.bytes)), pollMs);
  try {
    const args = [...pip.args, 'download', ...flags(wheel), '--dest', join(work, 'out'), '-r', requirements];
    const env = { PIP_RESUME_RETRIES: '5', ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary };
    const result = await run(pip.command, args, { signal, env });
    if (result.code !== 0) throw explain(`${result.stdout}\n${result.stderr}`, wheel);
    renameSync(join(work, 'out', wheel.file), target);
    transfer.update(wheel.bytes);
  } finally {
    clearInterval(watch);
    transfer.end();
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

function flags(wheel: Wheel): string[] {
  const [python = '', , platforms = ''] = wheel.file
    .replace(/\.whl$/, '')
    .split('-')
    .slice(-3);
  return [
    '--no-deps',
    '--only-binary=:all:',
    '--require-hashes',
    '--implementation',
    'cp',
    '--python-version',
    python.startsWith('cp') ? '3.11' : '3',
    ...platforms.split('.').flatMap((tag) => ['--platform', tag]),
    '--progress-bar',
    'off',
    '--no-input',
    '--disable-pip-version-check',
    '--no-cache-dir', // the wheel is kept in `folder` until the install is complete
  ];
}

/** The obstacle, from pip's output. */
function explain(output: string, wheel: Wheel): Unavailable {
  const what = `${wheel.project} ${wheel.version}`;
  if (/No space left on device|ENOSPC/.test(output)) {
    return new Unavailable('no-space', `The disk filled up while pip downloaded ${what}.`);
  }
  if (/DO NOT MATCH THE HASHES|HashMismatch/.test(output)) {
    return new Unavailable(
      'wrong-hash',
      `The package index served a file for ${what} whose hash is not the pinned one.`,
    );
  }
  if (
    /NewConnectionError|NameResolutionError|Max retries exceeded|ProxyError|Connection (refused|reset|timed out|broken)|Read timed out|ReadTimeoutError|ConnectTimeout|SSLError|Temporary failure in name resolution|IncompleteRead/.test(
      output,
    )
  ) {
    return new Unavailable('no-network', `pip could not reach its package index to download ${what}.`);
  }
  const reason = output
    .split('\n')
    .filter((line) => line.startsWith('ERROR:'))
    .at(-1);
  return new Unavailable(
    'download-failed',
    `pip could not download ${what}: ${(reason ?? output.trim().split('\n').at(-1) ?? 'no reason given').replace(/^ERROR: /, '').replace(/\.?$/, '.')}`,
  );
}

function largestFile(folder: string): number {
  let largest = 0;
  try {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const { size } = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false }) ?? { size: 0 };
      largest = Math.max(largest, size);
    }
  } catch {
    // Files appear and disappear while pip works.
  }
  return largest;
}
