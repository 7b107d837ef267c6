/**
 * @file The native addon of tfjs-node-gpu 4.22 (binding/tfjs_backend.cc), typed, loaded by path. It is used directly:
 * a compiled function needs only tensors and sessions, none of tfjs-node's JavaScript.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { UserError } from '../util/errors.js';
import { processorFeatures } from '../util/machine.js';
import type { TypedArray } from './dtype.js';
import type { Shape } from './shape.js';

interface TensorHandle {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** The functions of the addon in use. Handles are numbers; tensors and sessions live until they are deleted. */
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
 * On two processors, TensorFlow is faster with one thread per op and two ops at a time: large products are split in halves
 * (ops.ts), and native kernels distribute their work themselves. The user's settings take precedence.
 */
function chooseThreads(env: NodeJS.ProcessEnv = process.env): void {
  if (availableParallelism() !== 2 || env.TF_NUM_INTRAOP_THREADS !== undefined) return;
  env.TF_NUM_INTRAOP_THREADS = '1';
  env.TINYZERO_KERNEL_THREADS ??= '2';
}

/**
 * Enables Intel's oneDNN for TensorFlow's products. Without AVX-512 VNNI or AVX-VNNI, TensorFlow disables it, although it is
 * faster with AVX2 too (docs/log.md). The user's setting takes precedence.
 */
function chooseOneDnn(env: NodeJS.ProcessEnv = process.env): void {
  if (process.arch !== 'x64' || env.TF_ENABLE_ONEDNN_OPTS !== undefined) return;
  const features = processorFeatures();
  if (features.has('avx2') && features.has('fma')) env.TF_ENABLE_ONEDNN_OPTS = '1';
}

/**
 * The log level that shows errors alone. Without AVX-512, oneDNN logs an error in every process that stores bfloat16, so
 * there it hides errors too; real ones are also thrown.
 */
function quietLevel(): string {
  return process.arch !== 'x64' || processorFeatures().has('avx512f') ? '2' : '3';
}

/** Whether the user has set TensorFlow's log level, and so wants to see its messages. */
const talkative = process.env.TF_CPP_MIN_LOG_LEVEL !== undefined;

/**
 * Loads an addon of the engine. The first one also loads TensorFlow, which reads its settings from the environment. It logs
 * errors at most ({@link quietLevel}) unless TF_CPP_MIN_LOG_LEVEL is set.
 */
function loadAddon<Addon>(path: string): Addon {
  const require = createRequire(import.meta.url);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= quietLevel();
  chooseThreads();
  chooseOneDnn();
  const stderrAddon = join(dirname(path), 'stderr.node');
  if (talkative || !existsSync(stderrAddon)) return require(path) as Addon;
  // A failure to load is thrown, so only TensorFlow's notices are lost.
  const stderr = require(stderrAddon) as { mute(): void; unmute(): void };
  stderr.mute();
  try {
    return require(path) as Addon;
  } finally {
    stderr.unmute();
  }
}

/** Loads tfjs-node-gpu's addon, which opens the devices. */
export function loadBinding(path: string): NativeBinding {
  return loadAddon<NativeBinding>(path);
}

/** An object of the kernels addon, freed when it is garbage-collected. */
export type Handle = { readonly handle: unique symbol };

/** The kernels addon, built from native/. Loading it registers its kernels with TensorFlow; it also runs graphs. */
export interface KernelsAddon {
  /** Names of its ops. */
  readonly ops: readonly string[];
  /** The best instruction set that the processor has and TINYZERO_CPU allows: the kernels use it, `amx` only TensorFlow. */
  readonly instructions: 'baseline' | 'avx2' | 'avx512' | 'avx512bf16' | 'amx';
  /** As zlib's, but faster. Absent if the processor has no carry-less products or may not use them. */
  readonly crc32?: (bytes: Uint8Array, before: number) => number;
  /**
   * Gives an open file this length and allocates all its blocks, which then read as zeros. Absent on systems that cannot.
   *
   * @returns false if the file system cannot, or has too little space.
   */
  readonly reserve?: (fd: number, bytes: number) => boolean;
  /**
   * A session of the graph in a GraphDef.
   *
   * @param target the server that divides the graph among processes; empty: all of it runs in this process.
   * @param config a ConfigProto.
   */
  load(graphDef: Uint8Array, target: string, config: Uint8Array): Handle;
  /** A function from the tensors named `feeds` to those named `fetches`. */
  prepare(feeds: readonly string[], fetches: readonly string[]): Handle;
  /** Does not keep the input arrays; the caller owns the output arrays. */
  run(session: Handle, prepared: Handle, shapes: readonly Shape[], values: readonly TypedArray[]): TypedArray[];
  /** As `run`, but on a separate thread; several may run at the same time. Copies the input arrays. */
  start(
    session: Handle,
    prepared: Handle,
    shapes: readonly Shape[],
    values: readonly TypedArray[],
  ): Promise<TypedArray[]>;
  /**
   * Starts TensorFlow's server, which listens on the IPv4 `address` until the process ends.
   *
   * @param serverDef a ServerDef. @returns the target of sessions.
   */
  serve(serverDef: Uint8Array, address: string): string;
  /** Frees the session, which cannot be used afterwards. */
  close(session: Handle): void;
}

/**
 * Loads the kernels addon, which registers its kernels with TensorFlow and runs graphs.
 *
 * @throws UserError if TINYZERO_CPU names no instruction set.
 */
export function loadKernels(path: string): KernelsAddon {
  try {
    return loadAddon<KernelsAddon>(path);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('TINYZERO_CPU: '))) throw error;
    throw new UserError(
      { problem: `${error.message}.`, fix: 'Set it to one of these, or unset it.' },
      { cause: error },
    );
  }
}
