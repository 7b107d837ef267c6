/**
 * @file The three number formats of weights, and conversion between each and float32. bfloat16 is the upper half of a
 * float32; float16 is IEEE 754 binary16. Widening is exact. Narrowing rounds to nearest, ties to even, as PyTorch does;
 * overflow gives infinity and NaN stays NaN.
 */
import { toBfloat16 } from '../../engine/dtype.js';

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
    const table = halfToSingle();
    for (let i = 0; i < bits.length; i += 1) bits[i] = table[halves[i]!]!;
  }
}

/** The bytes of `source` in `dtype`; for float32 a view, not a copy. */
export function narrow(source: Float32Array, dtype: Dtype): Uint8Array {
  if (dtype === 'float32') return bytesOf(source);
  // Signed, so that all arithmetic stays in 32-bit integers: unsigned numbers above 2^31 would become doubles.
  const bits = new Int32Array(source.buffer, source.byteOffset, source.length);
  const halves = new Uint16Array(source.length);
  if (dtype === 'bfloat16') for (let i = 0; i < bits.length; i += 1) halves[i] = toBfloat16(bits[i]!);
  else for (let i = 0; i < bits.length; i += 1) halves[i] = toFloat16(bits[i]!);
  return bytesOf(halves);
}

function bytesOf(array: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function aligned(bytes: Uint8Array): Uint16Array {
  const source = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(source.buffer, source.byteOffset, source.byteLength / 2);
}

/** Float32 bits to float16 bits. */
function toFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000; // exponent bias 127 to 15
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  // Subnormal: the significand, with its leading one, shifted down to units of 2^-24.
  const shift = 126 - (magnitude >>> 23);
  if (shift > 25) return sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const lost = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (lost > half || (lost === half && (kept & 1) === 1) ? 1 : 0));
}

let singles: Int32Array | undefined;

/** Float32 bits of every float16, computed on first use: a lookup is much faster than converting each number. */
function halfToSingle(): Int32Array {
  if (singles === undefined) {
    singles = new Int32Array(65536);
    const view = new DataView(new ArrayBuffer(4));
    for (let half = 0; half < singles.length; half += 1) {
      const exponent = (half >>> 10) & 0x1f;
      const fraction = half & 0x3ff;
      const sign = (half & 0x8000) << 16;
      if (exponent === 0x1f) {
        singles[half] = sign | 0x7f800000 | (fraction << 13);
        continue;
      }
      view.setFloat32(0, exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
      singles[half] = sign | view.getUint32(0);
    }
  }
  return singles;
}
