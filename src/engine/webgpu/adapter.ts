/**
 * @file What a WebGPU adapter is and offers: its name, whether it is a real card, the limits and features that the engine asks
 * for. Free of Node, so that a page can use it.
 */

/** An adapter in words and numbers, for `doctor` and for the choice of an engine. */
export interface AdapterFacts {
  /** Such as `NVIDIA H100 PCIe`. */
  readonly name: string;
  /** Such as `NVIDIA: 550.90.07` or `SwiftShader driver 5.0.0`. */
  readonly driver: string;
  /** Whether a processor pretends to be a card. */
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
  /** What to do when it fails, where there are no options of a command: in a page. */
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
