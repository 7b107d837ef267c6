/**
 * @file The checks of `doctor` for GPUs: whether the installed build has code for NVIDIA's and found them; WebGPU's adapter,
 * limits and features, without opening it in this process.
 */
import { bfloat16Capability, type NvidiaGpu } from '../../engine/cuda.js';
import { missingPackages } from '../../engine/webgpu/dawn.js';
import { probeWebGpu, type WebGpuProbe } from '../../engine/webgpu/probe.js';
import { formatBytes } from '../../util/format.js';
import type { Check } from './check.js';

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
    return { ...common, ok: true, found: `${found}${bf16}`, expected: 'a GPU for which the build has code' };
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
 * @param device where the open engine computes. @param fault why a library of CUDA does not open, if one does not.
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
    const fix = 'Install the named packages or the driver of the card; every other engine works without.';
    return { ...common, ok: false, found: missing, fix };
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
    fix: 'A processor pretends to be a card, which is slow: install the driver of your card, or use another engine.',
  };
}
