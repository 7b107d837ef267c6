/**
 * @file Log-probs of many completions of any lengths, at a cost proportional to their tokens: rows are packed into sequences
 * (network/packed.ts), short rows into shorter ones, which run in passes of at most four shapes. The function is the one
 * that training differentiates.
 */
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import type { Precision } from '../engine/choices.js';
import { defineFunction, type Runner } from '../engine/program.js';
import { roundUp } from './load.js';
import type { ModelConfig } from './network/config.js';
import { type CompletionRow, notFinite, tokensOf } from './network/log-probs.js';
import {
  type Pass,
  type PassShape,
  packedLogProbs,
  packPass,
  passContext,
  passInputs,
  planPasses,
  predictionsOf,
  valuesByRow,
} from './network/packed.js';

/** A function that passes run through. */
export interface ScoreGroup {
  /** The function's name. */
  readonly name: string;
  readonly shape: PassShape;
  /** Completion tokens whose logits are in memory together. */
  readonly logitRows: number;
  /** Approximate memory of one pass in bytes, without the weights. */
  readonly bytes: number;
}

export interface ScorePlan {
  readonly groups: readonly ScoreGroup[];
  /** In the order in which they run. A pass names its rows by their index among all rows. */
  readonly passes: readonly { readonly group: ScoreGroup; readonly pass: Pass }[];
}

/** Tokens of a pass: enough to keep the products large. */
const passTokens = 4096;
/** Memory for the attention scores of a pass; a single sequence is given more if it needs more. */
const attentionBytes = 2 ** 28;
/** Memory for the logits of one part of a pass. */
const logitBytes = 2 ** 26;
/** Rows are placed window by window: results then arrive nearly in the order of the rows. */
const windowTokens = 32 * passTokens;

/**
 * A token attends to its whole sequence, other rows masked, so short rows get shorter sequences: those of less than a
 * fourth of a group's longest row form the next group, except where they are too short for that to matter.
 */
const groupFactor = 4;
const maxGroups = 4;
const leastLength = 64;
const onePassLength = 512;

/** Which rows run together, in which shapes. @throws RangeError for a row without a prompt. */
export function planScoring(config: ModelConfig, rows: readonly CompletionRow[]): ScorePlan {
  const lengths = rows.map(tokensOf);
  const windows = windowsOf(lengths);
  const groupOf = grouping(lengths);
  const groups: ScoreGroup[] = [];
  const passesOf: Pass[][][] = [];
  for (let number = 0; number < maxGroups; number += 1) {
    const parts = windows.map((window) => window.filter((row) => groupOf(lengths[row]!) === number));
    const largest = parts.reduce((a, b) => (b.length > a.length ? b : a));
    if (largest.length === 0) continue;
    const longest = parts.reduce((most, part) => part.reduce((a, row) => Math.max(a, lengths[row]!), most), 0);
    const sizes = chooseSizes(config, pickRows(rows, largest), longest);
    const passes = parts.map((part) => placed(rows, part, sizes));
    const predictions = passes.flat().reduce((most, pass) => Math.max(most, predictionsOf(rows, pass)), 1);
    const shape = { ...sizes, predictions: roundUp(predictions, 16), rows: rows.length };
    groups.push(describeGroup(config, `score.${number}`, shape));
    passesOf.push(passes);
  }
  const passes = windows.flatMap((_, window) =>
    groups.flatMap((group, number) => passesOf[number]![window]!.map((pass) => ({ group, pass }))),
  );
  return { groups, passes };
}

/** Indices of the rows in their order, cut into windows. */
function windowsOf(lengths: readonly number[]): number[][] {
  const windows: number[][] = [[]];
  let tokens = 0;
  for (const [row, length] of lengths.entries()) {
    if (tokens > 0 && tokens + length > windowTokens) {
      windows.push([]);
      tokens = 0;
    }
    windows.at(-1)!.push(row);
    tokens += length;
  }
  return windows;
}

/** The number of the group of a row by its length. */
function grouping(lengths: readonly number[]): (length: number) => number {
  const longest = lengths.reduce((a, b) => Math.max(a, b), leastLength);
  const total = lengths.reduce((a, b) => a + b, 0);
  // Work that fits one pass is not worth a second function.
  if (total <= passTokens && longest <= onePassLength) return () => 0;
  const borders = Array.from({ length: maxGroups - 1 }, (_, i) => longest / groupFactor ** (i + 1));
  return (length) => borders.filter((border) => border >= leastLength && length <= border).length;
}

const pickRows = (rows: readonly CompletionRow[], indices: readonly number[]) => indices.map((row) => rows[row]!);

/** {@link planPasses} of some of the rows. */
function placed(
  rows: readonly CompletionRow[],
  indices: readonly number[],
  sizes: Pick<PassShape, 'sequences' | 'length'>,
): Pass[] {
  const passes = planPasses(pickRows(rows, indices), sizes);
  return passes.map((pass) => pass.map((place) => ({ ...place, row: indices[place.row]! })));
}

/** The length of sequences that makes `rows` cheapest, and how many run at once. */
function chooseSizes(config: ModelConfig, rows: readonly CompletionRow[], longest: number) {
  const least = roundUp(longest, 16);
  const total = rows.reduce((sum, row) => sum + tokensOf(row), 0);
  const most = Math.max(least, roundUp(total, 16));
  const candidates = [1, 1.5, 2, 3, 4].map((factor) => Math.min(most, roundUp(factor * least, 16)));
  const options = [...new Set(candidates)].map((length) => {
    const count = planPasses(rows, { sequences: 1, length }).length;
    return { length, count, cost: count * length * workPerToken(config, length) };
  });
  const { length, count } = options.reduce((a, b) => (b.cost < a.cost ? b : a));
  const atMost = (limit: number, each: number) => Math.max(1, Math.floor(limit / each));
  const together = Math.min(atMost(passTokens, length), atMost(attentionBytes, 4 * config.heads * length * length));
  // Passes of equal size leave no nearly empty one at the end.
  return { length, sequences: Math.ceil(count / Math.ceil(count / together)) };
}

/** Operations of a layer on one token: products with weights, with keys and values, and the softmax between them. */
function workPerToken({ hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F }: ModelConfig, length: number) {
  return 2 * D * (2 * H * C + 2 * K * C + 3 * F) + H * length * (4 * C + 20);
}

function describeGroup(config: ModelConfig, name: string, shape: PassShape): ScoreGroup {
  const { sequences: N, length: L, predictions: P } = shape;
  const fitting = Math.max(16, Math.floor(logitBytes / (4 * config.vocabSize)));
  const logitRows = roundUp(Math.ceil(P / Math.ceil(P / fitting)), 2);
  // Scores and logits are in memory about three times on the way to a softmax. The feed-forward part counts at its widest.
  const attention = 3 * 4 * config.heads * N * L * L;
  const logits = 3 * 4 * config.vocabSize * Math.min(P, logitRows);
  const layer = 4 * N * L * (4 * config.hiddenSize + 3 * config.ffnSize);
  return { name, shape, logitRows, bytes: Math.max(attention, logits, layer) };
}

export type ScoreFunctions = Readonly<Record<string, ReturnType<typeof scoreFunction>>>;

/** The functions that {@link score} runs. */
export function scoreFunctions(
  config: ModelConfig,
  groups: readonly ScoreGroup[],
  precision: Precision = 'f32',
): ScoreFunctions {
  return Object.fromEntries(groups.map((group) => [group.name, scoreFunction(config, group, precision)]));
}

function scoreFunction(config: ModelConfig, { shape, logitRows }: ScoreGroup, precision: Precision) {
  return defineFunction({
    inputs: passInputs(shape),
    outputs: { logProbs: 'float32' },
    precision,
    body: (state, inputs) => {
      const context = passContext(config, inputs, shape);
      return { outputs: { logProbs: packedLogProbs({}, state, config, context, { layers: false, logitRows }) } };
    },
  });
}

export interface ScoreOptions {
  readonly temperature: number;
  readonly signal?: AbortSignal;
  /** Called as soon as a row is scored, in the order of the passes. */
  readonly onRow?: (row: number, logProbs: Float32Array) => void;
}

/** Log-prob of every completion token of every row under softmax(logits / temperature). */
export async function score(
  program: Runner<ScoreFunctions>,
  { passes }: ScorePlan,
  rows: readonly CompletionRow[],
  { temperature, signal, onRow }: ScoreOptions,
): Promise<Float32Array[]> {
  const results: Float32Array[] = new Array(rows.length);
  const inverseTemperature = Float32Array.of(1 / temperature);
  for (const { group, pass } of passes) {
    await eventLoopTurn();
    signal?.throwIfAborted();
    const inputs = { ...packPass(rows, pass, group.shape), inverseTemperature };
    const { logProbs } = await program.run(group.name, inputs);
    for (const [row, result] of valuesByRow(rows, pass, logProbs)) {
      if (!result.every(Number.isFinite)) throw notFinite();
      results[row] = result;
      onRow?.(row, result);
    }
  }
  return results;
}
