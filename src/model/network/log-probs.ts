/**
 * @file Log-probs of given completions, differentiable. Logits are computed only where a completion's token is predicted:
 * the hidden states are gathered before the output layer, so no `[B, T, V]` tensor is ever made. This is the plain form,
 * one row per sequence. Tests compare it with the reference, and compare the packed form (packed.ts) with it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { embedding, tokenLogProbs } from '../../engine/ops/ops.js';
import type { TensorRecord, TensorSpecs, TensorsOf } from '../../engine/program.js';
import type { Float } from '../../engine/shape.js';
import { UserError } from '../../util/errors.js';
import type { ModelConfig } from './config.js';
import { logits, sequenceStates } from './transformer.js';

/** Inputs of {@link completionLogProbs} for B sequences of T tokens, of which at most W belong to the completion. */
export const completionInputs = (B: number, T: number, W: number) =>
  ({
    /** Prompt and completion, padded on the right. */
    ids: { dtype: 'int32', shape: [B, T] },
    /** For each completion token the flat index (row * T + position) of the state that predicts it; padding: any. */
    predictors: { dtype: 'int32', shape: [B * W] },
    /** The completion's tokens; padding: any. */
    targets: { dtype: 'int32', shape: [B * W] },
    /** 1 for a completion's token, 0 for padding. */
    mask: { dtype: 'float32', shape: [B, W] },
    inverseTemperature: { dtype: 'float32', shape: [] },
  }) as const satisfies TensorSpecs;

export type CompletionTensors = TensorsOf<ReturnType<typeof completionInputs>>;

export interface CompletionRow {
  readonly promptIds: ArrayLike<number>;
  readonly completionIds: ArrayLike<number>;
}

/** Tokens of a row, prompt and completion. */
export const tokensOf = ({ promptIds, completionIds }: CompletionRow) => promptIds.length + completionIds.length;

/** Completion tokens of all rows. */
export const completionTokens = (rows: readonly CompletionRow[]) =>
  rows.reduce((sum, { completionIds }) => sum + completionIds.length, 0);

/**
 * Lays out `rows` (at most B) for {@link completionInputs}; missing rows are padding.
 *
 * @throws RangeError for a row that does not fit, or one without a prompt: nothing predicts its first token.
 */
export function packCompletions(
  rows: readonly CompletionRow[],
  B: number,
  T: number,
  W: number,
): { ids: Int32Array; predictors: Int32Array; targets: Int32Array; mask: Float32Array } {
  if (rows.length > B) throw new RangeError(`${rows.length} rows do not fit a batch of ${B}`);
  const packed = {
    ids: new Int32Array(B * T),
    predictors: new Int32Array(B * W),
    targets: new Int32Array(B * W),
    mask: new Float32Array(B * W),
  };
  rows.forEach(({ promptIds, completionIds }, row) => {
    const start = promptIds.length;
    if (start === 0) throw new RangeError('a completion needs at least one prompt token before it');
    if (start + completionIds.length > T || completionIds.length > W) {
      throw new RangeError(
        `${start} + ${completionIds.length} tokens do not fit in ${T}, ${W} of them for the completion`,
      );
    }
    packed.ids.set(promptIds, row * T);
    packed.ids.set(completionIds, row * T + start);
    for (let i = 0; i < completionIds.length; i++) {
      packed.predictors[row * W + i] = row * T + start - 1 + i;
      packed.targets[row * W + i] = completionIds[i]!;
      packed.mask[row * W + i] = 1;
    }
  });
  return packed;
}

/** Log-probability of each completion token under softmax(logits / temperature), 0 where `mask` is 0: `[B, W]`. */
export function completionLogProbs(
  parameters: TensorRecord,
  config: ModelConfig,
  { ids, predictors, targets, mask, inverseTemperature }: CompletionTensors,
): Float<'B W'> {
  const states = sequenceStates(parameters, config, ids).reshape([-1, config.hiddenSize]);
  const predicting = embedding(states, predictors);
  const logProbs = tokenLogProbs(logits(parameters, config, predicting), targets, inverseTemperature);
  return tf.mul(logProbs.reshape(mask.shape), mask);
}

/** The error for NaN or infinite log-probs, with which no token can be drawn or scored. */
export function notFinite(): UserError {
  return new UserError({
    problem: "The model's log-probs are not finite.",
    fix: 'Its weights are damaged, or the temperature is too close to 0.',
  });
}
