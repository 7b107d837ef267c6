/**
 * @file Tensor names of GGUF and of Hugging Face, and the one difference in content: llama.cpp's `llama` rotates pairs of
 * neighbouring channels of queries and keys, Hugging Face pairs of channels half a head apart, so these two matrices are permuted.
 */
import type { ModelConfig } from '../network/config.js';
import { embeddingName, headName } from '../network/params.js';

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
 * Permutes rows: row (i, pair) of a head, i being its half, becomes (pair, i) in GGUF, and the reverse.
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
