/**
 * @file The wheels of TensorFlow and CUDA: downloaded with the user's pip, which knows their index, mirror, proxy and
 * certificates, or found in a file or a folder (`--from`). pip only downloads, by explicit tags, so its Python version does
 * not matter. The code of a wheel will run with the user's rights, so its hash must be the pinned one.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { hashFile } from '../../../util/checksum.js';
import { UserError } from '../../../util/errors.js';
import { formatBytes } from '../../../util/format.js';
import { findProgram, run } from '../../../util/process.js';
import type { Reporter } from '../../../util/reporter.js';
import type { Catalog, Platform, Variant, Wheel } from '../packages.js';
import { Unavailable } from './unavailable.js';

interface Pip {
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
    "pip was not found (pip3, pip, python3 -m pip), but TensorFlow's library comes from the Python package index.",
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
    return new Unavailable('wrong-hash', `The package index served a file for ${what} with an unexpected hash.`);
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

interface LocalWheels {
  readonly variant: Variant;
  /** Path of each wheel by its file name in packages.ts. */
  readonly files: ReadonlyMap<string, string>;
}

export async function findLocalWheels(
  from: string,
  catalog: Catalog,
  machine: Platform,
  request: { readonly gpu?: boolean },
  signal: AbortSignal,
): Promise<LocalWheels> {
  const path = resolve(from);
  const kind = statSync(path, { throwIfNoEntry: false });
  if (kind === undefined) throw new UserError({ problem: `--from ${from}: there is no such file or folder.` });
  const fits = (['cpu', 'gpu'] as const)
    .map((variant) => ({ variant, wheel: catalog.tensorflowWheels[`${machine.platform}-${machine.arch}-${variant}`] }))
    .filter((pair): pair is { variant: Variant; wheel: Wheel } => pair.wheel !== undefined)
    .filter(({ variant }) => !request.gpu || variant === 'gpu');
  if (fits.length === 0) {
    throw new UserError({ problem: `There is no wheel of TensorFlow for ${machine.platform} ${machine.arch}.` });
  }
  const folder = kind.isDirectory() ? path : dirname(path);
  const chosen = kind.isDirectory()
    ? fits.find(({ wheel }) => existsSync(join(path, wheel.file)))
    : await matchByHash(path, fits, signal);
  if (chosen === undefined) {
    throw new UserError({
      problem: `--from ${from} is not a usable wheel.`,
      expected: fits.map(({ wheel }) => `${wheel.file} (sha256 ${wheel.sha256})`).join(' or '),
      ...(kind.isDirectory() ? {} : { found: `${basename(path)} (sha256 ${await hashFile(path)})` }),
    });
  }
  const files = new Map<string, string>();
  for (const wheel of [chosen.wheel, ...(chosen.variant === 'gpu' ? catalog.cudaWheels : [])]) {
    const file = wheel === chosen.wheel && !kind.isDirectory() ? path : join(folder, wheel.file);
    await requireHash(file, wheel, signal);
    files.set(wheel.file, file);
  }
  return { variant: chosen.variant, files };
}

/** A file may have any name, so its hash decides. */
async function matchByHash<T extends { wheel: Wheel }>(
  path: string,
  fits: readonly T[],
  signal: AbortSignal,
): Promise<T | undefined> {
  const { size } = statSync(path);
  if (!fits.some(({ wheel }) => wheel.bytes === size)) return undefined;
  const sha256 = await hashFile(path, 'sha256', 'hex', { signal });
  return fits.find(({ wheel }) => wheel.sha256 === sha256);
}

async function requireHash(path: string, wheel: Wheel, signal: AbortSignal): Promise<void> {
  const found = existsSync(path) ? await hashFile(path, 'sha256', 'hex', { signal }) : 'no such file';
  if (found === wheel.sha256) return;
  throw new UserError({
    problem: `${path} is not a usable wheel.`,
    expected: `${wheel.project} ${wheel.version} with sha256 ${wheel.sha256}`,
    found,
  });
}
