/**
 * @file The native addon of tfjs-node-gpu 4.22 (binding/tfjs_backend.cc), typed, loaded by path. It is used directly:
 * a compiled function needs only tensors and sessions, none of tfjs-node's JavaScript.
 */
import { createRequire } from 'node:module';
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
 * Loads the addon. TensorFlow reads its settings from the environment at this moment: standard error is kept to
 * errors, and oneDNN's notice about rounding is not the user's business.
 */
export function loadBinding(path: string): NativeBinding {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const module = createRequire(import.meta.url)(path) as NativeBinding;
  return module;
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
