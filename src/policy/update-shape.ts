/**
 * @file How much of an update is computed at once: sequences of one pass, and what the backward pass computes again. A
 * function of the model's config and the sizes of the work alone, never of the machine, so that a run comes out the
 * same wherever it is resumed.
 */
import { roundUp } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { type PassShape, predictionsPerSequence, type Recomputation } from '../model/network/packed.js';
import { parameterCount } from '../model/network/params.js';

export interface UpdateShape extends PassShape {
  readonly recompute: Recomputation;
}

export interface UpdateWork {
  /** Tokens of each prompt that will be met. */
  readonly promptLengths: readonly number[];
  readonly maxNewTokens: number;
  /** Rows of one update. */
  readonly batchSize: number;
  /** Sequences of one pass; absent: chosen. */
  readonly microBatch?: number | undefined;
}

const floatBytes = 4;

/** Bytes for the activations of a pass: this much, or as much as this share of weights, reference and moments in float32. */
const activationBytes = 2 ** 28;
const activationShare = 0.1;
/** Bytes for logits: themselves, their softmax and their gradient. */
const logitBytes = 2 ** 26;

/** Passes of a full batch of longest rows: shorter rows then need fewer, and a smaller pass multiplies less well. */
const passesPerUpdate = 8;

export function chooseUpdateShape(config: ModelConfig, work: UpdateWork): UpdateShape {
  const { promptLengths, maxNewTokens, batchSize, microBatch } = work;
  const length = Math.max(...promptLengths) + maxNewTokens;
  const budget = Math.max(activationBytes, activationShare * 16 * parameterCount(config));
  const bytes = (sequences: number, layers: boolean) =>
    floatBytes * sequences * length * activationsPerToken(config, length, layers);
  const fitting = (layers: boolean) => Math.floor(budget / bytes(1, layers));
  const wanted = microBatch ?? Math.max(1, Math.ceil(batchSize / passesPerUpdate));
  // Computing a layer again takes a third more time; passes of a few rows take more than that.
  const layers = bytes(Math.min(wanted, 4), false) > budget;
  const sequences = microBatch ?? Math.min(wanted, Math.max(1, fitting(layers)));
  const predictions = sequences * predictionsPerSequence(length, Math.min(...promptLengths), maxNewTokens);
  const rowsAtOnce = Math.max(16, Math.floor(logitBytes / (3 * floatBytes * config.vocabSize)));
  const parts = Math.ceil(predictions / rowsAtOnce);
  return {
    ...{ sequences, length, predictions, rows: batchSize },
    recompute: { layers, logitRows: parts === 1 ? predictions : roundUp(Math.ceil(predictions / parts), 2) },
  };
}

/**
 * Floats that the backward pass needs of the forward pass for each token: of every layer two normed inputs with their
 * normalised forms, the residual stream, rotated queries, keys and values, attention weights and mix, and of the
 * feed-forward part gate, up, sigmoid and product.
 *
 * @param layersAgain only each layer's input is kept, and the rest of one layer at a time.
 */
export function activationsPerToken(
  { layers, hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F }: ModelConfig,
  length: number,
  layersAgain: boolean,
): number {
  const ofLayer = 6 * D + 3 * H * C + 4 * K * C + H * length + 4 * F;
  return layersAgain ? layers * D + 2 * ofLayer : layers * ofLayer;
}
