/**
 * @file The logsumexp of the logits of each completion's first token, for losses that take logits as Q-values (TBRM). For a
 * pass of packed.ts, it takes only one dot product per row.
 */
import * as tf from '@tensorflow/tfjs-core';
import { embedding } from '../../engine/ops/ops.js';
import type { TensorSpec } from '../../engine/program.js';
import type { Float, Int } from '../../engine/shape.js';
import type { CompletionRow } from './log-probs.js';
import type { Pass, PassShape, packedPredictions } from './packed.js';

export const firstTokenInputs = ({ rows: R }: Pick<PassShape, 'rows'>) =>
  ({
    /** For each row the place of its first token among the completion tokens of the pass; 0 for rows that are not in it. */
    firsts: { dtype: 'int32', shape: [R] },
    /** Its id. */
    firstIds: { dtype: 'int32', shape: [R] },
  }) as const satisfies Record<string, TensorSpec>;

/** Fills {@link firstTokenInputs}. */
export function packFirstTokens(
  rows: readonly CompletionRow[],
  pass: Pass,
  { rows: R }: Pick<PassShape, 'rows'>,
): Record<keyof ReturnType<typeof firstTokenInputs>, Int32Array> {
  const packed = { firsts: new Int32Array(R), firstIds: new Int32Array(R) };
  let next = 0;
  for (const { row } of pass) {
    const { completionIds } = rows[row]!;
    packed.firsts[row] = next;
    packed.firstIds[row] = completionIds[0]!;
    next += completionIds.length;
  }
  return packed;
}

/**
 * log Σ exp(logits / temperature) of the logits that predict each row's first token, `[R]`; arbitrary for rows
 * that are not in the pass. Computed as the token's logit minus its log-prob, so no other logit is computed again.
 *
 * @param weights the output layer's weights of each row's first token. @param firsts as in {@link firstTokenInputs}.
 */
export function firstLogSums(
  weights: Float<'R D'>,
  { logProbs, hidden }: ReturnType<typeof packedPredictions>,
  firsts: Int<'R'>,
  inverseTemperature: tf.Tensor,
): Float<'R'> {
  const products = tf.mul(embedding(hidden, firsts), weights);
  const first = embedding(logProbs.expandDims(1), firsts).reshape([-1]);
  return tf.sub(tf.mul(tf.sum(products, 1), inverseTemperature), first);
}
