/**
 * @file The forward pass of Qwen2, Qwen3 and Llama as pure functions over a record of parameters with their Hugging
 * Face names. Follows modeling_{qwen2,qwen3,llama}.py of transformers 5. Attention is passed in as a function, so that
 * training (whole sequences) and decoding (with a cache, kv-cache.ts) share the layers.
 */
import * as tf from '@tensorflow/tfjs-core';
import { widenedAfter } from '../../engine/graph/trace.js';
import { attention, embedding, linear, maskedScore, rmsNorm, rope, swiglu } from '../../engine/ops/ops.js';
import type { TensorRecord } from '../../engine/program.js';
import { assertShape, type Float, type Int, take } from '../../engine/shape.js';
import type { ModelConfig } from './config.js';
import { adapterTerm } from './lora.js';
import { embeddingName, outputName } from './params.js';
import { inverseFrequencies } from './rope.js';

/** Attention of one layer. Queries and keys are already rotated. Returns `[B, T, H * C]`. */
export type Attend = (layer: number, q: Float<'B T H C'>, k: Float<'B T K C'>, v: Float<'B T K C'>) => Float<'B T HC'>;

export interface Angles {
  readonly cos: Float<'B T C2'>;
  readonly sin: Float<'B T C2'>;
}

/** Cosine and sine of every channel pair's angle at `positions` (float32 `[B | 1, T]`), in the form that rope() takes. */
export function angles(config: ModelConfig, positions: Float<'B T'>): Angles {
  const frequencies = tf.tensor1d(inverseFrequencies(config.rope, config.headDim));
  const turned = tf.mul(positions.expandDims(-1), frequencies);
  const factor = config.rope.attentionFactor;
  const [cos, sin] = [tf.cos(turned), tf.sin(turned)];
  return factor === 1 ? { cos, sin } : { cos: tf.mul(cos, factor), sin: tf.mul(sin, factor) };
}

/** Positions 0 .. T-1 for every row, `[1, T]`. */
function rowPositions(length: number): Float<'1 T'> {
  return tf.range(0, length, 1, 'float32').expandDims(0);
}

/**
 * Attention bias of whole sequences, `[1, T, T]`: each position attends to itself and those before it. Padding on the right
 * needs no mask, since no token attends to it.
 */
export function causalBias(length: number): Float<'1 T T'> {
  const position = tf.range(0, length, 1, 'float32');
  const later = tf.greater(position.expandDims(0), position.expandDims(1));
  return tf.mul(later.toFloat(), maskedScore).expandDims(0);
}

/** 1 / sqrt(C). */
export function attentionScale(config: ModelConfig): number {
  return 1 / Math.sqrt(config.headDim);
}

/** The final hidden states of `ids` (int32 `[B, T]`), after the final norm: `[B, T, D]`. */
export function hiddenStates(
  parameters: TensorRecord,
  config: ModelConfig,
  ids: Int<'B T'>,
  at: Angles,
  attend: Attend,
): Float<'B T D'> {
  assertShape('ids', ids, 'B T');
  let x = embedTokens(parameters, ids);
  for (let layer = 0; layer < config.layers; layer++) {
    x = transformerLayer(waiting(parameters, x), config, layer, x, at, attend);
  }
  return finalNorm(parameters, config, x);
}

/** One layer: attention and feed-forward, each with a residual connection. */
export function transformerLayer(
  parameters: TensorRecord,
  config: ModelConfig,
  layer: number,
  x: Float<'B T D'>,
  at: Angles,
  attend: Attend,
): Float<'B T D'> {
  const prefix = layerPrefix(layer);
  const normed = norm(parameters, `${prefix}input_layernorm`, config, x);
  const mixed = selfAttention(parameters, `${prefix}self_attn`, config, normed, at, (q, k, v) =>
    attend(layer, q, k, v),
  );
  const middle = tf.add(x, mixed);
  const normedMiddle = norm(parameters, `${prefix}post_attention_layernorm`, config, middle);
  return tf.add(middle, feedForward(parameters, `${prefix}mlp`, normedMiddle));
}

/**
 * Makes matrices that are stored in a narrower form depend on `x`, so that they are widened layer by layer. Without this
 * dependency, all of them could be widened at once, which would fill the memory at the start of every function.
 */
export function waiting(parameters: TensorRecord, x: tf.Tensor): TensorRecord {
  return new Proxy(parameters, {
    get: (target, name) => {
      const value = typeof name === 'string' ? target[name] : undefined;
      return value?.rank === 2 ? widenedAfter(value, x) : value;
    },
  });
}

/** Prefix of the names of a layer's parameters. */
export const layerPrefix = (layer: number) => `model.layers.${layer}.`;

/** Embeddings of `ids`, the input of the first layer: `[..., D]`. */
export function embedTokens(parameters: TensorRecord, ids: Int<'...'>): Float<'... D'> {
  return embedding(parameter(parameters, embeddingName), ids);
}

/** The norm between the last layer and the output layer. */
export function finalNorm(parameters: TensorRecord, config: ModelConfig, x: Float<'... D'>): Float<'... D'> {
  return norm(parameters, 'model.norm', config, x);
}

/** {@link hiddenStates} of whole sequences, padded on the right or not at all. */
export function sequenceStates(parameters: TensorRecord, config: ModelConfig, ids: Int<'B T'>): Float<'B T D'> {
  const { T } = assertShape('ids', ids, 'B T');
  const bias = causalBias(T);
  const scale = attentionScale(config);
  const at = angles(config, rowPositions(T));
  return hiddenStates(parameters, config, ids, at, (_layer, q, k, v) => attention(q, k, v, bias, scale));
}

/** Logits over the vocabulary: `hidden` `[N, D]` -> `[N, V]`. */
export function logits(parameters: TensorRecord, config: ModelConfig, hidden: Float<'N D'>): Float<'N V'> {
  return linear(hidden, parameter(parameters, outputName(config)));
}

function selfAttention(
  parameters: TensorRecord,
  prefix: string,
  config: ModelConfig,
  x: Float<'B T D'>,
  at: Angles,
  attend: (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor,
): Float<'B T D'> {
  const [B, T] = take(x.shape, 3);
  const { heads: H, kvHeads: K, headDim: C } = config;
  const heads = (name: string, count: number): Float<'B T N C'> => {
    const result = project(parameters, `${prefix}.${name}_proj`, x).reshape([B, T, count, C]);
    return config.qkNorm && name !== 'v' ? norm(parameters, `${prefix}.${name}_norm`, config, result) : result;
  };
  const q = rope(heads('q', H), at.cos, at.sin);
  const k = rope(heads('k', K), at.cos, at.sin);
  return project(parameters, `${prefix}.o_proj`, attend(q, k, heads('v', K)));
}

function feedForward(parameters: TensorRecord, prefix: string, x: Float<'B T D'>): Float<'B T D'> {
  const gate = project(parameters, `${prefix}.gate_proj`, x);
  const up = project(parameters, `${prefix}.up_proj`, x);
  return project(parameters, `${prefix}.down_proj`, swiglu(gate, up));
}

function norm(parameters: TensorRecord, name: string, config: ModelConfig, x: Float<'... D'>): Float<'... D'> {
  return rmsNorm(x, parameter(parameters, `${name}.weight`), config.rmsNormEps);
}

/** Applies the linear layer `prefix` to `x`, with its bias and adapter if it has them. */
function project(parameters: TensorRecord, prefix: string, x: Float<'... D'>): Float<'... E'> {
  const bias = parameters[`${prefix}.bias`];
  const product = linear(x, parameter(parameters, `${prefix}.weight`), bias);
  const adapted = adapterTerm(parameters, prefix, x);
  return adapted === undefined ? product : tf.add(product, adapted);
}

function parameter(parameters: TensorRecord, name: string): tf.Tensor {
  const tensor = parameters[name];
  if (tensor === undefined) throw new Error(`the parameter ${name} is missing`);
  return tensor;
}
