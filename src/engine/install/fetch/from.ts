/**
 * @file `--from`: finds the wheels for this machine in a file or a folder. Their code will run with the user's rights, so
 * their hashes must be the pinned ones.
 */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { hashFile } from '../../../util/checksum.js';
import { UserError } from '../../../util/errors.js';
import type { Catalog, Platform, Variant, Wheel } from '../packages.js';

export interface LocalWheels {
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
