/** @file Element types: tfjs's names, TensorFlow's numbers (types.proto) and the corresponding typed arrays. */

/** Dtypes of inputs, outputs and state. */
export type DType = 'float32' | 'int32' | 'bool';

/** Dtypes inside a graph: also half precision, raw bytes and handles of state. */
export type GraphDType = DType | 'bfloat16' | 'float16' | 'uint8' | 'resource';

/** Float32Array for float32, Int32Array for int32, Uint8Array for bool (0 or 1). */
export type TypedArray = Float32Array | Int32Array | Uint8Array;

/** `DataType` of tensorflow/core/framework/types.proto. */
export const dtypeNumbers: Record<GraphDType, number> = {
  float32: 1,
  int32: 3,
  uint8: 4,
  bool: 10,
  bfloat16: 14,
  float16: 19,
  resource: 20,
};

export const bytesPerElement: Record<Exclude<GraphDType, 'resource'>, number> = {
  float32: 4,
  int32: 4,
  uint8: 1,
  bool: 1,
  bfloat16: 2,
  float16: 2,
};

/** The dtype of an array's values; undefined for others, such as `[1, 2]` or a Float64Array. */
export function dtypeOf(array: unknown): DType | undefined {
  if (array instanceof Float32Array) return 'float32';
  if (array instanceof Int32Array) return 'int32';
  if (array instanceof Uint8Array) return 'bool';
  return undefined;
}

export function isDType(name: string): name is DType {
  return name === 'float32' || name === 'int32' || name === 'bool';
}

/** Dtypes of the forms of state in 2 bytes (HalfForm in program.ts). */
export const halfTypes = { bf16: 'bfloat16', f16: 'float16' } as const;

type HalfType = (typeof halfTypes)[keyof typeof halfTypes];

/** Float32 bits to bfloat16 bits. To round, adds half of the lost range, less one if the kept part is even. */
function toBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // a quiet NaN, even if its payload is lost
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
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

/** Rounds float32 values to 2 bytes each, to the nearest, ties to even, into `target`, which has at least as many elements. */
export function toHalves(values: Float32Array, dtype: HalfType, target: Uint16Array): void {
  // Signed, so that all arithmetic stays in 32-bit integers: unsigned numbers above 2^31 would become doubles.
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === 'bfloat16') for (let i = 0; i < bits.length; i += 1) target[i] = toBfloat16(bits[i]!);
  else for (let i = 0; i < bits.length; i += 1) target[i] = toFloat16(bits[i]!);
}

let singles: Int32Array | undefined;

/** Float32 bits of every float16, computed on first use: a lookup is much faster than converting each number. */
export function float16Values(): Int32Array {
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
