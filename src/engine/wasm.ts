/**
 * @file The wasm engine, in Node and in a browser: programs op by op on tfjs-backend-wasm 4.22, some of whose kernels are
 * replaced by faster ones with the same results.
 */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../util/errors.js';
import type { Engine } from './backend.js';
import { createEagerProgram } from './eager.js';
import { sizeOf, take } from './shape.js';

/** tfjs's backend and the gradients of its kernels must have been imported. @throws UserError if it does not start. */
export async function openWasmEngine(): Promise<Engine> {
  if (!(await tf.setBackend('wasm'))) {
    throw new UserError({
      problem: 'The wasm engine did not start.',
      expected: 'WebAssembly SIMD: Node 20 or later, or a browser of 2023 or later, on a processor that has it',
      fix: 'In Node, `tinyzero doctor` checks both.',
    });
  }
  replaceWasmKernels();
  return {
    name: 'wasm',
    description: 'WebAssembly (SIMD, 1 thread)',
    device: 'cpu',
    storesBytes: false,
    multipliesBfloat16: false,
    createProgram: (spec) => createEagerProgram('wasm', spec),
    createEagerProgram: (spec) => createEagerProgram('wasm', spec),
    createComposedProgram: (spec) => createEagerProgram('wasm', spec),
    tensorCount: () => tf.memory().numTensors,
  };
}

/** The part of the backend's class that is used here; its package does not export it. */
interface WasmBackend extends tf.KernelBackend {
  makeOutput(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo;
  /** A view of the tensor's memory, valid until the next allocation. */
  typedArrayFromHeap(x: tf.TensorInfo): Float32Array | Int32Array | Uint8Array;
  disposeData(dataId: object): boolean;
}

/** With at least this many multiplications per product, multiplying one by one is faster than the naive loop. */
const largeProduct = 20_000;

/**
 * Replaces kernels that the backend has registered and set up.
 *
 * Products: the backend uses XNNPACK only if neither operand is transposed and both are single matrices; all others run
 * in a naive loop (BatchMatMul.cc), ten times slower. So operands are transposed first, and batches of larger matrices
 * are multiplied one by one. Slices: the backend copies the whole tensor before it copies the slice (Slice.ts).
 */
function replaceWasmKernels(): void {
  replaceKernel(tf.BatchMatMul, fastProduct);
  replaceKernel(tf.Slice, fastSlice);
}

function replaceKernel(kernelName: string, replacement: (original: tf.KernelFunc) => tf.KernelFunc): void {
  const original = kernelFunc(kernelName);
  tf.unregisterKernel(kernelName, 'wasm');
  tf.registerKernel({ kernelName, backendName: 'wasm', kernelFunc: replacement(original) });
}

/** A contiguous part of `x` that starts at the flat index `offset` and has shape `shape`. */
function copyOfStretch(
  backend: WasmBackend,
  x: tf.TensorInfo,
  offset: number,
  shape: readonly number[],
): tf.TensorInfo {
  const result = backend.makeOutput(shape, x.dtype);
  backend.typedArrayFromHeap(result).set(backend.typedArrayFromHeap(x).subarray(offset, offset + sizeOf(shape)));
  return result;
}

function fastSlice(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x } = call.inputs as { x: tf.TensorInfo };
    const { begin, size } = attrsOf<tf.SliceAttrs>(call);
    const [start, shape] = take(tf.slice_util.parseSliceParams(x, begin, size), 2);
    if (x.dtype === 'string' || !tf.slice_util.isSliceContinous(x.shape, start, shape)) return original(call);
    const offset = tf.slice_util.computeFlatOffset(start, tf.util.computeStrides(x.shape));
    return copyOfStretch(call.backend as WasmBackend, x, offset, shape);
  };
}

function fastProduct(naive: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { a, b } = call.inputs as Record<'a' | 'b', tf.TensorInfo>;
    const { transposeA, transposeB } = attrsOf<tf.BatchMatMulAttrs>(call);
    const batchShape = a.shape.slice(0, -2);
    const batch = sizeOf(batchShape);
    const broadcasts = batchShape.join() !== b.shape.slice(0, -2).join();
    const work = (sizeOf(a.shape) / batch) * b.shape.at(transposeB ? -2 : -1)!;
    if (broadcasts || (batch > 1 && work < largeProduct)) return naive(call);

    const backend = call.backend as WasmBackend;
    const temporaries: tf.TensorInfo[] = [];
    const temporary = (info: tf.TensorInfo) => {
      temporaries.push(info);
      return info;
    };
    const run = (name: string, inputs: Record<string, tf.TensorInfo>, attrs: Record<string, unknown>) =>
      kernelFunc(name)({ inputs, backend, attrs: attrs as unknown as tf.NamedAttrMap }) as tf.TensorInfo;
    const upright = (x: tf.TensorInfo, isTransposed: boolean) =>
      isTransposed ? temporary(run(tf.Transpose, { x }, { perm: lastTwoSwapped(x.shape.length) })) : x;
    const multiply = (left: tf.TensorInfo, right: tf.TensorInfo) =>
      naive({
        ...call,
        inputs: { a: left, b: right },
        attrs: { transposeA: false, transposeB: false },
      }) as tf.TensorInfo;
    const matrixAt = (x: tf.TensorInfo, index: number) => {
      const shape = [1, ...x.shape.slice(-2)];
      return temporary(copyOfStretch(backend, x, index * sizeOf(shape), shape));
    };

    const left = upright(a, transposeA);
    const right = upright(b, transposeB);
    let product: tf.TensorInfo;
    if (batch === 1) product = multiply(left, right);
    else {
      const parts = Array.from({ length: batch }, (_, i) => temporary(multiply(matrixAt(left, i), matrixAt(right, i))));
      const stacked = run(tf.Concat, parts as never, { axis: 0 });
      product = { ...stacked, shape: [...batchShape, ...stacked.shape.slice(1)] };
    }
    for (const { dataId } of temporaries) backend.disposeData(dataId);
    return product;
  };
}

/** The attributes of a call, typed as its kernel declares them. */
function attrsOf<Attrs>(call: { attrs?: tf.NamedAttrMap }): Attrs {
  return call.attrs as unknown as Attrs;
}

function kernelFunc(name: string): tf.KernelFunc {
  return tf.getKernel(name, 'wasm').kernelFunc;
}

function lastTwoSwapped(rank: number): number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return [...axes.slice(0, -2), rank - 1, rank - 2];
}
