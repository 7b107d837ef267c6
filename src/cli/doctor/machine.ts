/**
 * @file The checks of `doctor` that need no engine: Node, platform, memory, cores, disk, cache; the native engine's files,
 * without loading them; NVIDIA GPUs, and the adapter of WebGPU, without opening it in this process. Each check says what was
 * found, what was expected, and what to do.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, release } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { bfloat16Capability, type NvidiaGpu, nvidiaGpus } from '../../engine/cuda.js';
import { type EngineState, findDamagedFiles } from '../../engine/install/installed.js';
import { lockHolder } from '../../engine/install/staging.js';
import { missingPackages, probeWebGpu, type WebGpuProbe } from '../../engine/webgpu/dawn.js';
import { printable, type UserErrorParts } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { cacheFolder, freeBytes, memoryLimit } from '../../util/machine.js';

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Whether a failed check makes the command fail; otherwise it is advice. */
  readonly needed: boolean;
  readonly found: string;
  readonly expected: string;
  /** What to do if the check fails. */
  readonly fix?: string;
}

/** A failed check, from the parts of an error; `common` has what the error leaves out. */
export function failedCheck(
  common: Omit<Check, 'ok' | 'found'>,
  { problem, expected = common.expected, found, fix = common.fix }: UserErrorParts,
): Check {
  const text = found === undefined ? problem : `${problem} Found ${found}.`;
  return { ...common, ok: false, found: text, expected, ...(fix !== undefined && { fix }) };
}

/** Text for people: a mark, the name, what was found, and below it what to do. */
export function formatChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .flatMap(({ name, ok, needed, found, expected, fix }) => {
      const mark = ok ? 'ok  ' : needed ? 'FAIL' : 'note';
      const lines = [`${mark}  ${name.padEnd(width)}  ${printable(found)}`];
      const indent = ' '.repeat(width + 8);
      if (!ok) lines.push(`${indent}expected: ${expected}`);
      if (!ok && fix !== undefined) lines.push(`${indent}to do: ${fix}`);
      return lines;
    })
    .join('\n');
}

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
  if (engine === undefined)
    return { ...common, ok: false, found: `not installed${needed ? '' : '; other engines are slower'}`, fix };
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

/** Compute capabilities for which TensorFlow 2.21's wheel has machine code; for later ones the driver compiles its PTX of 9.0. */
const builtFor = { least: 6, most: 9 };
/** CUDA 12 runs with drivers from this version on. */
const leastDriver = 525;

/** One check per GPU. @param variant of the installed engine, if there is one. */
export function nvidiaChecks(gpus: readonly NvidiaGpu[], variant: 'cpu' | 'gpu' | undefined): Check[] {
  return gpus.map((gpu, index) => {
    const { name, memoryBytes, capability, driver } = gpu;
    const found = `${name}, ${formatBytes(memoryBytes)}, compute capability ${capability.toFixed(1)}, driver ${driver}`;
    const common = { name: gpus.length > 1 ? `GPU ${index}` : 'GPU', needed: false };
    const advice = adviceFor(gpu, variant);
    if (advice !== undefined) return { ...common, ok: false, found, ...advice };
    const bf16 = capability < bfloat16Capability ? '; no instructions for --precision bf16' : '';
    return { ...common, ok: true, found: `${found}${bf16}`, expected: 'a GPU that the build supports' };
  });
}

function adviceFor({ capability, driver }: NvidiaGpu, variant: 'cpu' | 'gpu' | undefined) {
  if (variant !== 'gpu') {
    return {
      expected: 'the CUDA build of TensorFlow; the engine is built for the CPU',
      fix: 'Run `tinyzero engine install --gpu` (3.4 GB download).',
    };
  }
  if (Number.parseInt(driver, 10) < leastDriver) {
    return { expected: `driver ${leastDriver} or newer, for CUDA 12`, fix: 'Update the NVIDIA driver.' };
  }
  const expected = `compute capability ${builtFor.least}.0 to ${builtFor.most}.0, for which TensorFlow 2.21 has code`;
  if (capability < builtFor.least) {
    return { expected, fix: 'Use `--engine webgpu`, or the processor: set CUDA_VISIBLE_DEVICES to nothing.' };
  }
  if (capability >= builtFor.most + 1) {
    return {
      expected,
      fix:
        'The first start compiles all kernels for this card, which may take half an hour; they are kept in CUDA_CACHE_PATH. ' +
        'If it fails, install a newer build with `tinyzero engine install --from WHEEL`, or use `--engine webgpu`.',
    };
  }
  return undefined;
}

/**
 * Present only if the CUDA build is installed and the driver shows GPUs.
 *
 * @param device where the open engine computes. @param fault why a CUDA library fails to open, if one does.
 */
export function usedGpuChecks(
  gpus: readonly NvidiaGpu[],
  variant: 'cpu' | 'gpu' | undefined,
  device: 'cpu' | 'gpu',
  fault?: string,
): Check[] {
  if (variant !== 'gpu' || gpus.length === 0) return [];
  return [
    {
      name: 'GPU in use',
      ok: device === 'gpu',
      needed: false,
      found:
        device === 'gpu'
          ? 'yes'
          : `no: TensorFlow computes on the processor${fault === undefined ? '' : `, since ${fault}`}`,
      expected: 'yes',
      fix: fault
        ? 'Run `tinyzero engine install --gpu --force`.'
        : 'Run `TF_CPP_MIN_LOG_LEVEL=0 tinyzero doctor`: TensorFlow then names the library that does not load.',
    },
  ];
}

/** Present if the engine's packages are installed or it was requested by name (`needed`). */
export async function webGpuChecks(needed: boolean, signal?: AbortSignal): Promise<Check[]> {
  if (!needed && missingPackages().length > 0) return [];
  return [webGpuCheck(await probeWebGpu(signal), needed)];
}

export function webGpuCheck({ adapter, missing }: WebGpuProbe, needed: boolean): Check {
  const common = { name: 'WebGPU', needed, expected: 'a graphics card' };
  if (adapter === undefined) {
    const fix = needed ? missing.fix : `Needed only for \`--engine webgpu\`. ${missing.fix ?? ''}`.trim();
    return failedCheck(common, { ...missing, ...(fix !== undefined && { fix }) });
  }
  const { name, driver, software, float16, maxBindingBytes, maxBuffers, maxThreads, maxSharedBytes } = adapter;
  const limits = [
    `tensors to ${formatBytes(maxBindingBytes)}`,
    `${maxBuffers} buffers a shader`,
    `workgroups of ${maxThreads} threads and ${formatBytes(maxSharedBytes)}`,
    `float16 ${float16 ? 'stored' : 'unavailable'}`,
  ];
  return {
    ...common,
    ok: !software,
    needed: false, // a software adapter computes the same
    found: `${name} (${driver}): ${limits.join(', ')}`,
    fix: 'This adapter is a software renderer, which is slow: install the driver of your card, or use another engine.',
  };
}
