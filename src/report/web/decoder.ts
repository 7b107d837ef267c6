/**
 * @file The forward pass of network/transformer.ts in plain JavaScript, one token at a time with a cache of keys and values. Runs
 * in the web page, and in Node for its check. Imports nothing, since it is copied into the page's folder. Sums are float64.
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
  /** Clears the cache. */
  reset(): void;
  /** Takes the next token. @returns logits over the vocabulary, `[V]`, valid until the next call. */
  step(id: number): Float32Array;
}

export type Tensors = ReadonlyMap<string, Float32Array>;

/** A safetensors file of float32, float16 and bfloat16, all widened to float32. */
export function readTensors(file: ArrayBuffer): Tensors {
  const headerBytes = Number(new DataView(file).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, headerBytes)));
  const tensors = new Map<string, Float32Array>();
  for (const [name, entry] of Object.entries<{ dtype: string; data_offsets: [number, number] }>(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = entry.data_offsets;
    tensors.set(name, widen(file.slice(8 + headerBytes + begin, 8 + headerBytes + end), entry.dtype));
  }
  return tensors;
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

export function createDecoder(config: DecoderConfig, tensors: Tensors): Decoder {
  const { heads: H, kvHeads: K, headDim: C, frequencies, attentionFactor } = config;
  const tensor = (name: string) => {
    const found = tensors.get(name);
    if (found === undefined) throw new Error(`the model has no ${name}`);
    return found;
  };
  const embedding = tensor('model.embed_tokens.weight');
  const D = tensor('model.norm.weight').length;
  const head = config.tied ? embedding : tensor('lm_head.weight');
  const layers = Array.from({ length: config.layers }, (_, layer) => {
    const at = (name: string) => tensor(`model.layers.${layer}.${name}.weight`);
    const linear = (name: string) => {
      return { weight: at(name), bias: tensors.get(`model.layers.${layer}.${name}.bias`) };
    };
    return {
      inputNorm: at('input_layernorm'),
      outputNorm: at('post_attention_layernorm'),
      q: linear('self_attn.q_proj'),
      k: linear('self_attn.k_proj'),
      v: linear('self_attn.v_proj'),
      o: linear('self_attn.o_proj'),
      gate: linear('mlp.gate_proj'),
      up: linear('mlp.up_proj'),
      down: linear('mlp.down_proj'),
      qNorm: config.qkNorm ? at('self_attn.q_norm') : undefined,
      kNorm: config.qkNorm ? at('self_attn.k_norm') : undefined,
      keys: [] as Float32Array[],
      values: [] as Float32Array[],
    };
  });
  let position = 0;

  const turn = (x: Float32Array) => {
    const half = C / 2;
    for (let start = 0; start < x.length; start += C) {
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
  const normHeads = (x: Float32Array, weight: Float32Array | undefined) => {
    for (let start = 0; weight !== undefined && start < x.length; start += C) {
      x.set(norm(x.subarray(start, start + C), weight, config.rmsNormEps), start);
    }
    return x;
  };

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

  return {
    reset() {
      position = 0;
      for (const layer of layers) {
        layer.keys.length = 0;
        layer.values.length = 0;
      }
    },
    step(id) {
      if (position >= config.maxPositions) throw new Error(`the model has room for ${config.maxPositions} tokens`);
      let x: Float32Array = embedding.slice(id * D, (id + 1) * D);
      for (const layer of layers) {
        const normed = norm(x, layer.inputNorm, config.rmsNormEps);
        const q = turn(normHeads(multiply(layer.q, normed), layer.qNorm));
        layer.keys.push(turn(normHeads(multiply(layer.k, normed), layer.kNorm)));
        layer.values.push(multiply(layer.v, normed));
        x = sum(x, multiply(layer.o, attend(q, layer.keys, layer.values)));
        const again = norm(x, layer.outputNorm, config.rmsNormEps);
        const [gate, up] = [multiply(layer.gate, again), multiply(layer.up, again)];
        for (let i = 0; i < gate.length; i += 1) gate[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
        x = sum(x, multiply(layer.down, gate));
      }
      position += 1;
      return multiply({ weight: head }, norm(x, tensor('model.norm.weight'), config.rmsNormEps));
    },
  };
}

/** Index of the largest number, the first of equal ones. */
export function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The matrix `[out, in]` times `x` `[in]`, plus the bias. */
function multiply({ weight, bias }: { weight: Float32Array; bias?: Float32Array | undefined }, x: Float32Array) {
  const width = x.length;
  const result = new Float32Array(weight.length / width);
  for (let row = 0; row < result.length; row += 1) {
    const start = row * width;
    // Four independent sums, which the processor can compute in parallel.
    let [a, b, c, d] = [0, 0, 0, 0];
    let i = 0;
    for (; i + 3 < width; i += 4) {
      a += weight[start + i]! * x[i]!;
      b += weight[start + i + 1]! * x[i + 1]!;
      c += weight[start + i + 2]! * x[i + 2]!;
      d += weight[start + i + 3]! * x[i + 3]!;
    }
    for (; i < width; i += 1) a += weight[start + i]! * x[i]!;
    result[row] = a + b + c + d + (bias === undefined ? 0 : bias[row]!);
  }
  return result;
}

function sum(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value + b[i]!);
}

function norm(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  let square = 0;
  for (const value of x) square += value * value;
  const scale = 1 / Math.sqrt(square / x.length + eps);
  return x.map((value, i) => value * scale * weight[i]!);
}
