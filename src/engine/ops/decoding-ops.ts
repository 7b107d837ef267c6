/**
 * @file Decoding operations that exist only as native ops. Each returns undefined if the function being run or traced cannot
 * use it; the caller then composes the same result from other operations.
 *
 * A cache is two state tensors, keys and values, with rows `[(slot * K + head) * S + position, C]`.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { canUse, runOp } from '../graph/trace.js';
import { nativeOps } from '../lowering/native-ops.js';
import { assertShape, type Float, type Int } from '../shape.js';

interface CacheLayout {
  /** K: key/value heads. */
  readonly kvHeads: number;
  /** S: positions per slot. */
  readonly length: number;
}

export interface CacheTensors {
  readonly keys: Float<'R C'>;
  readonly values: Float<'R C'>;
}

/**
 * Attention of `q` `[B, T, H, C]` to the first B slots: `[B, T, H * C]`. Each query attends to the positions up to its own,
 * given by `positions` (int32 `[B | 1, T]`).
 */
export function cachedAttention(
  q: Float<'B T H C'>,
  { keys, values }: CacheTensors,
  positions: Int<'B T'>,
  layout: CacheLayout & { readonly scale: number },
): Float<'B T HC'> | undefined {
  if (!canUse(nativeOps.cachedAttention)) return undefined;
  return runOp(nativeOps.cachedAttention, { q, keys, values, positions }, layout)[0];
}

/** Weights of a pre-norm layer with grouped-query attention and SwiGLU, matrices `[out, in]`. */
export interface LayerWeights {
  readonly inputNorm: Float<'D'>;
  readonly q: Float<'HC D'>;
  readonly k: Float<'KC D'>;
  readonly v: Float<'KC D'>;
  readonly o: Float<'D HC'>;
  readonly postNorm: Float<'D'>;
  readonly gate: Float<'F D'>;
  readonly up: Float<'F D'>;
  readonly down: Float<'D F'>;
  readonly biases?: { readonly qBias: Float<'HC'>; readonly kBias: Float<'KC'>; readonly vBias: Float<'KC'> };
  /** RMSNorm of every query and key head, before the rotation. */
  readonly headNorms?: { readonly qNorm: Float<'C'>; readonly kNorm: Float<'C'> };
}

interface DecoderLayer {
  readonly weights: LayerWeights;
  readonly cache: CacheTensors;
}

/**
 * The layers of a decoder for one new position in each of the first B slots. Writes keys and values into the caches in place:
 * use and assign the returned states. Either all layers have biases and head norms, or none.
 *
 * @param x `[B, D]`. @param positions int32 `[B]`. @param cos `[B, C / 2]`, @param sin likewise: of the positions' angles.
 */
export function decoderLayers(
  x: Float<'B D'>,
  layers: readonly DecoderLayer[],
  at: { readonly positions: Int<'B'>; readonly cos: Float<'B C2'>; readonly sin: Float<'B C2'> },
  options: CacheLayout & { readonly scale: number; readonly epsilon: number },
): { x: Float<'B D'>; caches: CacheTensors[] } | undefined {
  if (!canUse(nativeOps.decoderLayers)) return undefined;
  assertShape('decoder layers positions', at.positions, 'B', assertShape('decoder layers input', x, 'B D'));
  const numbered = (part: (layer: DecoderLayer) => Readonly<Record<string, tf.Tensor>>) =>
    Object.fromEntries(
      layers.flatMap((layer, index) =>
        Object.entries(part(layer)).map(([name, tensor]) => [`${name}.${index}`, tensor] as const),
      ),
    );
  const caches = {
    ...numbered(({ cache }) => ({ keys: cache.keys })),
    ...numbered(({ cache }) => ({ values: cache.values })),
  };
  // The op takes the weights of a layer in this order.
  const weights = numbered(({ weights: { biases, headNorms, ...weights } }) => {
    const { inputNorm, q, k, v, o, postNorm, gate, up, down } = weights;
    return { inputNorm, q, k, v, o, postNorm, gate, up, down, ...biases, ...headNorms };
  });
  const [first] = layers;
  const [next, ...states] = runOp<[tf.Tensor, ...tf.Tensor[]]>(
    nativeOps.decoderLayers,
    { x, ...at, ...caches, ...weights },
    {
      ...options,
      caches: Object.keys(caches),
      weights: Object.keys(weights),
      biases: first?.weights.biases !== undefined,
      headNorms: first?.weights.headNorms !== undefined,
    },
  );
  const updated = layers.map((_, index) => ({ keys: states[index]!, values: states[layers.length + index]! }));
  return { x: next, caches: updated };
}

/**
 * Draws a token per row from softmax(scale * logits) by inverse CDF: `tokens` int32 `[B]` and their `logProbs` `[B]`.
 * @param uniforms `[B]`, in [0, 1). @param scale a scalar above 0.
 */
export function drawTokens(
  logits: Float<'B V'>,
  uniforms: Float<'B'>,
  scale: Float<''>,
): { tokens: Int<'B'>; logProbs: Float<'B'> } | undefined {
  if (!canUse(nativeOps.draw)) return undefined;
  const [tokens, logProbs] = runOp<[tf.Tensor, tf.Tensor]>(nativeOps.draw, { logits, uniforms, scale });
  return { tokens, logProbs };
}
