/**
 * @file Log-probs of completions with sequence packing: several rows share a sequence, each attending only to itself, so a
 * pass costs the actual tokens, not the number of rows times the longest. Layers and logits can be recomputed in the
 * backward pass instead of being kept.
 */
import * as tf from '@tensorflow/tfjs-core';
import { checkpointed, inTurn } from '../../engine/ops/gradient.js';
import { attention, embedding, maskedScore, tokenLogProbs } from '../../engine/ops/ops.js';
import type { TensorRecord, TensorSpec } from '../../engine/program.js';
import { type Float, take } from '../../engine/shape.js';
import type { ModelConfig } from './config.js';
import { type CompletionRow, completionTokens, tokensOf } from './log-probs.js';
import { lookupName } from './params.js';
import {
  type Angles,
  angles,
  attentionScale,
  embedTokens,
  finalNorm,
  layerPrefix,
  logits,
  transformerLayer,
  waiting,
} from './transformer.js';

/** Sizes of one pass. */
export interface PassShape {
  /** Number of sequences; `length` is their length in tokens. */
  readonly sequences: number;
  readonly length: number;
  /** Completion tokens in a pass, over all rows. */
  readonly predictions: number;
  /** Rows per update, which bounds the rows of a pass. */
  readonly rows: number;
  /** Tokens that all prompts begin with, fewer than any has; computed once per sequence, at its start. Default 0. */
  readonly sharedPrefix?: number;
}

/** A row's place in a pass. */
interface Placed {
  /** Index of the row in the update. */
  readonly row: number;
  readonly sequence: number;
  /** Place of the row's first token after the shared prefix. */
  readonly start: number;
}

export type Pass = readonly Placed[];

/**
 * Assigns rows to passes of `shape`, the longest first, each to the first sequence with room (first fit decreasing, which
 * needs at most 11/9 of the optimal number of sequences, plus one). Sequences are filled up to `length` tokens.
 *
 * @throws RangeError for a row that does not fit, or one without a prompt of its own: nothing predicts its first token.
 */
export function planPasses(
  rows: readonly CompletionRow[],
  { sequences, length, sharedPrefix = 0 }: Pick<PassShape, 'sequences' | 'length' | 'sharedPrefix'>,
): Pass[] {
  const byLength = rows.map((_, row) => row).sort((a, b) => tokensOf(rows[b]!) - tokensOf(rows[a]!) || a - b);
  const used: number[] = [];
  const passes: Placed[][] = [];
  for (const row of byLength) {
    const tokens = tokensOf(rows[row]!);
    const own = tokens - sharedPrefix;
    if (rows[row]!.promptIds.length <= sharedPrefix) {
      throw new RangeError('a completion needs at least one prompt token of its own before it');
    }
    if (tokens > length) throw new RangeError(`a row of ${tokens} tokens does not fit in ${length}`);
    const found = used.findIndex((filled) => filled + own <= length);
    const index = found < 0 ? used.length : found;
    const start = used[index] ?? sharedPrefix;
    used[index] = start + own;
    const pass = Math.floor(index / sequences);
    passes[pass] ??= [];
    passes[pass].push({ row, sequence: index % sequences, start });
  }
  return passes;
}

/**
 * The most completion tokens that a sequence can hold: rows with the shortest prompt and the longest completion.
 *
 * @param length of the sequence, without the shared prefix. @param shortestPrompt its length, also without the prefix.
 */
export function predictionsPerSequence(length: number, shortestPrompt: number, maxNewTokens: number): number {
  let most = 0;
  for (let rows = 1; rows * (shortestPrompt + 1) <= length; rows += 1) {
    most = Math.max(most, Math.min(rows * maxNewTokens, length - rows * shortestPrompt));
  }
  return most;
}

export const passInputs = ({ sequences: N, length: L, predictions: P }: PassShape) =>
  ({
    ids: { dtype: 'int32', shape: [N, L] },
    /** Position of each token in its row, from 0. */
    positions: { dtype: 'int32', shape: [N, L] },
    /** Number within the pass of the row that a token belongs to; padding: -1; the shared prefix: -2. */
    owners: { dtype: 'int32', shape: [N, L] },
    /** For each completion token the flat index (sequence * L + place) of the state that predicts it; padding: any. */
    predictors: { dtype: 'int32', shape: [P] },
    /** The completion's tokens; padding: any. */
    targets: { dtype: 'int32', shape: [P] },
    /** The row of the update that a completion token belongs to; padding: -1. */
    targetRows: { dtype: 'int32', shape: [P] },
    inverseTemperature: { dtype: 'float32', shape: [] },
  }) as const satisfies Record<string, TensorSpec>;

const paddingOwner = -1;
const prefixOwner = -2;

/**
 * Fills {@link passInputs} with the rows of one pass; completion tokens stand in the order of `pass`.
 *
 * @throws RangeError for rows that do not begin with the same `sharedPrefix` tokens.
 */
export function packPass(
  rows: readonly CompletionRow[],
  pass: Pass,
  { sequences: N, length: L, predictions: P, sharedPrefix = 0 }: PassShape,
): Record<Exclude<keyof ReturnType<typeof passInputs>, 'inverseTemperature'>, Int32Array> {
  const packed = {
    ids: new Int32Array(N * L),
    positions: new Int32Array(N * L),
    owners: new Int32Array(N * L).fill(paddingOwner),
    predictors: new Int32Array(P),
    targets: new Int32Array(P),
    targetRows: new Int32Array(P).fill(-1),
  };
  const put = (place: number, position: number, id: number, owner: number) => {
    packed.ids[place] = id;
    packed.positions[place] = position;
    packed.owners[place] = owner;
  };
  const prefix = Array.from(rows[pass[0]!.row]!.promptIds).slice(0, sharedPrefix);
  let next = 0;
  for (const { row, sequence, start } of pass) {
    const { promptIds, completionIds } = rows[row]!;
    const tokens = [...Array.from(promptIds), ...Array.from(completionIds)];
    // Where position 0 would be if the row had all its tokens to itself.
    const first = sequence * L + start - sharedPrefix;
    for (const [position, id] of tokens.entries()) {
      if (position >= sharedPrefix) put(first + position, position, id, row);
      else if (id === prefix[position]) put(sequence * L + position, position, id, prefixOwner);
      else throw new RangeError(`row ${row} does not begin with the ${sharedPrefix} tokens that all prompts share`);
    }
    for (let i = 0; i < completionIds.length; i += 1) {
      packed.predictors[next] = first + promptIds.length - 1 + i;
      packed.targets[next] = completionIds[i]!;
      packed.targetRows[next] = row;
      next += 1;
    }
  }
  return packed;
}

/** Completion tokens of a pass. */
export const predictionsOf = (rows: readonly CompletionRow[], pass: Pass) =>
  completionTokens(pass.map(({ row }) => rows[row]!));

/** `values` of the completion tokens of a pass, in the order of {@link packPass}, by row. */
export function* valuesByRow(
  rows: readonly CompletionRow[],
  pass: Pass,
  values: Float32Array,
): Generator<readonly [row: number, values: Float32Array]> {
  let next = 0;
  for (const { row } of pass) {
    const end = next + rows[row]!.completionIds.length;
    yield [row, values.slice(next, end)];
    next = end;
  }
}

/** One value per completion token of a pass, in the order of {@link packPass}; padding: 0. Inverts {@link valuesByRow}. */
export function packValues<Row extends CompletionRow>(
  rows: readonly Row[],
  pass: Pass,
  { predictions }: Pick<PassShape, 'predictions'>,
  valuesOf: (row: Row) => ArrayLike<number>,
): Float32Array {
  const packed = new Float32Array(predictions);
  let next = 0;
  for (const { row } of pass) {
    packed.set(valuesOf(rows[row]!), next);
    next += rows[row]!.completionIds.length;
  }
  return packed;
}

export type PassTensors = Readonly<Record<keyof ReturnType<typeof passInputs>, tf.Tensor>>;

/** Tensors shared by all forward passes over the same inputs. Made outside of a loss, so that tfjs does not free them. */
export interface PassContext {
  readonly inputs: PassTensors;
  readonly at: Angles;
  /** 0 where a token may attend to another, otherwise maskedScore: `[N, L, L]`. */
  readonly bias: Float<'N L L'>;
}

export function passContext(config: ModelConfig, inputs: PassTensors, { sharedPrefix = 0 }: PassShape): PassContext {
  const { positions } = inputs;
  // Compared as floats, exact up to 2^24: integers would be compared on the host, even in a program that runs on a GPU.
  const owners = inputs.owners.toFloat();
  const [, L] = take(owners.shape, 2);
  const place = tf.range(0, L, 1, 'float32');
  const later = tf.greater(place.expandDims(0), place.expandDims(1)).expandDims(0);
  const keys = owners.expandDims(1);
  const others = tf.notEqual(keys, owners.expandDims(2));
  const foreign = sharedPrefix > 0 ? tf.logicalAnd(others, tf.notEqual(keys, tf.scalar(prefixOwner))) : others;
  const bias = tf.mul(tf.logicalOr(later, foreign).toFloat(), maskedScore);
  return { inputs, at: angles(config, positions.toFloat()), bias };
}

export interface Recomputation {
  /** Whether layers keep only their inputs for the gradient. */
  readonly layers: boolean;
  /** Completion tokens whose logits are in memory at once. If not all, they are recomputed for the gradient. */
  readonly logitRows: number;
}

/** The output layer: hidden states `[N, D]` -> logits `[N, V]`. */
export type OutputLayer = (rows: Float<'N D'>) => Float<'N V'>;

/**
 * Log-prob of every completion token under softmax(logits / temperature), including padding: `[P]`.
 *
 * @param trained the parameters that get a gradient. They may include the tokens' embeddings in place of the table.
 * @param frozen all others, which outlive the gradient. @param output default: that of the parameters.
 */
export function packedLogProbs(
  trained: TensorRecord,
  frozen: TensorRecord,
  config: ModelConfig,
  context: PassContext,
  recompute: Recomputation,
  output?: OutputLayer,
): Float<'P'> {
  return packedPredictions(trained, frozen, config, context, recompute, output).logProbs;
}

/** {@link packedLogProbs} with the hidden states that predict the tokens, `[P, D]`. */
export function packedPredictions(
  trained: TensorRecord,
  frozen: TensorRecord,
  config: ModelConfig,
  { inputs, at, bias }: PassContext,
  recompute: Recomputation,
  output?: OutputLayer,
): { readonly logProbs: Float<'P'>; readonly hidden: Float<'P D'> } {
  const parameters = joined(trained, frozen);
  const { ids, predictors, targets, inverseTemperature } = inputs;
  const toLogits = output ?? ((rows) => logits(waiting(parameters, rows), config, rows));
  const scale = attentionScale(config);
  let x = trained[lookupName] ?? embedTokens(parameters, ids);
  for (let layer = 0; layer < config.layers; layer += 1) {
    const prefix = layerPrefix(layer);
    const names = Object.keys(trained).filter((name) => name.startsWith(prefix));
    const compute = (input: tf.Tensor, ...values: tf.Tensor[]) =>
      transformerLayer(
        joined(record(names, values), waiting(frozen, input)),
        config,
        layer,
        input,
        at,
        (_layer, q, k, v) => attention(q, k, v, bias, scale),
      );
    const layerInputs: [tf.Tensor, ...tf.Tensor[]] = [x, ...names.map((name) => trained[name]!)];
    x = recompute.layers ? checkpointed(compute, layerInputs) : compute(...layerInputs);
  }
  const states = finalNorm(parameters, config, x).reshape([-1, config.hiddenSize]);
  const hidden = embedding(states, predictors);
  const P = predictors.shape[0]!;
  const parts: tf.Tensor[] = [];
  for (let start = 0; start < P; start += recompute.logitRows) {
    const size = Math.min(recompute.logitRows, P - start);
    const compute = (rows: tf.Tensor) => {
      const partTargets = tf.slice(targets, [start], [size]);
      return tokenLogProbs(toLogits(rows), partTargets, inverseTemperature);
    };
    const rows = tf.slice(hidden, [start, 0], [size, config.hiddenSize]);
    const last = parts.at(-1);
    const partRows = last === undefined ? rows : inTurn(rows, last);
    parts.push(P > recompute.logitRows ? checkpointed(compute, [partRows]) : compute(partRows));
  }
  return { logProbs: parts.length === 1 ? parts[0]! : tf.concat(parts), hidden };
}

/** A record with the entries of both, read on access. */
function joined(first: TensorRecord, second: TensorRecord): TensorRecord {
  const view: Record<string, tf.Tensor> = Object.create(second);
  for (const name of Object.keys(first)) {
    Object.defineProperty(view, name, { enumerable: true, get: () => first[name] });
  }
  return view;
}

function record(names: readonly string[], values: readonly tf.Tensor[]): TensorRecord {
  return Object.fromEntries(names.map((name, index) => [name, values[index]!]));
}
