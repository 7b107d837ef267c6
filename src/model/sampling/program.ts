/**
 * @file State and functions of a program that samples (sample.ts): caches, prefill, and decoding in several batch sizes.
 */
import type { Precision } from '../../engine/choices.js';
import { defineFunction, type TensorSpec } from '../../engine/program.js';
import type { ModelConfig } from '../network/config.js';
import { type DrawOptions, draw, drawInputs } from './draw.js';
import {
  admitFunction,
  type CacheSizes,
  cacheState,
  decodeLogits,
  moveFunction,
  prefillFunction,
  prefillSharedFunction,
} from './kv-cache.js';

/**
 * Batch sizes of decoding, largest first: `batch`, its halves and doubles, and `slots`. Each is at most twice the number of
 * rollouts for which it is chosen. There are few of them, since the engine compiles a function for each size on first use;
 * below four rows, the cost of a step barely depends on their number.
 */
export function decodeBatches({ slots, batch = slots }: Pick<CacheSizes, 'slots' | 'batch'>): number[] {
  const first = Math.min(slots, batch);
  const batches = [first];
  for (let last = first; last > 1; batches.push(last)) last = last > 4 ? Math.floor(last / 2) : 1;
  for (let next = 2 * first; next < slots; next *= 2) batches.unshift(next);
  return first === slots ? batches : [slots, ...batches];
}

/** Functions of the caches. */
function cacheFunctions(config: ModelConfig, sizes: CacheSizes, precision: Precision) {
  const { sharedPositions: shared = 0 } = sizes;
  return {
    prefill: { ...prefillFunction(config, sizes), precision },
    ...(shared > 0 && { prefillShared: { ...prefillSharedFunction(config, sizes), precision } }),
    admit: admitFunction(config, sizes),
    move: moveFunction(config, sizes),
  };
}

/** `decode`: computes and draws the next token of the first `rows` slots. */
function decodeFunction(
  config: ModelConfig,
  sizes: CacheSizes,
  rows: number,
  options: DrawOptions,
  precision: Precision,
) {
  const int: TensorSpec<'int32'> = { dtype: 'int32', shape: [rows] };
  return defineFunction({
    inputs: { tokens: int, positions: int, ...drawInputs(rows) },
    outputs: { tokens: 'int32', logProbs: 'float32' },
    precision,
    body(state, inputs) {
      const { logits, assign } = decodeLogits(state, config, sizes, inputs.tokens, inputs.positions);
      return { outputs: draw(logits, inputs, options), assign };
    },
  });
}

/** The functions that `sample` runs, with one that decodes for each of {@link decodeBatches}. */
export type SamplingFunctions = ReturnType<typeof cacheFunctions> &
  Readonly<Record<`decode.${number}`, ReturnType<typeof decodeFunction>>>;

/** State and functions that a program needs for `sample`, besides the parameters. */
export function samplingParts(
  config: ModelConfig,
  sizes: CacheSizes,
  options: DrawOptions,
  precision: Precision = 'f32',
): { state: ReturnType<typeof cacheState>; functions: SamplingFunctions } {
  const { sharedPositions: shared = 0 } = sizes;
  if (sizes.promptPositions > sizes.positions || (sizes.promptPositions - shared) % sizes.chunk !== 0) {
    throw new RangeError(`inconsistent cache sizes: ${JSON.stringify(sizes)}`);
  }
  const decoding = decodeBatches(sizes).map(
    (rows) => [`decode.${rows}`, decodeFunction(config, sizes, rows, options, precision)] as const,
  );
  const functions = { ...cacheFunctions(config, sizes, precision), ...Object.fromEntries(decoding) };
  return { state: cacheState(config, sizes), functions };
}
