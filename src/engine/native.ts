/**
 * @file The native addon of tfjs-node-gpu 4.22 (binding/tfjs_backend.cc), typed, loaded by path. It is used directly:
 * a compiled function needs only tensors and sessions, none of tfjs-node's JavaScript.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type DType, dtypeNumbers, type TypedArray } from './dtype.js';
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
 * Loads the addon. TensorFlow reads its settings from the environment at this moment: standard error is kept to errors,
 * unless TF_CPP_MIN_LOG_LEVEL says otherwise.
 */
export function loadBinding(path: string): NativeBinding {
  const require = createRequire(import.meta.url);
  const talkative = process.env.TF_CPP_MIN_LOG_LEVEL !== undefined;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
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

/**
 * Registers the ops of native/ with TensorFlow, which must be loaded.
 *
 * @param path of the addon that holds them. @returns the names of the ops.
 */
export function loadKernels(path: string): ReadonlySet<string> {
  return new Set((createRequire(import.meta.url)(path) as { ops: string[] }).ops);
}

/** A fed tensor shares `values`' memory until it is deleted. */
export function feed(binding: NativeBinding, dtype: DType, shape: Shape, values: TypedArray): number {
  return binding.createTensor(shape, dtypeNumbers[dtype], values);
}

/** Copies a result out and frees it. */
export function take(binding: NativeBinding, handle: TensorHandle): TypedArray {
  const values = binding.tensorDataSync(handle.id);
  binding.deleteTensor(handle.id);
  return values;
}
