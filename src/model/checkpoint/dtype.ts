/**
 * @file The three number formats of weights, and conversion between each and float32. bfloat16 is the upper half of a
 * float32; float16 is IEEE 754 binary16. Widening is exact. Narrowing rounds to nearest, ties to even, as PyTorch does;
 * overflow gives infinity and NaN stays NaN.
 */
import { float16Values, toHalves } from '../../engine/dtype.js';

export const dtypes = ['float32', 'bfloat16', 'float16'] as const;
/** A weight format, by its PyTorch name. */
export type Dtype = (typeof dtypes)[number];

export const bytesPerElement: Readonly<Record<Dtype, number>> = { float32: 4, bfloat16: 2, float16: 2 };

// Files are little-endian and are viewed in place. Node's only big-endian platform (s390x) has no TensorFlow build.
if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) throw new Error('tinyzero needs a little-endian machine');

/**
 * Widens `source` into `target`, element by element; exact.
 *
 * @param source raw little-endian bytes, at any alignment; its length is `bytesPerElement[dtype]` times the target's.
 */
export function widen(source: Uint8Array, dtype: Dtype, target: Float32Array): void {
  if (source.byteLength !== target.length * bytesPerElement[dtype]) {
    throw new RangeError(`${source.byteLength} bytes of ${dtype} do not fill ${target.length} elements`);
  }
  if (dtype === 'float32') {
    bytesOf(target).set(source);
    return;
  }
  const halves = aligned(source);
  const bits = new Int32Array(target.buffer, target.byteOffset, target.length);
  if (dtype === 'bfloat16') {
    for (let i = 0; i < bits.length; i += 1) bits[i] = halves[i]! << 16;
  } else {
    const table = float16Values();
    for (let i = 0; i < bits.length; i += 1) bits[i] = table[halves[i]!]!;
  }
}

/** The bytes of `source` in `dtype`; for float32 a view, not a copy. */
export function narrow(source: Float32Array, dtype: Dtype): Uint8Array {
  if (dtype === 'float32') return bytesOf(source);
  const halves = new Uint16Array(source.length);
  toHalves(source, dtype, halves);
  return bytesOf(halves);
}

function bytesOf(array: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function aligned(bytes: Uint8Array): Uint16Array {
  const source = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(source.buffer, source.byteOffset, source.byteLength / 2);
}
