/**
 * @file A WebGPU adapter in words and numbers, and an open device. The device reads buffers synchronously where the process
 * can wait for it, otherwise through promises, and turns its failures into errors for the user. Nothing here depends on
 * Node: the caller passes a function that waits (dawn.ts in Node). A page cannot wait.
 */
import { UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { unknownGpuBytes } from '../choices.js';

/** An adapter in words and numbers, for `doctor` and for the choice of an engine. */
export interface AdapterFacts {
  /** Such as `NVIDIA H100 PCIe`. */
  readonly name: string;
  /** Such as `NVIDIA: 550.90.07` or `SwiftShader driver 5.0.0`. */
  readonly driver: string;
  /** Whether it is a software renderer, which runs on the processor. */
  readonly software: boolean;
  /** Whether shaders can store float16. */
  readonly float16: boolean;
  /** Bytes of the largest buffer that a shader can use. */
  readonly maxBindingBytes: number;
  /** Buffers that one shader can use. */
  readonly maxBuffers: number;
  /** Threads of a workgroup, and bytes that they share. */
  readonly maxThreads: number;
  readonly maxSharedBytes: number;
  /** Advice to the user on a failure, for a page, which has no command-line options. */
  readonly advice?: string;
}

/** Names of software renderers: SwiftShader, Mesa's lavapipe, Windows' WARP. */
const softwareNames = /swiftshader|llvmpipe|lavapipe|software|basic render/i;

export function adapterFacts({ info, features, limits }: GPUAdapter): AdapterFacts {
  const named = [info.device, info.architecture, info.vendor].find((part) => part !== '') ?? 'unnamed adapter';
  const software = info.isFallbackAdapter || softwareNames.test(`${named} ${info.description}`);
  return {
    name: software && /swiftshader/i.test(`${named} ${info.description}`) ? 'SwiftShader' : named,
    driver: info.description,
    software,
    float16: features.has('shader-f16'),
    maxBindingBytes: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
    maxBuffers: limits.maxStorageBuffersPerShaderStage,
    maxThreads: limits.maxComputeInvocationsPerWorkgroup,
    maxSharedBytes: limits.maxComputeWorkgroupStorageSize,
  };
}

/** Bytes of memory that plans assume for a card, since WebGPU does not report them; undefined for a software renderer. */
export function assumedBytes({ software, maxBindingBytes }: AdapterFacts): number | undefined {
  return software ? undefined : Math.min(unknownGpuBytes, 4 * maxBindingBytes);
}

/** Limits that are raised to the adapter's: a device otherwise gets the specification's small defaults. */
const raisedLimits = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
] as const;

/** The device that the engine asks `adapter` for. */
export function deviceDescriptor({ features, limits }: GPUAdapter): GPUDeviceDescriptor {
  return {
    requiredFeatures: (['shader-f16'] as const).filter((feature) => features.has(feature)),
    requiredLimits: Object.fromEntries(raisedLimits.map((name) => [name, limits[name]])),
  };
}

export interface WebGpuDevice {
  readonly device: GPUDevice;
  readonly facts: AdapterFacts;
  /**
   * A copy of `bytes` bytes of `buffer`, from `offset` on, after all submitted work. Both numbers are multiples of 4.
   *
   * @throws UserError as `check` does.
   */
  read(buffer: GPUBuffer, bytes: number, offset?: number): ArrayBuffer;
  /** A copy of a buffer that was made for reading, after all submitted work. @throws UserError as `check` does. */
  take(staging: GPUBuffer): ArrayBuffer;
  /** Whether `read` and `take` can wait for the device; if not, they throw. */
  readonly waits: boolean;
  /** As `read`. */
  readLater(buffer: GPUBuffer, bytes: number, offset?: number): Promise<ArrayBuffer>;
  /** As `take`. */
  takeLater(staging: GPUBuffer): Promise<ArrayBuffer>;
  /**
   * Throws what went wrong on the device since the last check.
   *
   * @throws UserError for a lost device and exhausted memory; Error for commands that the device rejected.
   */
  check(): void;
}

const resumes = 'A run loses nothing: `--resume` continues it from its last checkpoint.';

/**
 * @param waitUntil processes the device's events and blocks until the condition holds. Absent if the process cannot wait.
 */
export function openDevice(
  device: GPUDevice,
  facts: AdapterFacts,
  waitUntil?: (isDone: () => boolean) => void,
): WebGpuDevice {
  let failure: Error | undefined;
  let isLost = false;
  void device.lost.then(({ reason, message }) => {
    if (reason === 'destroyed') return;
    isLost = true;
    failure = lostError(facts, message);
  });
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault();
    failure ??= explained((event as GPUUncapturedErrorEvent).error, facts);
  });

  function check(): void {
    if (failure === undefined) return;
    const error = failure;
    // A lost device stays lost; any other error concerns one call.
    if (!isLost) failure = undefined;
    throw error;
  }

  function take(staging: GPUBuffer): ArrayBuffer {
    if (waitUntil === undefined) throw new Error('a page cannot wait for the graphics card');
    let rejected: unknown;
    staging.mapAsync(GPUMapMode.READ).catch((error: unknown) => {
      rejected = error;
    });
    // The buffer's state shows a rejection first: promises settle only after this function returns.
    waitUntil(() => staging.mapState !== 'pending');
    check();
    if (staging.mapState !== 'mapped') {
      throw lostError(facts, rejected instanceof Error ? rejected.message : 'a buffer could not be read');
    }
    return mapped(staging);
  }

  function mapped(staging: GPUBuffer): ArrayBuffer {
    const values = staging.getMappedRange().slice(0);
    staging.unmap();
    return values;
  }

  async function takeLater(staging: GPUBuffer): Promise<ArrayBuffer> {
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (error) {
      check();
      throw lostError(facts, error instanceof Error ? error.message : 'a buffer could not be read');
    }
    check();
    return mapped(staging);
  }

  function copied(buffer: GPUBuffer, bytes: number, offset: number): GPUBuffer {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const staging = device.createBuffer({ size: bytes, usage });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    return staging;
  }

  return {
    device,
    facts,
    check,
    take,
    waits: waitUntil !== undefined,
    takeLater,
    read(buffer, bytes, offset = 0) {
      const staging = copied(buffer, bytes, offset);
      try {
        return take(staging);
      } finally {
        staging.destroy();
      }
    },
    async readLater(buffer, bytes, offset = 0) {
      const staging = copied(buffer, bytes, offset);
      try {
        return await takeLater(staging);
      } finally {
        staging.destroy();
      }
    },
  };
}

function lostError({ name, advice }: AdapterFacts, message: string): UserError {
  return new UserError({
    problem: `The GPU (${name}) was lost: ${message.trim().replace(/\.$/, '') || 'the driver gave no reason'}.`,
    fix: advice ?? `Close other programs that use it, or use \`--engine wasm\`. ${resumes}`,
  });
}

/** The error of a call that the device rejected. */
function explained(error: GPUError, facts: AdapterFacts): Error {
  const isTooLarge = /(size|Size) .*(larger than|exceeds) the max|max(Storage)?Buffer(Binding)?Size/.test(
    error.message,
  );
  if (error.constructor.name === 'GPUOutOfMemoryError') {
    return new UserError({
      problem: `The GPU (${facts.name}) has no memory left.`,
      fix: facts.advice ?? `Use a smaller --batch-size or --micro-batch, shorter texts, or another engine. ${resumes}`,
    });
  }
  if (isTooLarge) return bufferTooLarge(facts);
  return new Error(`WebGPU: ${error.message}`);
}

/** The error for a tensor larger than a shader can use. */
export function bufferTooLarge({
  name,
  maxBindingBytes,
  advice,
}: Pick<AdapterFacts, 'name' | 'maxBindingBytes' | 'advice'>): UserError {
  return new UserError({
    problem: `A tensor is larger than the GPU (${name}) lets a program use: ${formatBytes(maxBindingBytes)}.`,
    fix: advice ?? `Use a smaller model, a smaller --batch-size or --micro-batch, or another engine. ${resumes}`,
  });
}
