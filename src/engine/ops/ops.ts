/**
 * @file Differentiable operations with exact, efficient gradients, for every engine. tfjs's own gradients of these compositions
 * are missing, wrong for broadcast batches, or build large constants (tfjs-core 4.22); each gradient here is tested against
 * finite differences. Compiled functions that may use native ops use those of ops-native.ts instead.
 *
 * Shapes use the alphabet of shape.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  canUse,
  isStoredInBytes,
  isTracing,
  onGpu,
  productDtype,
  runOp,
  usesOwnKernel,
  widenedAfter,
} from '../graph/trace.js';
import { tensorflowOps } from '../lowering/beyond-tfjs.js';
import { nativeOps } from '../lowering/native-ops.js';
import { assertShape, type Float, type Int, take } from '../shape.js';
import { matMul, productAdding, productWithGradient, withGradient } from './gradient.js';
import * as native from './ops-native.js';

/** Added to masked scores: exp then gives exactly 0, and a fully masked row does not give NaN. */
export const maskedScore = -1e9;

/** Rows of `table` `[V, D]` at `ids` (int32, any shape `[...]`): `[..., D]`. */
export function embedding(table: Float<'V D'>, ids: Int<'...'>): Float<'... D'> {
  const { V, D } = assertShape('embedding table', table, 'V D');
  return withGradient(
    [table],
    (rows) => ({ value: tf.gather(rows, ids), save: [ids] }),
    (dy, [saved]) => [sumsByRow(dy.reshape([-1, D]), saved.reshape([-1]), V)],
  );
}

/** `[V, D]`: row v is the sum of the `rows` `[N, D]` with `ids` v. */
export function sumsByRow(rows: Float<'N D'>, ids: Int<'N'>, V: number): Float<'V D'> {
  if (tf.getKernel('UnsortedSegmentSum', tf.getBackend()) !== undefined) {
    return tf.unsortedSegmentSum(rows, ids as tf.Tensor1D, V);
  }
  return matMul(tf.oneHot(ids, V).toFloat(), rows, true, false);
}

/** Elements of a weight that is too large to stay in the processor's cache. */
export const largeWeight = 1 << 16;

/**
 * Up to this many rows, a product with a large weight takes about as long as reading the weight, which TensorFlow would
 * rearrange first. With bfloat16 tile instructions, rearranging pays off sooner.
 */
const fewRows = { float32: 16, bfloat16: 4 } as const;

/**
 * With at least this many multiplications, a product is split in halves: TensorFlow may compute an op on a single thread (see
 * native.ts), which leaves the other idle. Not on a GPU, where splitting would only add copies.
 */
const largeProduct = 1e8;

/** Up to this many rows, the weight is split; beyond, the rows are. TensorFlow rearranges the other operand twice. */
const maxRowsForWeightHalves = 128;

/** `x @ weight^T + bias` over the last axis; `weight` is `[out, in]` as in PyTorch. */
export function linear(x: Float<'... D'>, weight: Float<'E D'>, bias?: Float<'E'>): Float<'... E'> {
  const [outWidth = 0, inWidth = 0] = weight.shape;
  const rows = x.rank === 2 ? x : x.reshape([-1, inWidth]);
  const product = rowsTimes(rows, weight);
  const result = bias === undefined ? product : tf.add(product, bias);
  return x.rank === 2 ? result : result.reshape([...x.shape.slice(0, -1), outWidth]);
}

/** `x @ weight^T` with a gradient for x only. `add` receives dy and x, from which it can compute the weight's: dy^T @ x. */
export function trainedLinear(
  x: Float<'R D'>,
  weight: Float<'E D'>,
  add: (dy: Float<'R E'>, x: Float<'R D'>) => void,
): Float<'R E'> {
  return productAdding(x, weight, (rows, matrix) => linear(rows, matrix), add);
}

function rowsTimes(rows: Float<'R D'>, weight: Float<'E D'>): Float<'R E'> {
  const [[count = 0], [outWidth = 0]] = [rows.shape, weight.shape];
  if (weight.size < largeWeight || !isTracing() || onGpu()) return times(rows, weight);
  if (count <= fewRows[productDtype(weight)] && canUse(nativeOps.linear)) return native.product(rows, weight);
  // Otherwise all weights of a function would be wide at the same time.
  if (isStoredInBytes(weight)) return times(rows, widenedAfter(weight, rows));
  if (count * weight.size < largeProduct || usesOwnKernel(count, weight.size)) return times(rows, weight);
  if (count <= maxRowsForWeightHalves && outWidth % 2 === 0) {
    return productWithGradient(rows, weight, (x, matrix) =>
      tf.concat(
        tf.split(matrix, 2).map((half) => times(x, half)),
        1,
      ),
    );
  }
  if (count % 2 !== 0) return times(rows, weight);
  return productWithGradient(rows, weight, (x, matrix) => tf.concat(tf.split(x, 2).map((half) => times(half, matrix))));
}

function times(rows: Float<'R D'>, weight: Float<'E D'>): Float<'R E'> {
  const forward = (x: tf.Tensor, matrix: tf.Tensor) => matMul(x, matrix, false, true);
  return isTracing() ? productWithGradient(rows, weight, forward) : forward(rows, weight);
}

/**
 * log softmax(scale * logits)[id] for each row: `[N]`. `scale`, a scalar above 0 such as 1 / temperature, gets no gradient.
 * The gradient of the logits is dy * scale * (onehot(id) - softmax(scale * logits)).
 */
export function tokenLogProbs(logits: Float<'N V'>, ids: Int<'N'>, scale?: Float<''>): Float<'N'> {
  assertShape('logits', ids, 'N', assertShape('logits', logits, 'N V'));
  if (canUse(nativeOps.logProb)) return native.tokenLogProbs(logits, ids, scale ?? tf.scalar(1));
  return unscaledLogProbs(scale === undefined ? logits : tf.mul(logits, scale), ids);
}

function unscaledLogProbs(logits: Float<'N V'>, ids: Int<'N'>): Float<'N'> {
  const V = logits.shape[1]!;
  if (onGpu()) {
    // On a GPU, TensorFlow's cross-entropy adds in any order and refuses to run where results must repeat.
    return withGradient(
      [logits],
      (x) => {
        const all = tf.logSoftmax(x);
        return { value: elementPerRow(all, ids), save: [all] };
      },
      (dy, [all]) => {
        const oneHot = tf.oneHot(ids, V).toFloat();
        return [tf.mul(tf.sub(oneHot, tf.exp(all)), dy.expandDims(-1))];
      },
    );
  }
  if (isTracing()) {
    return withGradient(
      [logits],
      (x) => {
        const [loss, dLogits] = runOp<[tf.Tensor, tf.Tensor]>(tensorflowOps.crossEntropy, { logits: x, labels: ids });
        return { value: tf.neg(loss), save: [dLogits] };
      },
      (dy, [dLogits]) => [tf.mul(dLogits, tf.neg(dy).expandDims(-1))],
    );
  }
  return withGradient(
    [logits],
    (x) => {
      const shifted = tf.sub(x, tf.max(x, -1, true));
      const logSum = tf.log(tf.sum(tf.exp(shifted), -1));
      const picked = tf.sum(tf.mul(shifted, tf.oneHot(ids, V).toFloat()), -1);
      return { value: tf.sub(picked, logSum), save: [x, ids] };
    },
    (dy, [x, savedIds]) => {
      const oneHot = tf.oneHot(savedIds, V).toFloat();
      return [tf.mul(tf.sub(oneHot, tf.softmax(x)), dy.expandDims(-1))];
    },
  );
}

/** `x[row, columns[row]]` for every row of `x` `[B, N]`: `[B]`. */
export function elementPerRow(x: tf.Tensor, columns: Int<'B'>): tf.Tensor {
  const [B, N] = take(x.shape, 2);
  // TensorFlow adds and reshapes integers on the host, even in a program that runs on a GPU.
  if (isTracing()) return tf.gather(x, columns, 1, 1);
  // Gathering with batch dimensions reads out of bounds on tfjs's wasm backend.
  const starts = tf.mul(tf.range(0, B, 1, 'int32'), tf.scalar(N, 'int32'));
  return tf.gather(x.reshape([B * N]), tf.add(starts, columns));
}

/** x / sqrt(mean(x^2) + epsilon) * weight over the last axis (Zhang and Sennrich, arXiv 1910.07467). */
export function rmsNorm(x: Float<'... D'>, weight: Float<'D'>, epsilon: number): Float<'... D'> {
  const width = x.shape.at(-1)!;
  assertShape('RMSNorm weight', weight, 'D', { D: width });
  if (canUse(nativeOps.rmsNorm)) return native.rmsNorm(x, weight, epsilon);
  return withGradient(
    [x, weight],
    (input, scale) => {
      const meanSquare = tf.mean(tf.square(input), -1, true);
      const inverse = tf.rsqrt(tf.add(meanSquare, epsilon));
      const normal = tf.mul(input, inverse);
      return { value: tf.mul(normal, scale), save: [normal, inverse, scale] };
    },
    (dy, [normal, inverse, scale]) => {
      const dNormal = tf.mul(dy, scale);
      const along = tf.mean(tf.mul(dNormal, normal), -1, true);
      const dx = tf.mul(tf.sub(dNormal, tf.mul(normal, along)), inverse);
      const dWeight = tf.sum(tf.mul(dy, normal).reshape([-1, width]), 0);
      return [dx, dWeight];
    },
  );
}

/**
 * Rotary position embedding in the "rotate half" layout of Hugging Face (Su et al., arXiv 2104.09864).
 *
 * @param x `[B, T, N, C]`: heads of queries or keys.
 * @param cos `[B | 1, T, C / 2]`, @param sin likewise: of the angles position * frequency. They get no gradient.
 */
export function rope(x: Float<'B T N C'>, cos: Float<'B T C2'>, sin: Float<'B T C2'>): Float<'B T N C'> {
  if (canUse(nativeOps.rope)) return native.rope(x, cos, sin);
  return withGradient(
    [x],
    (input) => ({ value: rotate(input, cos, sin), save: [cos, sin] }),
    // The transpose of a rotation is its inverse.
    (dy, [savedCos, savedSin]) => [rotate(dy, savedCos, tf.neg(savedSin))],
  );
}

function rotate(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor {
  if (onGpu()) return rotateWhole(x, cos, sin);
  const [first, second] = take(tf.split(x, 2, -1), 2);
  const c = cos.expandDims(2);
  const s = sin.expandDims(2);
  return tf.concat([tf.sub(tf.mul(first, c), tf.mul(second, s)), tf.add(tf.mul(second, c), tf.mul(first, s))], -1);
}

/** The same rotation with half as many kernels, for a GPU, where each takes about as long to start as to run. */
function rotateWhole(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor {
  const half = cos.shape.at(-1)!;
  const swapped = Array.from({ length: 2 * half }, (_, channel) => (channel + half) % (2 * half));
  const other = tf.gather(x, tf.tensor1d(swapped, 'int32'), -1);
  const c = tf.concat([cos, cos], -1).expandDims(2);
  const s = tf.concat([tf.neg(sin), sin], -1).expandDims(2);
  return tf.add(tf.mul(x, c), tf.mul(other, s));
}

/**
 * Grouped-query attention: query head h reads key/value head floor(h * K / H).
 *
 * @param q `[B, T, H, C]`, @param k `[B, S, K, C]`, @param v `[B, S, K, C]`.
 * @param bias added to the scores, `[B | 1, T, S]`: 0 where a position may be attended to, maskedScore elsewhere. It
 *   gets no gradient.
 * @param scale usually 1 / sqrt(C).
 * @returns `[B, T, H * C]`.
 */
export function attention(
  q: Float<'B T H C'>,
  k: Float<'B S K C'>,
  v: Float<'B S K C'>,
  bias: Float<'B T S'>,
  scale: number,
): Float<'B T HC'> {
  const dims = assertShape('keys', k, 'B S K C', assertShape('queries', q, 'B T H C'));
  assertShape('values', v, 'B S K C', dims);
  const { B, T, H, C, S, K } = dims;
  if (H % K !== 0) throw new Error(`attention: ${H} query heads cannot share ${K} key/value heads evenly`);
  if (canUse(nativeOps.attention)) return native.attention(q, k, v, bias, scale);
  const G = H / K;
  // Heads of a group become rows of one product, so that keys are not repeated.
  const groupRows = (x: tf.Tensor) =>
    x
      .reshape([B, T, K, G, C])
      .transpose([0, 2, 3, 1, 4])
      .reshape([B * K, G * T, C]);
  const ungroup = (x: tf.Tensor) => x.reshape([B, K, G, T, C]).transpose([0, 3, 1, 2, 4]);
  const perHead = (x: tf.Tensor) => x.transpose([0, 2, 1, 3]).reshape([B * K, S, C]);
  return withGradient(
    [q, k, v],
    (queries, keys, values) => {
      const rows = groupRows(tf.mul(queries, scale));
      const keyRows = perHead(keys);
      const valueRows = perHead(values);
      const scores = matMul(rows, keyRows, false, true).reshape([B, H, T, S]);
      const weights = tf.softmax(tf.add(scores, bias.expandDims(1))).reshape([B * K, G * T, S]);
      const mixed = matMul(weights, valueRows);
      const value = ungroup(mixed).reshape([B, T, H * C]);
      return { value, save: [rows, keyRows, valueRows, weights, mixed] };
    },
    (dy, [rows, keyRows, valueRows, weights, mixed]) => {
      const dMixed = groupRows(dy.reshape([B, T, H, C]));
      const dValues = matMul(weights, dMixed, true, false);
      const dWeights = matMul(dMixed, valueRows, false, true);
      // sum over S of dWeights * weights, computed over C, which is shorter.
      const along = tf.sum(tf.mul(dMixed, mixed), -1, true);
      const dScores = tf.mul(weights, tf.sub(dWeights, along));
      const dRows = tf.mul(matMul(dScores, keyRows), scale);
      const dKeys = matMul(dScores, rows, true, false);
      const fromHeads = (x: tf.Tensor) => x.reshape([B, K, S, C]).transpose([0, 2, 1, 3]);
      return [ungroup(dRows).reshape([B, T, H, C]), fromHeads(dKeys), fromHeads(dValues)];
    },
  );
}

/**
 * silu(gate) * up, the gated activation of SwiGLU (Shazeer, arXiv 2002.05202). The order of multiplication prevents TensorFlow
 * from fusing it, which it would do only without a gradient: a policy must round exactly as its reference does.
 */
export function swiglu(gate: Float<'... F'>, up: Float<'... F'>): Float<'... F'> {
  if (canUse(nativeOps.swiglu)) return native.swiglu(gate, up);
  return withGradient(
    [gate, up],
    (g, u) => {
      const sigmoid = tf.sigmoid(g);
      const value = tf.mul(g, tf.mul(sigmoid, u));
      return { value, save: [sigmoid, g, u] };
    },
    (dy, [sigmoid, g, u]) => {
      const silu = tf.mul(g, sigmoid);
      // silu' = sigmoid + silu * (1 - sigmoid)
      const slope = tf.add(sigmoid, tf.mul(silu, tf.sub(1, sigmoid)));
      return [tf.mul(tf.mul(dy, u), slope), tf.mul(dy, silu)];
    },
  );
}
