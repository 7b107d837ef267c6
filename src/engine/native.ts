/**
 * @file The native addon of tfjs-node-gpu 4.22 (binding/tfjs_backend.cc), typed, loaded by path. It is used directly:
 * a compiled function needs only tensors and sessions, none of tfjs-node's JavaScript.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { processorFeatures } from '../util/machine.js';
import type { TypedArray } from './dtype.js';
import type { Shape } from './shape.js';

interface TensorHandle {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** The addon's functions that we call. Handles are numbers; tensors and sessions live until they are deleted. */
export interface NativeBinding {
  readonly TF_Version: string;
  isUsingGpuDevice(): boolean;
  createTensor(shape: Shape, dtype: number, values: TypedArray): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): TypedArray;
  getNumOfTensors(): number;
  loadSavedModel(folder: string, tags: string): number;
  deleteSavedModel(id: number): void;
  runSavedModel(id: number, inputIds: number[], inputNames: string, outputNames: string): TensorHandle[];
}

/**
 * On two processors TensorFlow does better with one thread for each op, and two ops at a time: large products come in halves
 * (ops.ts), and our own kernels share their work out themselves. A setting of the user's is left alone.
 */
function chooseThreads(env: NodeJS.ProcessEnv = process.env): void {
  if (availableParallelism() !== 2 || env.TF_NUM_INTRAOP_THREADS !== undefined) return;
  env.TF_NUM_INTRAOP_THREADS = '1';
  env.TINYZERO_KERNEL_THREADS ??= '2';
}

/**
 * Intel's library oneDNN computes TensorFlow's products. Without AVX-512 VNNI or AVX-VNNI TensorFlow leaves it off, though it
 * is faster wherever there is AVX2 (docs/log.md). A setting of the user's is left alone.
 */
function chooseOneDnn(env: NodeJS.ProcessEnv = process.env): void {
  if (process.arch !== 'x64' || env.TF_ENABLE_ONEDNN_OPTS !== undefined) return;
  const features = processorFeatures();
  if (features.has('avx2') && features.has('fma')) env.TF_ENABLE_ONEDNN_OPTS = '1';
}

/**
 * Loads the addon. TensorFlow reads its settings from the environment at this moment: standard error is kept to errors,
 * unless TF_CPP_MIN_LOG_LEVEL says otherwise.
 */
export function loadBinding(path: string): NativeBinding {
  const require = createRequire(import.meta.url);
  const talkative = process.env.TF_CPP_MIN_LOG_LEVEL !== undefined;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  chooseThreads();
  chooseOneDnn();
  const stderrAddon = join(dirname(path), 'stderr.node');
  if (talkative || !existsSync(stderrAddon)) return require(path) as NativeBinding;
  // A failure to load is thrown, so nothing is lost but TensorFlow's notices about itself.
  const stderr = require(stderrAddon) as { mute(): void; unmute(): void };
  stderr.mute();
  try {
    return require(path) as NativeBinding;
  } finally {
    stderr.unmute();
  }
}

/** Something that the addon of our own keeps until it is garbage. */
export type Handle = { readonly handle: unique symbol };

/** The addon that is built from native/: loading it registers its kernels with TensorFlow, and it runs graphs. */
export interface KernelsAddon {
  /** Names of the kernels' ops. */
  readonly ops: readonly string[];
  /** The instruction set that the kernels use: `baseline`, `avx2`, `avx512` or `avx512bf16`. */
  readonly instructions: string;
  /** Whether the processor multiplies bfloat16, and TINYZERO_CPU allows it. */
  readonly bfloat16: boolean;
  /** A session of the graph in a GraphDef. */
  load(graphDef: Uint8Array): Handle;
  /** A function from the tensors called `feeds` to those called `fetches`. */
  prepare(session: Handle, feeds: readonly string[], fetches: readonly string[]): Handle;
  /** Arrays that go in are not used afterwards, and those that come out are the caller's. */
  run(session: Handle, prepared: Handle, shapes: readonly Shape[], values: readonly TypedArray[]): TypedArray[];
  /** Frees what the session holds; it cannot be used afterwards. */
  close(session: Handle): void;
}

/** Loads the addon of our own; TensorFlow must be loaded. */
export function loadKernels(path: string): KernelsAddon {
  return createRequire(import.meta.url)(path) as KernelsAddon;
}
