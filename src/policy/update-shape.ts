/**
 * @file How an update is divided: the sequences per pass, and what the backward pass recomputes. Depends only on the model's
 * config, the sizes of the work and the kind of device, so that a run can be resumed on a similar machine with the same
 * result.
 */
import { leastShared, processorRoom, type Room, roundUp } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { type CompletionRow, tokensOf } from '../model/network/log-probs.js';
import {
  type PassShape,
  planPasses,
  predictionsOf,
  predictionsPerSequence,
  type Recomputation,
} from '../model/network/packed.js';
import { type LoraOptions, parameterCount } from '../model/network/params.js';

export interface UpdateShape extends PassShape {
  readonly recompute: Recomputation;
}

export interface UpdateWork {
  /** Length in tokens of each prompt. */
  readonly promptLengths: readonly number[];
  /** Number of tokens that all prompts start with. Default 0. */
  readonly sharedPrefix?: number | undefined;
  readonly maxNewTokens: number;
  /** Rows per update. */
  readonly batchSize: number;
  /** Longest rows per pass; absent: chosen here. */
  readonly microBatch?: number | undefined;
  /** Set if adapters are trained. */
  readonly lora?: LoraOptions | undefined;
  /** Default: that of a processor. */
  readonly room?: Room;
}

const floatBytes = 4;

/** Activations of a pass may take this share of weights, reference and moments in float32, if it is more than the room. */
const activationShare = 0.1;

/**
 * Weights of larger models leave the caches between passes and are rearranged in each, so passes have as many rows as fit; at
 * most twice as many as otherwise if layers are recomputed, since models that need that have no memory to spare.
 */
const cachedParameters = 2 ** 24;

export function chooseUpdateShape(config: ModelConfig, work: UpdateWork): UpdateShape {
  const { promptLengths, maxNewTokens, batchSize, microBatch, lora, room = processorRoom } = work;
  const longest = Math.max(...promptLengths) + maxNewTokens;
  const sharedPrefix = worthSharing(work) ? work.sharedPrefix! : 0;
  // Rows with a shared prefix follow it in one sequence; otherwise each has a sequence, which shorter rows share.
  const sizesOf = (rows: number) =>
    sharedPrefix > 0
      ? { sequences: 1, length: sharedPrefix + rows * (longest - sharedPrefix) }
      : { sequences: rows, length: longest };
  const bytes = (rows: number, layers: boolean) => {
    const { sequences, length } = sizesOf(rows);
    return floatBytes * sequences * length * activationsPerToken(config, length, layers);
  };
  const parameters = parameterCount(config);
  const usual = room.activationBytes[lora === undefined ? 'all' : 'adapters'];
  const budget = Math.max(usual, activationShare * 16 * parameters);
  const fewest = microBatch ?? Math.max(1, Math.ceil(batchSize / room.passesPerUpdate));
  // Recomputing layers takes a third more time, which is still less than running passes of very few rows.
  const layers = bytes(Math.min(fewest, 4), false) > budget;
  const most = parameters <= cachedParameters ? fewest : layers ? 2 * fewest : batchSize;
  let rows = microBatch ?? Math.min(batchSize, most);
  while (microBatch === undefined && rows > 1 && bytes(rows, layers) > budget) rows -= 1;
  const { sequences, length } = sizesOf(rows);
  const shortest = Math.min(...promptLengths) - sharedPrefix;
  const predictions = sequences * predictionsPerSequence(length - sharedPrefix, shortest, maxNewTokens);
  return {
    sequences,
    length,
    predictions,
    rows: batchSize,
    sharedPrefix,
    recompute: { layers, logitRows: logitRowsOf(config, predictions, room) },
  };
}

/** Completion tokens of a pass, of `predictions` in all, whose logits are computed together. */
function logitRowsOf({ vocabSize }: ModelConfig, predictions: number, { logitBytes }: Room): number {
  const rowsAtOnce = Math.max(16, Math.floor(logitBytes / (3 * floatBytes * vocabSize)));
  const parts = Math.ceil(predictions / rowsAtOnce);
  return parts === 1 ? predictions : roundUp(Math.ceil(predictions / parts), 2);
}

/**
 * The shape of passes over batches that are known in advance.
 *
 * @param batches the rows of each update, and of each measurement.
 */
export function shapeOfBatches(
  config: ModelConfig,
  batches: readonly (readonly CompletionRow[])[],
  { batchSize, microBatch, lora, room = processorRoom }: Pick<UpdateWork, 'batchSize' | 'microBatch' | 'lora' | 'room'>,
): UpdateShape {
  const longest = batches.flat().reduce((most, row) => Math.max(most, tokensOf(row)), 2);
  const shape = chooseUpdateShape(config, {
    promptLengths: [1],
    maxNewTokens: longest - 1,
    batchSize,
    microBatch,
    lora,
    room,
  });
  const predicted = batches.flatMap((rows) => planPasses(rows, shape).map((pass) => predictionsOf(rows, pass)));
  const most = predicted.reduce((a, b) => Math.max(a, b), 1);
  const predictions = roundUp(most, 16);
  return {
    ...shape,
    predictions,
    rows: batches.reduce((count, { length }) => Math.max(count, length), 1),
    recompute: { ...shape.recompute, logitRows: logitRowsOf(config, predictions, room) },
  };
}

/** Whether computing a shared prefix once saves more than the longer sequences cost: a quarter of each prompt, at least. */
function worthSharing({
  sharedPrefix = 0,
  promptLengths,
}: Pick<UpdateWork, 'sharedPrefix' | 'promptLengths'>): boolean {
  return sharedPrefix >= leastShared && sharedPrefix >= Math.max(...promptLengths) / 4;
}

/**
 * Floats per token that the forward pass keeps for the backward pass. For every layer: two normalised inputs before and
 * after scaling, the residual stream, rotated queries, keys and values, attention weights and output, and gate, up, sigmoid
 * and product of the feed-forward part.
 *
 * @param layersAgain whether layers are recomputed: then only each layer's input is kept, and the rest for one layer at a time.
 */
export function activationsPerToken(
  { layers, hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F }: ModelConfig,
  length: number,
  layersAgain: boolean,
): number {
  const ofLayer = 6 * D + 3 * H * C + 4 * K * C + H * length + 4 * F;
  return layersAgain ? layers * D + 2 * ofLayer : layers * ofLayer;
}
