/**
 * @file Opens an engine: TensorFlow through the native addon, WebGPU, or WebAssembly. The only file that touches tfjs-node-gpu.
 */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { useCrc32 } from '../util/checksum.js';
import { UserError } from '../util/errors.js';
import { formatBytes } from '../util/format.js';
import { useReserve } from '../util/large-file.js';
import { memoryLimit } from '../util/machine.js';
import type { EngineName, Precision } from './choices.js';
import { joinWorkers, parseAddress, requireSameEngines, serve } from './cluster.js';
import { bfloat16Capability, chooseCudaSettings, gpuMemoryLimit, nvidiaGpus } from './cuda.js';
import { createEagerProgram } from './eager.js';
import { encodeGpuShare } from './graph/graphdef.js';
import { findInstalledEngine } from './install/installed.js';
import { type KernelsAddon, loadBinding, loadKernels, type NativeBinding } from './native.js';
// @ts-expect-error: made from tfjs-gradients.ts by scripts/bundle.mjs, after the type check.
import './ops/tfjs-gradients.bundle.js';
import type { CreateProgram } from './program.js';
import { createSessionProgram, type GraphDevice, gpuDevice } from './session.js';
import { openWasmEngine } from './wasm.js';

export interface Engine {
  readonly name: EngineName;
  /** Such as `TensorFlow 2.21.0 on CPU (2 cores)`. */
  readonly description: string;
  readonly tensorflowVersion?: string;
  readonly device: 'cpu' | 'gpu';
  /** Memory of the GPU in use, or on the processor of this machine, in bytes; absent where it is unknown. */
  readonly memoryBytes?: number;
  /** Bytes of memory that plans assume for a card, since WebGPU does not report them. */
  readonly assumedBytes?: number;
  /** The instruction set in use; absent without native kernels. */
  readonly instructions?: KernelsAddon['instructions'];
  /** Whether programs can store state as bytes. */
  readonly storesBytes: boolean;
  /** Whether kernels read bfloat16 and float16 as they are stored, so that 2 bytes cost no time in float32 programs either. */
  readonly readsHalves?: boolean;
  /** Whether the device has instructions for products of bfloat16. */
  readonly multipliesBfloat16: boolean;
  /** Compiled if the engine can compile, otherwise op by op. */
  readonly createProgram: CreateProgram;
  /** Always op by op: slower, with the same results. For tests and `doctor`. */
  readonly createEagerProgram: CreateProgram;
  /** As `createProgram`, but without native ops: slower, with the same results. For tests and benchmarks. */
  readonly createComposedProgram: CreateProgram;
  /** Number of processes that run compiled programs together: this one and its workers. Default 1. */
  readonly replicas?: number;
  /**
   * An engine whose programs also run on these workers, each at `host:port`. Absent where programs are not compiled.
   *
   * @throws UserError when one does not answer.
   */
  withWorkers?(workers: readonly string[]): Promise<Engine>;
  /**
   * Makes this process a worker: it computes for others until it ends.
   *
   * @returns `address:port` where it listens.
   */
  serve?(address: string): Promise<string>;
  /**
   * Calls `listen` with a sentence for the user when a program could not be compiled and runs op by op, once for each reason.
   * Absent where all programs are compiled, or none.
   */
  onFallback?(listen: (sentence: string) => void): void;
  /** Number of tensors that the engine holds, for tests of leaks. */
  tensorCount(): number;
}

/** tfjs-node's JavaScript is in the engine's cache folder and finds this process's libraries under these keys. */
const shared = { tfjs: Symbol.for('tinyzero.tfjs'), protobuf: Symbol.for('tinyzero.google-protobuf') };

const opened = new Map<EngineName, Promise<Engine>>();

/** Opens an engine, once per process; a second call returns the same. @throws UserError if it is unavailable. */
export function openEngine(name: EngineName): Promise<Engine> {
  let engine = opened.get(name);
  if (engine === undefined) {
    engine = openers[name]();
    opened.set(name, engine);
  }
  return engine;
}

const openers: Readonly<Record<EngineName, () => Promise<Engine>>> = {
  tensorflow: openTensorFlow,
  webgpu: openWebGpu,
  wasm: openWasm,
};

async function openTensorFlow(): Promise<Engine> {
  const installed = findInstalledEngine();
  if (installed === undefined) {
    throw new UserError({
      problem: 'The tensorflow engine is not installed.',
      fix: 'Install it with `tinyzero engine install`, or use `--engine wasm`.',
    });
  }
  const { variant, kernelsPath } = installed;
  if (variant === 'gpu') chooseCudaSettings(installed.folder);
  const gpus = variant === 'gpu' ? nvidiaGpus() : [];
  const kernels = () => (kernelsPath === undefined ? undefined : loadKernels(kernelsPath));
  const limit = gpuMemoryLimit();
  if (limit !== undefined && gpus[0] !== undefined)
    limitGpuMemory(requireAddon(kernels()), limit / gpus[0].memoryBytes);
  const binding = loadBinding(installed.bindingPath);
  const device = binding.isUsingGpuDevice() ? 'gpu' : 'cpu';
  const addon = kernels();
  if (addon?.crc32 !== undefined) useCrc32(addon.crc32);
  if (addon?.reserve !== undefined) useReserve(addon.reserve);
  const products = device === 'gpu' ? gpuProducts : productsOf(addon?.instructions);
  const composed: GraphDevice = { ...gpuDevice, kind: device, multipliesBfloat16: products.tensorflowBfloat16 };
  const native =
    device === 'gpu' ? gpuDevice : { ...composed, nativeOps: new Set(addon?.ops), ownProductFrom: products.ownFrom };
  const unused = variant === 'gpu' ? '; the CUDA build found no GPU' : '';
  const card = device === 'gpu' ? gpus[0] : undefined;
  const gpu = card === undefined ? 'GPU' : `${card.name} (${formatBytes(card.memoryBytes)})`;
  const where = device === 'gpu' ? gpu : `CPU (${cores()}${unused})`;
  const engine: Engine = {
    name: 'tensorflow',
    description: `TensorFlow ${binding.TF_Version} on ${where}`,
    tensorflowVersion: binding.TF_Version,
    device,
    ...(device === 'cpu'
      ? { memoryBytes: memoryLimit() }
      : card && { memoryBytes: Math.min(card.memoryBytes, limit ?? card.memoryBytes) }),
    ...(device === 'cpu' && addon !== undefined && { instructions: addon.instructions }),
    storesBytes: device === 'cpu' && addon !== undefined,
    multipliesBfloat16: products.fastBfloat16 && (card === undefined || card.capability >= bfloat16Capability),
    createProgram: (spec) => createSessionProgram(binding, addon, spec, native),
    createEagerProgram: (spec) => {
      registerEagerTensorFlow(binding, installed.packageFolder);
      return createEagerProgram('tensorflow', spec);
    },
    createComposedProgram: (spec) => createSessionProgram(binding, addon, spec, composed),
    async withWorkers(workers) {
      const addresses = workers.map((each) => parseAddress('--workers', each));
      const cluster = await joinWorkers(requireAddon(addon), addresses);
      requireSameEngines(requireAddon(addon), cluster);
      return {
        ...engine,
        description: `${engine.description}, in ${cluster.addresses.length} processes`,
        replicas: cluster.addresses.length,
        createProgram: (spec) => createSessionProgram(binding, addon, spec, native, cluster),
      };
    },
    serve: (address) => serve(requireAddon(addon), parseAddress('--listen', address)),
    tensorCount: () => binding.getNumOfTensors(),
  };
  return engine;
}

/**
 * Limits how much of a GPU's memory TensorFlow takes. A process opens its GPUs once, with the settings of the first session.
 * tfjs-node-gpu's addon cannot set a limit, so this function opens the GPUs before it does.
 *
 * @param share fraction of the GPU's memory, 0 to 1.
 */
function limitGpuMemory(addon: KernelsAddon, share: number): void {
  addon.close(addon.load(new Uint8Array(), '', encodeGpuShare(Math.min(share, 1))));
}

/** @throws UserError when the engine was built without tinyzero's kernels, which open sessions with settings. */
function requireAddon(addon: KernelsAddon | undefined): KernelsAddon {
  if (addon !== undefined) return addon;
  throw new UserError({
    problem: 'This engine was built without the native kernels of tinyzero, which --workers and --gpu-memory need.',
    fix: 'Install a C++ compiler, then run `tinyzero engine install --force`.',
  });
}

/** Which kernel computes a product of two matrices. */
interface Products {
  /** Precision -> number of multiplications from which our own kernel is used. Without an entry, it is never used. */
  readonly ownFrom: Partial<Readonly<Record<Precision, number>>>;
  /** Whether TensorFlow multiplies bfloat16. Its results are rounded to bfloat16, ours are float32. */
  readonly tensorflowBfloat16: boolean;
  /** Whether products of bfloat16 are faster than those of float32. */
  readonly fastBfloat16: boolean;
}

const gpuProducts: Products = { ownFrom: {}, tensorflowBfloat16: true, fastBfloat16: true };

/** As measured (docs/log.md). With AVX-512, oneDNN's products of float32 are faster than ours. Not measured on ARM and AMX. */
function productsOf(instructions: KernelsAddon['instructions'] | undefined): Products {
  const widened = { tensorflowBfloat16: false, fastBfloat16: false };
  switch (instructions) {
    case 'amx':
      return gpuProducts;
    case 'avx512bf16':
      return { ...widened, ownFrom: { bf16: 0 }, fastBfloat16: true };
    case 'avx2':
    case 'baseline':
      return { ...widened, ownFrom: process.arch === 'x64' ? { f32: 8e6, bf16: 8e6 } : {} };
    default:
      return { ...widened, ownFrom: {} };
  }
}

/** Registers tfjs-node's own backend, which runs one op per call, on the binding that is already loaded. */
function registerEagerTensorFlow(binding: NativeBinding, packageFolder: string): void {
  if (tf.findBackendFactory('tensorflow') !== null) return;
  const ours = createRequire(import.meta.url);
  Object.assign(globalThis, { [shared.tfjs]: tf, [shared.protobuf]: ours('google-protobuf') });
  const require = createRequire(join(packageFolder, 'package.json'));
  restoreRemovedUtilities(require('node:util'));
  require('./dist/register_all_kernels');
  const { NodeJSKernelBackend } = require('./dist/nodejs_kernel_backend') as {
    NodeJSKernelBackend: new (binding: NativeBinding, name: string) => tf.KernelBackend;
  };
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node-gpu'), 3);
}

/** tfjs-node 4.22 calls two functions that Node 23 removed. */
function restoreRemovedUtilities(util: Record<string, unknown>): void {
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
}

/** Loaded on use: its packages are optional. */
async function openWebGpu(): Promise<Engine> {
  const { openWebGpuEngine } = await import('./webgpu/engine.js');
  return await openWebGpuEngine();
}

async function openWasm(): Promise<Engine> {
  await import('@tensorflow/tfjs-backend-wasm');
  return { ...(await openWasmEngine()), memoryBytes: memoryLimit() };
}

function cores(): string {
  const count = availableParallelism();
  return count === 1 ? '1 core' : `${count} cores`;
}
