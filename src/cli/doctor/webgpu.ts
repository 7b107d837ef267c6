/**
 * @file The check of WebGPU of `doctor`: the graphics card, its limits and features, without opening it in this process.
 */
import { missingPackages } from '../../engine/webgpu/dawn.js';
import { probeWebGpu, type WebGpuProbe } from '../../engine/webgpu/probe.js';
import { formatBytes } from '../../util/format.js';
import type { Check } from './check.js';

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
