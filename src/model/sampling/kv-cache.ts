/**
 * @file Cached decoding: keys and values of past positions are program state, in slots that rollouts occupy in turn.
 *
 * A slot is one row of the decode batch. Its cache holds S positions, position p of a rollout at index p, as rows
 * `[(slot * K + head) * S + position, C]`, which are written in place and read by attention without a copy. Each prompt is
 * prefilled once into a prompt cache of P rows and T positions, in chunks, so that one function serves prompts of any length
 * and long ones need no `[T, T]` scores. `admit` fills any number of slots from there. Prefilling omits a prompt's last
 * token, and a slot starts by decoding it, so that prefilling needs no logits and tokens are drawn in one place only.
 *
 * Small models decode all layers in one native operation ({@link decodeLayers}).
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  type CacheTensors,
  decoderLayers,
  type LayerWeights,
  cachedAttention as nativeAttention,
} from '../../engine/ops/decoding-ops.js';
import { attention, maskedScore } from '../../engine/ops/ops.js';
import { updateRows } from '../../engine/ops/state-ops.js';
import { defineFunction, type TensorRecord, type TensorSpec } from '../../engine/program.js';
import { type Float, type Int, take } from '../../engine/shape.js';
import type { ModelConfig } from '../network/config.js';
import { hasAdapters } from '../network/lora.js';
import {
  type Angles,
  angles,
  attentionScale,
  causalBias,
  embedTokens,
  finalNorm,
  hiddenStates,
  logits,
  waiting,
} from '../network/transformer.js';

export interface CacheSizes {
  /** Rows decoded at once. One extra slot absorbs unused rows of `admit` and `move`. */
  readonly slots: number;
  /** Rows that are often decoded together, such as the rollouts of an update; at most `slots` are. Default: `slots`. */
  readonly batch?: number;
  /** S: positions per slot, prompt and completion together. */
  readonly positions: number;
  /** P: distinct prompts prefilled at once. */
  readonly prompts: number;
  /** T: longest prompt without its last token; `sharedPositions` plus a multiple of `chunk`, at most S. */
  readonly promptPositions: number;
  /** Positions that all prompts are expected to share, computed once for all of them. Default 0. */
  readonly sharedPositions?: number;
  /** Positions of every prompt computed by one `prefill`. */
  readonly chunk: number;
  /** R: slots filled by one `admit` or `move`, at most. */
  readonly admissions: number;
}

/** Names of the state of layer `layer`. */
const cacheNames = (layer: number) => ({
  keys: `cache.k.${layer}`,
  values: `cache.v.${layer}`,
  promptKeys: `prompt.k.${layer}`,
  promptValues: `prompt.v.${layer}`,
});

/** State of the functions in this file, besides the parameters. */
export function cacheState(config: ModelConfig, sizes: CacheSizes): Record<string, TensorSpec<'float32'>> {
  const { layers, kvHeads: K, headDim: C } = config;
  const state: Record<string, TensorSpec<'float32'>> = {};
  for (let layer = 0; layer < layers; layer++) {
    const names = cacheNames(layer);
    const slots: TensorSpec<'float32'> = { dtype: 'float32', shape: [(sizes.slots + 1) * K * sizes.positions, C] };
    const prompts: TensorSpec<'float32'> = { dtype: 'float32', shape: [sizes.prompts * K * sizes.promptPositions, C] };
    state[names.keys] = slots;
    state[names.values] = slots;
    state[names.promptKeys] = prompts;
    state[names.promptValues] = prompts;
  }
  return state;
}

/**
 * `prefill`: computes keys and values of `chunk` positions from `offset` on for P prompts, `ids` `[P, chunk]`, and writes
 * them to the prompt cache, which holds the earlier positions. Padding is on the right, where no token attends to it.
 */
export function prefillFunction(config: ModelConfig, sizes: CacheSizes) {
  const { prompts: P, promptPositions: T, chunk } = sizes;
  const block = blockOf(sizes);
  return defineFunction({
    inputs: { ids: { dtype: 'int32', shape: [P, chunk] }, offset: { dtype: 'int32', shape: [] } },
    body(state, { ids, offset }) {
      const positions = tf.add(tf.range(0, chunk, 1, 'int32'), offset).expandDims(0);
      const firsts = rowIndices(config, tf.range(0, P, 1, 'int32'), T / block, chunk / block);
      const blocks = tf.add(firsts, tf.floorDiv(offset, tf.scalar(block, 'int32')));
      const assign: Record<string, tf.Tensor> = {};
      hiddenStates(state, config, ids, angles(config, positions.toFloat()), (layer, q, k, v) => {
        const { promptKeys, promptValues } = cacheNames(layer);
        const keys = updateBlocks(state[promptKeys]!, blocks, toRows(k), block);
        const values = updateBlocks(state[promptValues]!, blocks, toRows(v), block);
        assign[promptKeys] = keys;
        assign[promptValues] = values;
        return cachedAttention(config, q, keys, values, positions, T);
      });
      return { assign };
    },
  });
}

/** `prefillShared`: writes keys and values of the shared prefix, `ids` `[1, sharedPositions]`, to every prompt cache row. */
export function prefillSharedFunction(config: ModelConfig, sizes: CacheSizes) {
  const { prompts: P, promptPositions: T, sharedPositions: shared = 0 } = sizes;
  const block = blockOf(sizes);
  return defineFunction({
    inputs: { ids: { dtype: 'int32', shape: [1, shared] } },
    body(state, { ids }) {
      const at = angles(config, tf.range(0, shared, 1, 'float32').expandDims(0));
      const blocks = rowIndices(config, tf.range(0, P, 1, 'int32'), T / block, shared / block);
      const bias = causalBias(shared);
      const assign: Record<string, tf.Tensor> = {};
      hiddenStates(state, config, ids, at, (layer, q, k, v) => {
        const { promptKeys, promptValues } = cacheNames(layer);
        const everywhere = (x: Float<'B T K C'>) => tf.tile(toRows(x), [P, 1]);
        assign[promptKeys] = updateBlocks(state[promptKeys]!, blocks, everywhere(k), block);
        assign[promptValues] = updateBlocks(state[promptValues]!, blocks, everywhere(v), block);
        return attention(q, k, v, bias, attentionScale(config));
      });
      return { assign };
    },
  });
}

/** `admit`: copies prompt `prompts[i]` of the prompt cache into slot `slots[i]`, for R pairs. */
export function admitFunction(config: ModelConfig, sizes: CacheSizes) {
  const { admissions: R, promptPositions: T, positions: S } = sizes;
  const block = blockOf(sizes);
  const pair: TensorSpec<'int32'> = { dtype: 'int32', shape: [R] };
  return defineFunction({
    inputs: { prompts: pair, slots: pair },
    body(state, { prompts, slots }) {
      const from = rowIndices(config, prompts, T / block, T / block);
      const to = rowIndices(config, slots, S / block, T / block);
      return {
        assign: eachCache(config, state, (cache, promptCache) =>
          updateBlocks(cache, to, tf.gather(inBlocks(promptCache, block), from), block),
        ),
      };
    },
  });
}

/** `move`: copies slot `from[i]` to slot `to[i]`, for R pairs, to keep the occupied slots contiguous. */
export function moveFunction(config: ModelConfig, sizes: CacheSizes) {
  const pair: TensorSpec<'int32'> = { dtype: 'int32', shape: [sizes.admissions] };
  const slot = config.kvHeads * sizes.positions;
  return defineFunction({
    inputs: { from: pair, to: pair },
    body(state, { from, to }) {
      return {
        assign: eachCache(config, state, (cache) =>
          updateBlocks(cache, to, tf.gather(inBlocks(cache, slot), from), slot),
        ),
      };
    },
  });
}

/**
 * One decoding step of the first B slots, with `tokens` (int32 `[B]`) at `positions` (int32 `[B]`) of their rollouts. Writes
 * keys and values, and returns the logits of the next position, `[B, V]`, with the state to assign.
 */
export function decodeLogits(
  state: TensorRecord,
  config: ModelConfig,
  sizes: CacheSizes,
  tokens: Int<'B'>,
  positions: Int<'B'>,
): { logits: Float<'B V'>; assign: Record<string, tf.Tensor> } {
  const [B] = take(tokens.shape, 1);
  const S = sizes.positions;
  const assign: Record<string, tf.Tensor> = {};
  const at = angles(config, positions.toFloat().expandDims(1));
  const caches = Array.from({ length: config.layers }, (_, layer) => {
    const { keys, values } = cacheNames(layer);
    return { keys: state[keys]!, values: state[values]! };
  });
  const whole = decodeLayers(state, config, S, embedTokens(state, tokens), positions, at, caches);
  if (whole !== undefined) {
    for (const [layer, { keys, values }] of whole.caches.entries()) {
      const names = cacheNames(layer);
      assign[names.keys] = keys;
      assign[names.values] = values;
    }
    return { logits: logits(state, config, finalNorm(state, config, whole.x)), assign };
  }
  const firstRows = rowIndices(config, tf.range(0, B, 1, 'int32'), S, 1).reshape([B, config.kvHeads]);
  const rows = tf.add(firstRows, positions.expandDims(1)).reshape([-1]);
  const hidden = hiddenStates(state, config, tokens.expandDims(1), at, (layer, q, k, v) => {
    const names = cacheNames(layer);
    const cache = caches[layer]!;
    const keys = updateRows(cache.keys, rows, toRows(k));
    const values = updateRows(cache.values, rows, toRows(v));
    assign[names.keys] = keys;
    assign[names.values] = values;
    return cachedAttention(config, q, keys, values, positions.expandDims(1), S);
  });
  return { logits: logits(waiting(state, hidden), config, hidden.reshape([B, config.hiddenSize])), assign };
}

/** Attention bias `[B | 1, 1, T, S]`: 0 where `positions` `[B | 1, T]` may attend to cached position s, otherwise maskedScore. */
function pastBias(positions: Int<'B T'>, length: number): Float<'B 1 T S'> {
  // Compared as floats: integers would be compared on the host, even in a program that runs on a GPU.
  const later = tf.greater(tf.range(0, length, 1, 'float32'), positions.toFloat().expandDims(2));
  return tf.mul(later.toFloat(), maskedScore).expandDims(1);
}

/**
 * Grouped-query attention of `q` at `positions` `[B | 1, T]` to the first B sequences of a cache with S positions:
 * `[B, T, H * C]`. Each head's positions already form a matrix, so keys and values are not copied.
 */
function cachedAttention(
  config: ModelConfig,
  q: Float<'B T H C'>,
  keys: Float<'R C'>,
  values: Float<'R C'>,
  positions: Int<'B T'>,
  S: number,
): Float<'B T HC'> {
  const [B, T, H, C] = take(q.shape, 4);
  const K = config.kvHeads;
  const layout = { kvHeads: K, length: S, scale: attentionScale(config) };
  const native = nativeAttention(q, { keys, values }, positions, layout);
  if (native !== undefined) return native;
  const G = H / K;
  const perHead = (cache: tf.Tensor) => tf.slice(cache, [0, 0], [B * K * S, C]).reshape([B * K, S, C]) as tf.Tensor3D;
  const groups = tf
    .mul(q, attentionScale(config))
    .reshape([B, T, K, G, C])
    .transpose([0, 2, 3, 1, 4])
    .reshape([B * K, G * T, C]) as tf.Tensor3D;
  const scores = tf.matMul(groups, perHead(keys), false, true).reshape([B, H, T, S]);
  const weights = tf.softmax(tf.add(scores, pastBias(positions, S))).reshape([B * K, G * T, S]) as tf.Tensor3D;
  const mixed = tf.matMul(weights, perHead(values)).reshape([B, K, G, T, C]);
  return mixed.transpose([0, 3, 1, 2, 4]).reshape([B, T, H * C]);
}

/** `[B, T, K, C]` -> rows in cache order, `[B * K * T, C]`. */
function toRows(x: Float<'B T K C'>): Float<'R C'> {
  return x.transpose([0, 2, 1, 3]).reshape([-1, x.shape[3]!]);
}

/** Row numbers of the first `count` of `length` positions, for all heads of `slots` `[R]`: `[R * K * count]`. */
function rowIndices(config: ModelConfig, slots: Int<'R'>, length: number, count: number): Int<'N'> {
  const K = config.kvHeads;
  const int = (value: number) => tf.scalar(value, 'int32');
  const heads = tf.add(tf.mul(slots.expandDims(1), int(K)), tf.range(0, K, 1, 'int32').expandDims(0));
  const rows = tf.add(tf.mul(heads.expandDims(2), int(length)), tf.range(0, count, 1, 'int32').reshape([1, 1, count]));
  return rows.reshape([-1]);
}

/** Positions per copied block; copies begin and end at its multiples. TensorFlow copies row by row, at 1 µs per row. */
function blockOf({ positions, promptPositions, chunk, sharedPositions = 0 }: CacheSizes): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  return [promptPositions, chunk, sharedPositions].reduce(divisor, positions);
}

/** A cache `[R, C]` with each `size` rows joined into one: `[R / size, size * C]`. */
function inBlocks(cache: Float<'R C'>, size: number): Float<'N SC'> {
  const [rows, width] = take(cache.shape, 2);
  return cache.reshape([rows / size, size * width]);
}

/** `cache` `[R, C]` with its blocks of `size` rows at `blocks` `[N]` replaced by `rows`, `[N * size, C]` or `[N, size * C]`. */
function updateBlocks(cache: Float<'R C'>, blocks: Int<'N'>, rows: Float<'N ...'>, size: number): Float<'R C'> {
  const all = inBlocks(cache, size);
  return updateRows(all, blocks, rows.reshape([-1, all.shape[1]!])).reshape(cache.shape);
}

function eachCache(
  config: ModelConfig,
  state: TensorRecord,
  update: (cache: tf.Tensor, promptCache: tf.Tensor) => tf.Tensor,
): Record<string, tf.Tensor> {
  const assign: Record<string, tf.Tensor> = {};
  for (let layer = 0; layer < config.layers; layer++) {
    const names = cacheNames(layer);
    const tensor = (name: string) => state[name]!;
    assign[names.keys] = update(tensor(names.keys), tensor(names.promptKeys));
    assign[names.values] = update(tensor(names.values), tensor(names.promptValues));
  }
  return assign;
}

/** Largest layer that one core's cache holds: 4 MB of weights. */
const mostWeights = 1 << 20;

/** Whether a layer stays in a core's cache, so that decoding does not wait for its weights. */
export function hasSmallLayers(config: ModelConfig): boolean {
  const { hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F } = config;
  return 2 * D * H * C + 2 * D * K * C + 3 * D * F <= mostWeights;
}

/**
 * All layers as one native operation, for `x` `[B, D]` at `positions` (int32 `[B]`) with angles `at`. `caches[l]` is the cache
 * of layer l, with S positions. Larger models are composed of tensor operations, whose products TensorFlow spreads over all
 * threads.
 *
 * @returns the hidden states before the final norm, and the caches to assign; undefined if the model is too large or has
 *   features that the operation lacks.
 */
function decodeLayers(
  parameters: TensorRecord,
  config: ModelConfig,
  S: number,
  x: Float<'B D'>,
  positions: Int<'B'>,
  at: Angles,
  caches: readonly CacheTensors[],
): { x: Float<'B D'>; caches: CacheTensors[] } | undefined {
  const { kvHeads: K, headDim: C } = config;
  if (!hasSmallLayers(config) || config.outBias || config.mlpBias || hasAdapters(parameters)) return undefined;
  const [B] = take(positions.shape, 1);
  const angles = { positions, cos: at.cos.reshape([B, C / 2]), sin: at.sin.reshape([B, C / 2]) };
  const options = { kvHeads: K, length: S, scale: attentionScale(config), epsilon: config.rmsNormEps };
  const layers = caches.map((cache, layer) => ({ weights: layerWeights(parameters, config, layer), cache }));
  return decoderLayers(x, layers, angles, options);
}

function layerWeights(parameters: TensorRecord, config: ModelConfig, layer: number): LayerWeights {
  const get = (part: string) => parameters[`model.layers.${layer}.${part}`]!;
  return {
    inputNorm: get('input_layernorm.weight'),
    q: get('self_attn.q_proj.weight'),
    k: get('self_attn.k_proj.weight'),
    v: get('self_attn.v_proj.weight'),
    o: get('self_attn.o_proj.weight'),
    postNorm: get('post_attention_layernorm.weight'),
    gate: get('mlp.gate_proj.weight'),
    up: get('mlp.up_proj.weight'),
    down: get('mlp.down_proj.weight'),
    ...(config.qkvBias && {
      biases: {
        qBias: get('self_attn.q_proj.bias'),
        kBias: get('self_attn.k_proj.bias'),
        vBias: get('self_attn.v_proj.bias'),
      },
    }),
    ...(config.qkNorm && {
      headNorms: { qNorm: get('self_attn.q_norm.weight'), kNorm: get('self_attn.k_norm.weight') },
    }),
  };
}
