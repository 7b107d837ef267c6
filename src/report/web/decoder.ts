/**
 * @file The forward pass of network/transformer.ts for a page, with the tensors of a safetensors file and a cache of keys
 * and values. Matrix products run in kernel.wasm in float32, the rest in JavaScript. Runs in the web page, and in Node for
 * its check. Copied into the page's folder, so it imports nothing.
 */

/** The config of the forward pass; a part of the page's `model.json`. */
export interface DecoderConfig {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly tied: boolean;
  readonly qkNorm: boolean;
  /** Radians per position of each channel pair, `[C / 2]`. */
  readonly frequencies: readonly number[];
  readonly attentionFactor: number;
  readonly maxPositions: number;
}

export interface Decoder {
  /** Number of tokens in the cache. */
  readonly length: number;
  /** Drops all but the first `length` tokens. */
  keep(length: number): void;
  /** Takes the next tokens. @returns logits after the last, `[V]`. */
  take(ids: readonly number[]): Float32Array;
}

/** Tokens that pass through a layer together, so that its weights are read from memory once for all of them. */
const most = 32;

/** @param kernel the code of `kernel.wasm`. */
export function createDecoder(config: DecoderConfig, tensors: Tensors, kernel: ArrayBuffer): Decoder {
  const { heads: H, kvHeads: K, headDim: C, frequencies, attentionFactor, rmsNormEps } = config;
  const found = <T>(value: T | undefined, name: string): T => {
    if (value === undefined) throw new Error(`the model has no ${name}`);
    return value;
  };
  const tensor = (name: string) => found(tensors.get(name), name);
  const outputNorm = tensor('model.norm.weight');
  const D = outputNorm.length;
  const specs: MatrixSpec[] = [];
  const matrix = (name: string, tokens = most) => {
    const [rows = 0, columns = 0] = found(tensors.shape(name), name);
    return specs.push({ rows, columns, tokens, read: () => tensor(name) }) - 1;
  };
  const embedding = matrix('model.embed_tokens.weight', 1);
  const head = config.tied ? embedding : matrix('lm_head.weight', 1);
  const placed = Array.from({ length: config.layers }, (_, layer) => {
    const at = (name: string) => `model.layers.${layer}.${name}`;
    const linear = (name: string) => {
      return { index: matrix(at(`${name}.weight`)), bias: tensors.get(at(`${name}.bias`)) };
    };
    return {
      inputNorm: tensor(at('input_layernorm.weight')),
      outputNorm: tensor(at('post_attention_layernorm.weight')),
      q: linear('self_attn.q_proj'),
      k: linear('self_attn.k_proj'),
      v: linear('self_attn.v_proj'),
      o: linear('self_attn.o_proj'),
      gate: linear('mlp.gate_proj'),
      up: linear('mlp.up_proj'),
      down: linear('mlp.down_proj'),
      qNorm: config.qkNorm ? tensor(at('self_attn.q_norm.weight')) : undefined,
      kNorm: config.qkNorm ? tensor(at('self_attn.k_norm.weight')) : undefined,
      keys: [] as Float32Array[],
      values: [] as Float32Array[],
    };
  });
  const matrices = placeMatrices(kernel, specs);
  let length = 0;

  const multiply = ({ index, bias }: { index: number; bias?: Float32Array | undefined }, x: Float32Array) => {
    const result = matrices[index]!.times(x);
    return bias === undefined ? result : result.map((value, i) => value + bias[i % bias.length]!);
  };
  /** Rotates the heads of each token by its position. @param width numbers per token. */
  const turn = (x: Float32Array, width: number) => {
    const half = C / 2;
    for (let start = 0; start < x.length; start += C) {
      const position = length + Math.floor(start / width);
      for (let i = 0; i < half; i += 1) {
        const angle = Math.fround(position * frequencies[i]!);
        const [cos, sin] = [Math.cos(angle) * attentionFactor, Math.sin(angle) * attentionFactor];
        const [a, b] = [x[start + i]!, x[start + half + i]!];
        x[start + i] = a * cos - b * sin;
        x[start + half + i] = b * cos + a * sin;
      }
    }
    return x;
  };
  const normHeads = (x: Float32Array, weight: Float32Array | undefined) =>
    weight === undefined ? x : norm(x, weight, rmsNormEps);

  /** Attention of one token `[H * C]` to all positions up to its own. */
  const attend = (q: Float32Array, keys: readonly Float32Array[], values: readonly Float32Array[]) => {
    const result = new Float32Array(H * C);
    const scores = new Float64Array(keys.length);
    for (let h = 0; h < H; h += 1) {
      const [from, shared] = [h * C, Math.floor(h / (H / K)) * C];
      let largest = Number.NEGATIVE_INFINITY;
      for (const [s, key] of keys.entries()) {
        let sum = 0;
        for (let c = 0; c < C; c += 1) sum += q[from + c]! * key[shared + c]!;
        scores[s] = sum / Math.sqrt(C);
        largest = Math.max(largest, scores[s]);
      }
      let total = 0;
      for (let s = 0; s < keys.length; s += 1) {
        scores[s] = Math.exp(scores[s]! - largest);
        total += scores[s]!;
      }
      for (const [s, value] of values.entries()) {
        const share = scores[s]! / total;
        for (let c = 0; c < C; c += 1) result[from + c]! += share * value[shared + c]!;
      }
    }
    return result;
  };

  /** At most `most` tokens. @returns the last layer's output for the last of them, `[D]`. */
  const pass = (ids: readonly number[]) => {
    let x = joined(ids.map((id) => matrices[embedding]!.row(id)));
    for (const layer of placed) {
      const normed = norm(x, layer.inputNorm, rmsNormEps);
      const q = rows(turn(normHeads(multiply(layer.q, normed), layer.qNorm), H * C), H * C);
      layer.keys.push(...rows(turn(normHeads(multiply(layer.k, normed), layer.kNorm), K * C), K * C));
      layer.values.push(...rows(multiply(layer.v, normed), K * C));
      const attended = q.map((token, t) => {
        return attend(token, layer.keys.slice(0, length + t + 1), layer.values.slice(0, length + t + 1));
      });
      x = sum(x, multiply(layer.o, joined(attended)));
      const again = norm(x, layer.outputNorm, rmsNormEps);
      const [gate, up] = [multiply(layer.gate, again), multiply(layer.up, again)];
      for (let i = 0; i < gate.length; i += 1) gate[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
      x = sum(x, multiply(layer.down, gate));
    }
    length += ids.length;
    return x.subarray(x.length - D);
  };

  return {
    get length() {
      return length;
    },
    keep(kept) {
      length = Math.min(length, kept);
      for (const layer of placed) layer.keys.length = layer.values.length = length;
    },
    take(ids) {
      if (length + ids.length > config.maxPositions) {
        throw new Error(`the model has room for ${config.maxPositions} tokens`);
      }
      let last: Float32Array | undefined;
      for (let start = 0; start < ids.length; start += most) last = pass(ids.slice(start, start + most));
      return multiply({ index: head }, norm(last!, outputNorm, rmsNormEps));
    },
  };
}

/** Index of the largest number, the first of equal ones. */
export function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Views of the rows of a matrix. */
function rows(x: Float32Array, width: number): Float32Array[] {
  return Array.from({ length: x.length / width }, (_, i) => x.subarray(i * width, (i + 1) * width));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const width = parts[0]!.length;
  const result = new Float32Array(parts.length * width);
  for (const [i, part] of parts.entries()) result.set(part, i * width);
  return result;
}

function sum(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

/** Divides each row of `x` by its root mean square and multiplies it by `weight`. Rows are as wide as `weight`. */
function norm(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  const width = weight.length;
  const result = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let square = 0;
    for (let i = start; i < start + width; i += 1) square += x[i]! * x[i]!;
    const scale = 1 / Math.sqrt(square / width + eps);
    for (let i = 0; i < width; i += 1) result[start + i] = x[start + i]! * scale * weight[i]!;
  }
  return result;
}

// The types used here that browsers and Node share.
declare const WebAssembly: {
  Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer };
  Module: new (code: ArrayBuffer) => object;
  Instance: new (module: object, imports: object) => { readonly exports: { readonly multiply: Multiply } };
};

/** All are byte addresses except `rows`, `columns` and `tokens`. */
type Multiply = (matrix: number, rows: number, columns: number, x: number, tokens: number, out: number) => void;

interface Matrix {
  /** `x` `[tokens, columns]` times the transposed matrix. @returns a copy, `[tokens, rows]`. */
  times(x: Float32Array): Float32Array;
  /** A copy of a row. */
  row(index: number): Float32Array;
}

interface MatrixSpec {
  readonly rows: number;
  readonly columns: number;
  /** Most tokens of one product. */
  readonly tokens: number;
  /** `[rows, columns]`, read once. */
  readonly read: () => Float32Array;
}

const align = 16;
const padded = (columns: number) => Math.ceil(columns / align) * align;
const pageBytes = 65_536;

/** @param kernel the code of `kernel.wasm`. @returns the matrices, in order. */
function placeMatrices(kernel: ArrayBuffer, specs: readonly MatrixSpec[]): Matrix[] {
  const most = (size: (spec: MatrixSpec) => number) => Math.max(...specs.map(size));
  // Offsets count float32 numbers: first the factor, then the product, then the matrices, whose rows are padded with zeros.
  const product = most(({ columns, tokens }) => padded(columns) * tokens);
  let next = product + padded(most(({ rows, tokens }) => rows * tokens));
  const total = specs.reduce((sum, { rows, columns }) => sum + rows * padded(columns), next);
  const memory = new WebAssembly.Memory({ initial: Math.ceil((total * 4) / pageBytes) });
  const numbers = new Float32Array(memory.buffer);
  const { multiply } = new WebAssembly.Instance(new WebAssembly.Module(kernel), { page: { memory } }).exports;
  return specs.map(({ rows, columns, read }) => {
    const [start, width] = [next, padded(columns)];
    next += rows * width;
    const copyRows = (from: Float32Array, count: number, to: number) => {
      if (width === columns) numbers.set(from, to);
      else
        for (let i = 0; i < count; i += 1) numbers.set(from.subarray(i * columns, (i + 1) * columns), to + i * width);
    };
    copyRows(read(), rows, start);
    return {
      times(x) {
        const tokens = x.length / columns;
        // Values that an earlier product left beyond the columns have no effect: the matrix is zero there, and `x` is finite.
        copyRows(x, tokens, 0);
        multiply(start * 4, rows, width, 0, tokens, product * 4);
        return numbers.slice(product, product + tokens * rows);
      },
      row: (index) => numbers.slice(start + index * width, start + index * width + columns),
    };
  });
}

interface Tensors {
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
