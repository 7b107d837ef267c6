/**
 * @file Where GGUF differs from a Hugging Face model folder: the names of tensors, the order of the rows that are rotated,
 * and rotary embedding, whose base and scaling are metadata. GGUF stores Llama 3's stretched wavelengths as a tensor of
 * factors. The settings behind them are not stored and are recovered here.
 */
import { UserError } from '../../util/errors.js';
import type { JsonRecord } from '../../util/json.js';
import type { ModelConfig } from '../network/config.js';
import { embeddingName, headName } from '../network/params.js';
import { inverseFrequencies, type RopeConfig } from '../network/rope.js';
import type { MetadataValue } from './header.js';
import type { MetadataEntry } from './write.js';

const outer: readonly (readonly [string, string])[] = [
  [embeddingName, 'token_embd.weight'],
  ['model.norm.weight', 'output_norm.weight'],
  [headName, 'output.weight'],
];
const inner: readonly (readonly [string, string])[] = [
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['self_attn.q_norm', 'attn_q_norm'],
  ['self_attn.k_norm', 'attn_k_norm'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
];

/** Factors by which Llama 3 stretches the wavelengths of its channel pairs, `[C / 2]`. Not a parameter of the model. */
export const ropeFactorsName = 'rope_freqs.weight';

/** `blk.0.attn_q.weight` of `model.layers.0.self_attn.q_proj.weight`. */
export function ggufName(name: string): string {
  const plain = outer.find(([ours]) => ours === name)?.[1];
  if (plain !== undefined) return plain;
  const [, layer, module, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const theirs = inner.find(([ours]) => ours === module)?.[1];
  if (theirs === undefined) throw new Error(`${name} has no name in GGUF`);
  return `blk.${layer}.${theirs}.${kind}`;
}

/** Heads of the matrix or bias `name` if its rows are permuted, otherwise undefined. */
export function turnedHeads(name: string, config: ModelConfig): number | undefined {
  if (config.family !== 'llama') return undefined;
  if (name.includes('self_attn.q_proj')) return config.heads;
  return name.includes('self_attn.k_proj') ? config.kvHeads : undefined;
}

/**
 * Permutes rows between the two orders: row (half, pair) of a head in a Hugging Face folder is row (pair, half) in GGUF.
 *
 * @param values row-major, `heads * C` rows.
 */
export function turnRows(values: Float32Array, heads: number, headDim: number, to: 'gguf' | 'hugging face') {
  const width = values.length / (heads * headDim);
  const half = headDim / 2;
  const result = new Float32Array(values.length);
  for (let row = 0; row < heads * headDim; row += 1) {
    const [head, channel] = [Math.floor(row / headDim), row % headDim];
    const turned = head * headDim + 2 * (channel % half) + Math.floor(channel / half);
    const [source, target] = to === 'gguf' ? [row, turned] : [turned, row];
    result.set(values.subarray(source * width, (source + 1) * width), target * width);
  }
  return result;
}

/** Settings of Llama 3.1 and later, besides `factor` and the original length. */
const llama3 = { low_freq_factor: 1, high_freq_factor: 4 };

/** The divisor of each channel pair's frequency, `[C / 2]`; undefined if llama.cpp computes it from metadata. */
export function ropeFactors({ rope, headDim }: ModelConfig): Float32Array | undefined {
  if (rope.scaling.kind !== 'llama3') return undefined;
  const plain = inverseFrequencies({ ...rope, scaling: { kind: 'default' } }, headDim);
  const scaled = inverseFrequencies(rope, headDim);
  return plain.map((frequency, i) => frequency / scaled[i]!);
}

/** @throws UserError for settings without a field in GGUF or llama.cpp. */
export function ropeMetadata(config: ModelConfig, prefix: string): MetadataEntry[] {
  const { rope, family } = config;
  const { scaling } = rope;
  const base: MetadataEntry = [`${prefix}.rope.freq_base`, { f32: rope.theta }];
  const named = (name: string) => `${prefix}.rope.scaling.${name}`;
  switch (scaling.kind) {
    case 'default':
      return [base];
    case 'linear':
      return [base, [named('type'), { text: 'linear' }], [named('factor'), { f32: scaling.factor }]];
    case 'llama3':
      if (family === 'llama') return [base];
      throw inexpressible(`llama.cpp applies Llama 3's rotary scaling to the llama family only, not to ${family}`);
    case 'yarn': {
      const usual = Math.fround(0.1 * Math.log(scaling.factor) + 1);
      const { betaFast, betaSlow, truncate, factor, originalMaxPositions } = scaling;
      if (betaFast !== 32 || betaSlow !== 1 || !truncate || Math.fround(rope.attentionFactor) !== usual) {
        throw inexpressible('llama.cpp knows YaRN with its usual betas and attention factor only');
      }
      return [
        base,
        [named('type'), { text: 'yarn' }],
        [named('factor'), { f32: factor }],
        [named('original_context_length'), { u32: originalMaxPositions }],
      ];
    }
  }
}

export function inexpressible(reason: string): UserError {
  return new UserError({
    problem: `This model cannot be written as GGUF: ${reason}.`,
    fix: 'Export it with --to onnx.',
  });
}

/**
 * The `rope_scaling` of a config.json; undefined for none.
 *
 * @param factors the tensor of {@link ropeFactors}, if the file has one.
 */
export function ropeRecord(
  get: (name: string) => MetadataValue | undefined,
  factors: Float32Array | undefined,
  { theta, headDim }: { readonly theta: number; readonly headDim: number },
  unsupported: (reason: string) => Error,
): JsonRecord | undefined {
  if (factors !== undefined) return llama3Record(factors, theta, headDim, unsupported);
  const type = get('rope.scaling.type') ?? 'none';
  if (type === 'none') return undefined;
  const factor = get('rope.scaling.factor');
  if (type === 'linear') return { rope_type: 'linear', factor };
  const original = get('rope.scaling.original_context_length');
  if (type === 'yarn') return { rope_type: 'yarn', factor, original_max_position_embeddings: original };
  throw unsupported(`its rotary scaling is ${JSON.stringify(type)}`);
}

function llama3Record(
  factors: Float32Array,
  theta: number,
  headDim: number,
  unsupported: (reason: string) => Error,
): JsonRecord {
  const factor = Number(Math.max(...factors).toPrecision(5));
  const plain: RopeConfig = { theta, scaling: { kind: 'default' }, attentionFactor: 1 };
  const frequencies = inverseFrequencies(plain, headDim);
  for (let original = 64; original <= 2 ** 20 && factors.length === headDim / 2; original *= 2) {
    const scaling = {
      kind: 'llama3' as const,
      factor,
      originalMaxPositions: original,
      lowFreqFactor: llama3.low_freq_factor,
      highFreqFactor: llama3.high_freq_factor,
    };
    const scaled = inverseFrequencies({ ...plain, scaling }, headDim);
    const fits = factors.every((given, i) => Math.abs(given * (scaled[i]! / frequencies[i]!) - 1) < 1e-4);
    if (fits) return { rope_type: 'llama3', factor, ...llama3, original_max_position_embeddings: original };
  }
  throw unsupported('its rotary factors are not those of Llama 3');
}
