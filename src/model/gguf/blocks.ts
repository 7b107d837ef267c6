/**
 * @file The number formats of GGUF tensors that tinyzero reads, and q8_0, which it writes too. Block formats store 32 numbers
 * with a common scale: q8_0 signed bytes, q4_0 and q4_1 four bits each. Layouts and rounding are those of ggml
 * (`ggml-quants.c`, `quants.py` of the gguf package).
 */
import { type Dtype, narrow, widen } from '../checkpoint/dtype.js';

/** Numbers in a block of a quantised format. */
const blockSize = 32;

export interface TensorFormat {
  readonly name: string;
  /** Number in the file, `ggml_type`. */
  readonly id: number;
  /** Numbers per block; 1 for formats without blocks. */
  readonly elements: number;
  /** Bytes per block. */
  readonly bytes: number;
  /** float32 for the block formats, whose numbers no narrower format holds exactly. */
  readonly dtype: Dtype;
}

/** The formats, by name. */
export const tensorFormats = {
  f32: { name: 'f32', id: 0, elements: 1, bytes: 4, dtype: 'float32' },
  f16: { name: 'f16', id: 1, elements: 1, bytes: 2, dtype: 'float16' },
  bf16: { name: 'bf16', id: 30, elements: 1, bytes: 2, dtype: 'bfloat16' },
  q8_0: { name: 'q8_0', id: 8, elements: blockSize, bytes: 34, dtype: 'float32' },
  q4_0: { name: 'q4_0', id: 2, elements: blockSize, bytes: 18, dtype: 'float32' },
  q4_1: { name: 'q4_1', id: 3, elements: blockSize, bytes: 20, dtype: 'float32' },
} as const satisfies Record<string, TensorFormat>;

/** Names of formats that cannot be read, for errors. */
const otherFormats: Readonly<Record<number, string>> = {
  6: 'q5_0',
  7: 'q5_1',
  9: 'q8_1',
  10: 'q2_K',
  11: 'q3_K',
  12: 'q4_K',
  13: 'q5_K',
  14: 'q6_K',
  15: 'q8_K',
  16: 'iq2_xxs',
  17: 'iq2_xs',
  18: 'iq3_xxs',
  19: 'iq1_s',
  20: 'iq4_nl',
  21: 'iq3_s',
  22: 'iq2_s',
  23: 'iq4_xs',
  24: 'i8',
  25: 'i16',
  26: 'i32',
  27: 'i64',
  28: 'f64',
  29: 'iq1_m',
  34: 'tq1_0',
  35: 'tq2_0',
};

/** The format with this number; undefined for one that cannot be read. */
export function formatOf(id: number): TensorFormat | undefined {
  return Object.values(tensorFormats).find((format) => format.id === id);
}

/** `q6_K`, or `type 99` for an unknown number. */
export function formatName(id: number): string {
  return formatOf(id)?.name ?? otherFormats[id] ?? `type ${id}`;
}

/**
 * Widens whole blocks to float32. Products and sums are rounded to float32 one by one, as in the reference.
 *
 * @param source `target.length / format.elements` blocks.
 */
export function dequantize(source: Uint8Array, format: TensorFormat, target: Float32Array): void {
  if (format.elements === 1) {
    widen(source, format.dtype, target);
    return;
  }
  const blocks = target.length / blockSize;
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const scales = halves(view, blocks, format.bytes, 0);
  const minima = format.name === 'q4_1' ? halves(view, blocks, format.bytes, 2) : undefined;
  for (let block = 0; block < blocks; block += 1) {
    const out = block * blockSize;
    const scale = scales[block]!;
    if (format.name === 'q8_0') {
      const at = block * format.bytes + 2;
      for (let i = 0; i < blockSize; i += 1) target[out + i] = scale * view.getInt8(at + i);
      continue;
    }
    const at = block * format.bytes + (minima === undefined ? 2 : 4);
    const half = blockSize / 2;
    for (let i = 0; i < half; i += 1) {
      const both = source[at + i]!;
      const [low, high] = [both & 15, both >>> 4];
      if (minima === undefined) {
        target[out + i] = scale * (low - 8);
        target[out + half + i] = scale * (high - 8);
      } else {
        target[out + i] = Math.fround(scale * low) + minima[block]!;
        target[out + half + i] = Math.fround(scale * high) + minima[block]!;
      }
    }
  }
}

/** The float16 at `offset` of every block. */
function halves(view: DataView, blocks: number, blockBytes: number, offset: number): Float32Array {
  const raw = new Uint16Array(blocks);
  for (let block = 0; block < blocks; block += 1) raw[block] = view.getUint16(block * blockBytes + offset, true);
  const values = new Float32Array(blocks);
  widen(new Uint8Array(raw.buffer), 'float16', values);
  return values;
}

/**
 * The bytes of `values` in `format`.
 *
 * @param values whole blocks.
 * @throws Error for q4_0 and q4_1, which are only read.
 */
export function quantize(values: Float32Array, format: TensorFormat): Uint8Array {
  if (format.elements === 1) return narrow(values, format.dtype);
  if (format.name !== 'q8_0') throw new Error(`writing ${format.name} is not supported`);
  const blocks = values.length / blockSize;
  const result = new Uint8Array(blocks * format.bytes);
  const view = new DataView(result.buffer);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block += 1) {
    const part = values.subarray(block * blockSize, (block + 1) * blockSize);
    let largest = 0;
    for (const value of part) largest = Math.max(largest, Math.abs(value));
    const scale = Math.fround(largest / 127);
    scales[block] = scale;
    // The bytes follow the scale before it is rounded to float16, as in the reference.
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    for (let i = 0; i < blockSize; i += 1) {
      const scaled = Math.fround(part[i]! * inverse);
      view.setInt8(block * format.bytes + 2 + i, Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5));
    }
  }
  const narrowed = narrow(scales, 'float16');
  for (let block = 0; block < blocks; block += 1) {
    result.set(narrowed.subarray(2 * block, 2 * block + 2), block * format.bytes);
  }
  return result;
}
