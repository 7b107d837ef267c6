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

/** Float32 bits to bfloat16 bits. To round, adds half of the lost range, less one if the kept part is even. */
export function toBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // a quiet NaN, even if its payload is lost
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
