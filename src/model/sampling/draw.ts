/**
 * @file Draws one token per row from logits, within the graph: temperature, top-k, top-p, greedy. Each draw uses one uniform
 * number and the inverse CDF, so it is a function of the logits and that number.
 */
import * as tf from '@tensorflow/tfjs-core';
import { drawTokens } from '../../engine/ops/decoding-ops.js';
import { elementPerRow } from '../../engine/ops/ops.js';
import type { TensorSpecs, TensorsOf } from '../../engine/program.js';
import { type Float, type Int, take } from '../../engine/shape.js';

/** How tokens are drawn; fixed for a program. */
export interface DrawOptions {
  /** Always take the most likely token. */
  readonly greedy: boolean;
  /** Only the k most likely tokens; 0: no limit. */
  readonly topK: number;
  /** Only the most likely tokens that together have this probability; 1: no limit. */
  readonly topP: number;
}

/** Inputs of a function that draws B rows. */
export const drawInputs = (rows: number) =>
  ({
    /** In [0, 1), one per row. */
    uniforms: { dtype: 'float32', shape: [rows] },
    inverseTemperature: { dtype: 'float32', shape: [] },
  }) as const satisfies TensorSpecs;

/**
 * @returns `tokens` int32 `[B]`, and their `logProbs` float32 `[B]` under softmax(logits / temperature) over the whole
 *   vocabulary, regardless of top-k and top-p, as a policy's log-prob requires.
 */
export function draw(
  logits: Float<'B V'>,
  { uniforms, inverseTemperature }: TensorsOf<ReturnType<typeof drawInputs>>,
  options: DrawOptions,
): { tokens: Int<'B'>; logProbs: Float<'B'> } {
  if (drawsAll(options, logits.shape[1]!)) {
    const drawn = drawTokens(logits, uniforms, inverseTemperature);
    if (drawn !== undefined) return drawn;
  }
  const scaled = tf.mul(logits, inverseTemperature);
  const shifted = tf.sub(scaled, tf.max(scaled, -1, true));
  const weights = tf.exp(shifted);
  const total = tf.sum(weights, -1);
  const tokens = options.greedy ? tf.argMax(logits, -1).toInt() : drawWeighted(weights, uniforms, options);
  const picked = elementPerRow(shifted, tokens);
  return { tokens, logProbs: tf.sub(picked, tf.log(total)) };
}

/** Whether every token may be drawn. */
function drawsAll({ greedy, topK, topP }: DrawOptions, V: number): boolean {
  return !greedy && topP >= 1 && (topK <= 0 || topK >= V);
}

function drawWeighted(weights: Float<'B V'>, uniforms: Float<'B'>, options: DrawOptions): Int<'B'> {
  const V = weights.shape[1]!;
  if (drawsAll(options, V)) return inverseCdf(weights, uniforms);
  const { topK, topP } = options;
  const sorted = tf.topk(weights, topK > 0 ? Math.min(topK, V) : V, true);
  if (topP >= 1) return elementPerRow(sorted.indices, inverseCdf(sorted.values, uniforms));
  // A token stays if those before it have not yet reached topP of the mass left by top-k (Holtzman et al., arXiv 1904.09751,
  // applied after top-k as in transformers). The first always stays.
  const before = tf.cumsum(sorted.values, 1, true);
  const limit = tf.mul(tf.sum(sorted.values, -1, true), topP);
  // The comparison is false for NaN, so NaN weights stay NaN and the first token is picked, with a log-prob of NaN.
  const kept = tf.where(tf.greaterEqual(before, limit), tf.zerosLike(sorted.values), sorted.values);
  return elementPerRow(sorted.indices, inverseCdf(kept, uniforms));
}

/**
 * The first index whose cumulative weight exceeds uniform * total. The total is the last cumulative weight, not a separate
 * sum: over a large vocabulary the two round differently, and a draw between them would find no token. Rounded to float32,
 * total * (1 - 2^-24) is still below the total, so every uniform number finds an index with positive weight.
 */
function inverseCdf(weights: Float<'B N'>, uniforms: Float<'B'>): Int<'B'> {
  const [B, N] = take(weights.shape, 2);
  // The axis must be positive: tfjs's wasm cumsum does not support -1.
  const cumulative = tf.cumsum(weights, 1);
  const target = tf.mul(tf.slice(cumulative, [0, N - 1], [B, 1]), uniforms.expandDims(-1));
  // Counted as floats, exact up to 2^24: integers would be added on the host, even in a program that runs on a GPU.
  return tf.sum(tf.lessEqual(cumulative, target).toFloat(), -1).toInt();
}
