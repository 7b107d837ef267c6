/**
 * @file The checks of `doctor` that need no engine: Node, platform, memory, cores, disk, cache, and the native engine's
 * files, without loading them.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, release } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { nvidiaGpus } from '../../engine/cuda.js';
import { type EngineState, findDamagedFiles } from '../../engine/install/installed.js';
import { lockHolder } from '../../engine/install/lock.js';
import { formatBytes } from '../../util/format.js';
import { cacheFolder, freeBytes, memoryLimit } from '../../util/machine.js';
import type { Check } from './check.js';
import { nvidiaChecks } from './gpu.js';

/** First minor version of each supported line of Node; every line after the last is supported. As `engines` in package.json. */
const nodeLines: Readonly<Record<number, number>> = { 20: 15, 22: 2 };
const newestNodeLine = Math.max(...Object.keys(nodeLines).map(Number));
/** Training the built-in model takes about half of this on either engine. */
const minMemoryBytes = 1_000_000_000;
/** A run's checkpoints and the engine's installation. */
const minDiskBytes = 2_000_000_000;

export function machineChecks(): Check[] {
  return [nodeCheck(process.versions.node), platformCheck(), memoryCheck(), coresCheck(), diskCheck(), cacheCheck()];
}

export function nodeCheck(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return {
    name: 'node',
    ok: major > newestNodeLine || minor >= (nodeLines[major] ?? Number.POSITIVE_INFINITY),
    needed: true,
    found: `v${version}`,
    expected: 'v20.15 or a later v20, or v22.2 or newer',
    fix: 'Install a current Node.js release.',
  };
}

function platformCheck(): Check {
  const tried = process.platform === 'linux' && process.arch === 'x64';
  return {
    name: 'platform',
    ok: ['linux', 'darwin', 'win32'].includes(process.platform),
    needed: false,
    found: `${process.platform} ${process.arch}, kernel ${release()}${tried ? '' : ' (tested on linux x64 only)'}`,
    expected: 'linux, darwin or win32',
    fix: 'You can continue: the WebAssembly engine needs only Node.',
  };
}

function memoryCheck(): Check {
  const total = memoryLimit();
  const free = Math.min(freemem(), total);
  return {
    name: 'memory',
    ok: free >= minMemoryBytes,
    needed: false,
    found: `${formatBytes(free)} free of ${formatBytes(total)}`,
    expected: `${formatBytes(minMemoryBytes)} free to train the built-in model`,
    fix: 'Close other programs, or use a smaller batch.',
  };
}

function coresCheck(): Check {
  const model = cpus()[0]?.model.trim();
  return {
    name: 'cores',
    ok: availableParallelism() >= 1,
    needed: false,
    found: `${availableParallelism()}${model ? ` (${model})` : ''}`,
    expected: 'one or more',
  };
}

function diskCheck(): Check {
  const folders = { cache: cacheFolder(), 'working folder': process.cwd() };
  const free = Object.entries(folders).map(([name, folder]) => ({ name, bytes: freeBytes(folder) }));
  return {
    name: 'disk',
    ok: free.every(({ bytes }) => bytes >= minDiskBytes),
    needed: false,
    found: free.map(({ name, bytes }) => `${formatBytes(bytes)} free (${name})`).join(', '),
    expected: `${formatBytes(minDiskBytes)} free on each`,
    fix: 'Free some space, or set TINYZERO_CACHE to a folder on another disk.',
  };
}

function cacheCheck(): Check {
  const folder = resolve(cacheFolder());
  let parent = folder;
  while (!existsSync(parent) && dirname(parent) !== parent) parent = dirname(parent);
  let writable = true;
  try {
    accessSync(parent, constants.W_OK);
  } catch {
    writable = false;
  }
  return {
    name: 'cache',
    ok: writable,
    needed: false,
    found: `${folder}${writable ? '' : ' (not writable)'}`,
    expected: 'a writable folder',
    fix: 'Set TINYZERO_CACHE to a writable folder.',
  };
}

/** @param needed whether the native engine was requested by name. */
export async function installationChecks(state: EngineState, needed: boolean): Promise<Check[]> {
  return [
    await engineCheck(state, needed),
    ...leftoverCheck(state),
    ...nvidiaChecks(nvidiaGpus(), state.engine?.variant),
  ];
}

async function engineCheck({ root, engine, broken }: EngineState, needed: boolean): Promise<Check> {
  const common = { name: 'native engine', needed, expected: 'TensorFlow 2.21 in the cache, every file as installed' };
  const fix = 'Run `tinyzero engine install`.';
  if (broken !== undefined) return { ...common, ok: false, found: `broken in ${root}: ${broken}`, fix };
  if (engine === undefined) return { ...common, ok: false, found: 'not installed: WebAssembly runs instead', fix };
  const damaged = await findDamagedFiles(engine);
  if (damaged.length > 0) {
    const found = `damaged: ${damaged[0]}${damaged.length > 1 ? ` and ${damaged.length - 1} more` : ''}`;
    return { ...common, ok: false, needed: true, found, fix: 'Run `tinyzero engine install --force`.' };
  }
  const { tensorflow, variant, source, manifest, folder } = engine;
  const found = `TensorFlow ${tensorflow} (${variant}), ${manifest.kernels === undefined ? 'without' : 'with'} native kernels, ${folder}`;
  return { ...common, ok: source === 'wheel', needed: false, found, fix: `${fix.slice(0, -1)} --force\` to get 2.21.` };
}

/** Present only if there are leftovers. */
function leftoverCheck({ root, leftovers }: EngineState): Check[] {
  if (leftovers.length === 0) return [];
  const holder = lockHolder(join(root, 'install.lock'));
  return [
    {
      name: 'leftovers',
      ok: holder !== undefined,
      needed: false,
      found:
        holder === undefined
          ? `an interrupted install left ${leftovers.join(', ')}; no engine uses it`
          : `an install is in progress (${holder})`,
      expected: 'nothing',
      fix: '`tinyzero engine install` resumes it; `tinyzero engine remove` removes everything.',
    },
  ];
}
