/**
 * @file `engine install`: takes the first rung of the ladder that can be had, under a lock, and says in one sentence
 * why a rung was left. Not here: how progress looks (run/progress.ts) and what follows without a native engine.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { formatSeconds } from '../../util/format.js';
import type { Reporter } from '../../util/reporter.js';
import { findLocalWheels } from './fetch/from.js';
import { type Obstacle, Unavailable } from './fetch/unavailable.js';
import { downloadsFolder, engineRoot, type InstalledEngine, inspectEngine } from './installed.js';
import { acquireLock, lostLock } from './lock.js';
import { type Catalog, catalog, type Variant } from './packages.js';
import { type Platform, thisPlatform } from './platform.js';
import { ladder, type Rung } from './rungs.js';
import { newStaging, prepareRoot, publish, removeLeftovers } from './staging.js';

export interface InstallRequest {
  /** The CUDA build; it runs on the CPU where no GPU is. */
  readonly gpu?: boolean;
  /** A wheel, or a folder of wheels, to install from instead of downloading. */
  readonly from?: string;
  /** Install although an engine is there. */
  readonly force?: boolean;
}

/** What the install goes by; tests set parts of it to be another machine. */
export interface InstallEnvironment {
  readonly machine: Platform;
  readonly catalog: Catalog;
  readonly ladder: typeof ladder;
}

/** A rung that was not taken. */
export interface Attempt {
  readonly rung: Rung;
  readonly obstacle: Obstacle;
  readonly sentence: string;
}

export interface InstallResult {
  /** Undefined when no rung could be had. */
  readonly engine?: InstalledEngine;
  /** The engine was there before. */
  readonly already: boolean;
  readonly attempts: readonly Attempt[];
}

/**
 * Installs the native engine, or finds it installed.
 *
 * @throws UserError when the cache cannot be written or `from` holds no usable wheel, and `signal.reason` when stopped;
 * the staging folder is removed first.
 */
export async function installEngine(
  request: InstallRequest,
  reporter: Reporter,
  outer: AbortSignal,
  world: Partial<InstallEnvironment> = {},
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
    const state = inspectEngine(); // again: the process we waited for may have done the work
    if (isWanted(state.engine, request)) return { engine: state.engine, already: true, attempts: [] };
    removeLeftovers(state.leftovers);
    return await climb({ machine: thisPlatform(), catalog, ladder, ...world }, request, reporter, signal);
  } finally {
    await release().catch(() => {}); // a lost lock is not ours to give back
  }
}

function isWanted(engine: InstalledEngine | undefined, { force, gpu }: InstallRequest): boolean {
  return engine !== undefined && !force && (!gpu || engine.variant === 'gpu');
}

async function climb(
  world: InstallEnvironment,
  request: InstallRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<InstallResult> {
  const root = engineRoot();
  const start = Date.now();
  const { machine, catalog: offered } = world;
  const local =
    request.from === undefined ? undefined : await findLocalWheels(request.from, offered, machine, request, signal);
  const variant: Variant = local?.variant ?? (request.gpu ? 'gpu' : 'cpu');
  const attempts: Attempt[] = [];
  for (const [rung, take] of world.ladder) {
    if (local !== undefined && rung !== 'wheel') continue; // the user said what to install from
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
        ...(local === undefined ? {} : { local: local.files }),
        reporter,
        signal,
      });
      const engine = await publish(root, staging, facts, signal);
      removeLeftovers(inspectEngine().leftovers); // the engine before, and downloads
      reporter.line(`Installed TensorFlow ${engine.tensorflow} in ${formatSeconds((Date.now() - start) / 1000)}.`);
      return { engine, already: false, attempts };
    } catch (error) {
      signal.throwIfAborted();
      const obstacle = asUnavailable(error);
      if (obstacle === undefined) throw error;
      attempts.push({ rung, obstacle: obstacle.obstacle, sentence: obstacle.message });
      if (local === undefined) {
        reporter.line(`${rung === 'wheel' ? 'TensorFlow 2.21' : "tfjs-node's own library"}: ${obstacle.message}`);
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
