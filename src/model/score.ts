/**
 * @file Log-probs of many completions of any length, with compiled functions of fixed sizes: rows of similar length share a
 * batch, in at most four shapes. Uses the function of network/log-probs.ts.
 */
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import type { Precision } from '../engine/choices.js';
import { defineFunction, type FunctionSpec, type Program } from '../engine/program.js';
import { roundUp } from './load.js';
import type { ModelConfig } from './network/config.js';
import {
  type CompletionRow,
  completionInputs,
  completionLogProbs,
  notFinite,
  packCompletions,
} from './network/log-probs.js';

/** Rows that run through the same function, B at a time. */
export interface ScoreGroup {
  /** The function's name. */
  readonly name: string;
  /** Indices of the rows. */
  readonly rows: readonly number[];
  /** B */
  readonly batch: number;
  /** T: tokens per row. */
  readonly length: number;
  /** W: completion tokens per row. */
  readonly width: number;
  /** Estimated memory of one run, without the weights. */
  readonly bytes: number;
}

/** Tokens per batch: enough for efficient matrix products. */
const batchTokens = 4096;
/** Bytes for the logits, and for the attention scores, of one batch. A single row may exceed this. */
const tensorBytes = 2 ** 28;
const maxGroups = 4;

/** Groups `rows` so that lengths within a group differ by at most a factor of two, which limits padding. */
export function scoreGroups(config: ModelConfig, rows: readonly CompletionRow[]): ScoreGroup[] {
  const lengths = rows.map(({ promptIds, completionIds }) => promptIds.length + completionIds.length);
  const longest = roundUp(Math.max(...lengths), 16);
  // Work that fits in one batch does not justify a second function.
  const split = rows.length * longest > batchTokens;
  const members: number[][] = Array.from({ length: maxGroups }, () => []);
  lengths.forEach((length, index) => {
    const halvings = split ? Math.min(maxGroups - 1, Math.floor(Math.log2(longest / length))) : 0;
    members[halvings]?.push(index);
  });
  return members.flatMap((indices, number) => {
    if (indices.length === 0) return [];
    const width = Math.max(1, ...indices.map((index) => rows[index]?.completionIds.length ?? 0));
    const length = roundUp(Math.max(...indices.map((index) => lengths[index] as number)), 16);
    const logitBytes = 4 * config.vocabSize * width;
    const attentionBytes = 4 * config.heads * length * length;
    const atMost = (limit: number, each: number) => Math.max(1, Math.floor(limit / each));
    const batch = Math.min(
      indices.length,
      atMost(batchTokens, length),
      atMost(tensorBytes, logitBytes),
      atMost(tensorBytes, attentionBytes),
    );
    // About three copies of each exist during a softmax.
    const bytes = 3 * batch * Math.max(logitBytes, attentionBytes);
    return [{ name: `score.${number}`, rows: indices, batch, length, width, bytes }];
  });
}

/** The functions that {@link score} runs. */
export function scoreFunctions(
  config: ModelConfig,
  groups: readonly ScoreGroup[],
  precision: Precision = 'f32',
): Record<string, FunctionSpec> {
  const entries = groups.map(({ name, batch, length, width }): [string, FunctionSpec] => [
    name,
    defineFunction({
      inputs: completionInputs(batch, length, width),
      precision,
      body: (state, inputs) => ({ outputs: { logProbs: completionLogProbs(state, config, inputs) } }),
    }),
  ]);
  return Object.fromEntries(entries);
}

export interface ScoreOptions {
  readonly temperature: number;
  readonly signal?: AbortSignal;
  /** Called as soon as a row is scored, in the order of the groups. */
  readonly onRow?: (row: number, logProbs: Float32Array) => void;
}

/** Log-prob of every completion token of every row under softmax(logits / temperature). */
export async function score(
  program: Program,
  groups: readonly ScoreGroup[],
  rows: readonly CompletionRow[],
  { temperature, signal, onRow }: ScoreOptions,
): Promise<Float32Array[]> {
  const results: Float32Array[] = new Array(rows.length);
  const inverseTemperature = Float32Array.of(1 / temperature);
  for (const { name, rows: members, batch, length, width } of groups) {
    for (let first = 0; first < members.length; first += batch) {
      await eventLoopTurn();
      signal?.throwIfAborted();
      const indices = members.slice(first, first + batch);
      const lot = indices.map((index) => rows[index] as CompletionRow);
      const inputs = { ...packCompletions(lot, batch, length, width), inverseTemperature };
      const logProbs = program.run(name, inputs).logProbs as Float32Array;
      indices.forEach((index, place) => {
        const count = (rows[index] as CompletionRow).completionIds.length;
        const row = logProbs.slice(place * width, place * width + count);
        if (!row.every(Number.isFinite)) throw notFinite();
        results[index] = row;
        onRow?.(index, row);
      });
    }
  }
  return results;
}
