/** @file Reads a safetensors file. Copied into the page's folder, so it imports nothing. */

export interface Tensors {
  readonly names: readonly string[];
  shape(name: string): readonly number[] | undefined;
  /** The tensor, widened to float32. */
  get(name: string): Float32Array | undefined;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [begin: number, end: number];
}

/** A safetensors file of float32, float16 and bfloat16. */
export function readTensors(file: ArrayBuffer): Tensors {
  const headerBytes = Number(new DataView(file).getBigUint64(0, true));
  const { __metadata__: _, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, headerBytes)));
  const entries = new Map(Object.entries<Entry>(header));
  return {
    names: [...entries.keys()],
    shape: (name) => entries.get(name)?.shape,
    get(name) {
      const entry = entries.get(name);
      if (entry === undefined) return undefined;
      const [begin, end] = entry.data_offsets.map((offset) => 8 + headerBytes + offset);
      return widen(file.slice(begin, end), entry.dtype);
    },
  };
}

function widen(bytes: ArrayBuffer, dtype: string): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes);
  const halves = new Uint16Array(bytes);
  const bits = new Uint32Array(halves.length);
  const values = new Float32Array(bits.buffer);
  for (let i = 0; i < halves.length; i += 1) {
    const half = halves[i]!;
    if (dtype === 'BF16') {
      bits[i] = half << 16;
      continue;
    }
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    values[i] = half & 0x8000 ? -magnitude : magnitude;
  }
  return values;
}
