/**
 * @file `engine install`: tries the sources in order, under a lock, and reports in one sentence why a source failed.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { formatSeconds } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { type Obstacle, Unavailable } from './fetch/unavailable.js';
import { findLocalWheels } from './fetch/wheels.js';
import { downloadsFolder, engineRoot, type InstalledEngine, inspectEngine } from './installed.js';
import { type Catalog, catalog, type Platform, thisPlatform, type Variant } from './packages.js';
import { type Source, sources } from './sources.js';
import { acquireLock, lostLock, newStaging, prepareRoot, publish, removeLeftovers } from './staging.js';

export interface InstallRequest {
  /** Installs the CUDA build, which runs on the CPU if there is no GPU. */
  readonly gpu?: boolean;
  /** A wheel, or a folder of wheels, to install from instead of downloading. */
  readonly from?: string;
  /** Installs even if an engine is installed. */
  readonly force?: boolean;
}

/** The machine and the sources of the install. Tests replace parts of it to simulate another machine. */
export interface InstallEnvironment {
  readonly machine: Platform;
  readonly catalog: Catalog;
  readonly sources: typeof sources;
  /** Server of the official libraries, set only by tests. */
  readonly storage?: URL;
}

/** A source that failed. */
interface Attempt {
  readonly source: Source;
  readonly obstacle: Obstacle;
  readonly sentence: string;
}

export interface InstallResult {
  /** Undefined if every source failed. */
  readonly engine?: InstalledEngine;
  /** True if the engine was installed before. */
  readonly already: boolean;
  readonly attempts: readonly Attempt[];
}

/**
 * Installs the native engine, or returns the installed one.
 *
 * @throws UserError if the cache is not writable or `from` holds no usable wheel, and `signal.reason` if aborted; the staging
 * folder is removed first.
 */
export async function installEngine(
  request: InstallRequest,
  reporter: Reporter,
  outer: AbortSignal,
  environment: Partial<InstallEnvironment> = {},
): Promise<InstallResult> {
  const found = inspectEngine();
  if (isWanted(found.engine, request)) return { engine: found.engine, already: true, attempts: [] };
  const { root } = found;
  const lost = new AbortController();
  const signal = AbortSignal.any([outer, lost.signal]);
  prepareRoot(root);
  const release = await acquireLock(join(root, 'install.lock'), {
    signal,
    onWait: (holder) => reporter.line(`Waiting for ${holder}, which is installing the engine.`),
    onLost: (error) => lost.abort(lostLock(error)),
  });
  try {
    const state = inspectEngine(); // another process may have installed it meanwhile
    if (isWanted(state.engine, request)) return { engine: state.engine, already: true, attempts: [] };
    removeLeftovers(state.leftovers);
    return await installFirst({ machine: thisPlatform(), catalog, sources, ...environment }, request, reporter, signal);
  } finally {
    await release().catch(() => {}); // a lost lock belongs to someone else
  }
}

function isWanted(engine: InstalledEngine | undefined, { force, gpu }: InstallRequest): boolean {
  return engine !== undefined && !force && (!gpu || engine.variant === 'gpu');
}

async function installFirst(
  environment: InstallEnvironment,
  request: InstallRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<InstallResult> {
  const root = engineRoot();
  const start = Date.now();
  const { machine, catalog: offered } = environment;
  const local =
    request.from === undefined ? undefined : await findLocalWheels(request.from, offered, machine, request, signal);
  const variant: Variant = local?.variant ?? (request.gpu ? 'gpu' : 'cpu');
  const attempts: Attempt[] = [];
  for (const [source, take] of environment.sources) {
    if (local !== undefined && source !== 'wheel') continue; // `from` contains only wheels
    prepareRoot(root);
    const staging = newStaging(root);
    const downloads = downloadsFolder();
    try {
      const facts = await take({
        catalog: offered,
        machine,
        variant,
        root,
        staging,
        downloads,
        ...(local !== undefined && { local: local.files }),
        ...(environment.storage !== undefined && { storage: environment.storage }),
        reporter,
        signal,
      });
      const engine = await publish(root, staging, facts, signal);
      removeLeftovers(inspectEngine().leftovers); // the previous engine, and downloads
      reporter.line(`Installed TensorFlow ${engine.tensorflow} in ${formatSeconds((Date.now() - start) / 1000)}.`);
      return { engine, already: false, attempts };
    } catch (error) {
      signal.throwIfAborted();
      const obstacle = asUnavailable(error);
      if (obstacle === undefined) throw error;
      attempts.push({ source, obstacle: obstacle.obstacle, sentence: obstacle.message });
      if (local === undefined) {
        reporter.line(`${source === 'wheel' ? 'TensorFlow 2.21' : "tfjs-node's own library"}: ${obstacle.message}`);
      }
    } finally {
      rmSync(staging, { recursive: true, force: true });
    }
  }
  if (local !== undefined) throw new UserError(`Nothing was installed. ${attempts.at(-1)?.sentence ?? ''}`);
  return { already: false, attempts };
}

function asUnavailable(error: unknown): Unavailable | undefined {
  if (error instanceof Unavailable) return error;
  if (systemErrorCode(error) !== 'ENOSPC') return undefined;
  return new Unavailable('no-space', 'The disk filled up.', { cause: error });
}

/** Removes this platform's engine, downloads and leftovers; returns the folder, or undefined if there was none. */
export async function removeEngine(reporter: Reporter, signal: AbortSignal): Promise<string | undefined> {
  const root = engineRoot();
  if (!existsSync(root)) return undefined;
  const release = await acquireLock(join(root, 'install.lock'), {
    signal,
    onWait: (holder) => reporter.line(`Waiting for ${holder}, which is installing the engine.`),
    onLost: () => {}, // removing twice is harmless
  });
  try {
    rmSync(join(root, 'current.json'), { force: true });
    for (const name of readdirSync(root)) {
      if (!name.startsWith('install.lock')) rmSync(join(root, name), { recursive: true, force: true });
    }
  } finally {
    await release();
  }
  return root;
}
