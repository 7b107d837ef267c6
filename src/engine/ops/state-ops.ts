/**
 * @file Operations that update state tensors in place when compiled, and give the same results with plain ops when eager. Their
 * first arguments must be state tensors as received by a function's body; the results must be assigned to the same states.
 */
import * as tf from '@tensorflow/tfjs-core';
import { canUse, isTracing, runOp, tensorAfter } from '../graph/trace.js';
import { tensorflowOps } from '../lowering/beyond-tfjs.js';
import { nativeOps } from '../lowering/native-ops.js';
import type { Float, Int } from '../shape.js';
import { matMul } from './gradient.js';
import { sumsByRow } from './ops.js';

/**
 * `state` `[R, ...]` with rows replaced: `result[indices[i]] = rows[i]`. `indices` `[N]` must be distinct. When compiled, the
 * rows are written into the state's memory, so use the result, not `state`, in the rest of the function.
 * `state` may be a reshaped state tensor; reshape the result back before assigning it.
 */
export function updateRows(state: Float<'R ...'>, indices: Int<'N'>, rows: Float<'N ...'>): Float<'R ...'> {
  if (isTracing()) return runOp(tensorflowOps.updateRows, { state, indices, rows })[0];
  return tf.tensorScatterUpdate(state, indices.expandDims(-1), rows);
}

/**
 * `state + value`, added to the state's memory as soon as `value` is available, so that values need not wait for each other.
 * For sums that are discarded when the function fails: unlike other assignments, this one may then have happened. The state
 * must not be used otherwise in the function, but more values can be added to the result.
 */
export function addInto(state: tf.Tensor, value: tf.Tensor): tf.Tensor {
  if (isTracing()) return runOp(tensorflowOps.addInto, { state, value })[0];
  return tf.add(state, value);
}

/** {@link addInto} of rows: `rows[i]` `[N, D]` is added to row `ids[i]` of `state` `[V, D]`, one after the other. */
export function addRowsInto(state: Float<'V D'>, ids: Int<'N'>, rows: Float<'N D'>): Float<'V D'> {
  const [V = 0] = state.shape;
  if (isOwnMemory()) return runOp(tensorflowOps.addRowsInto, { state, indices: ids, rows }, { parts: V })[0];
  return addInto(state, sumsByRow(rows, ids, V));
}

/** Elements of a product that are in memory at a time: 17 MB as float32. */
const productAtOnce = 1 << 22;

/** {@link addInto} of `dy^T @ x`, one part of the product at a time: `state` `[V, D]`, `dy` `[R, V]`, `x` `[R, D]`. */
export function addProductInto(state: Float<'V D'>, dy: Float<'R V'>, x: Float<'R D'>): Float<'V D'> {
  const [V = 0, D = 1] = state.shape;
  const parts = isOwnMemory() ? partsOf(V, productAtOnce / D) : 1;
  if (parts === 1) return addInto(state, matMul(dy, x, true, false));
  const [rows = 0] = dy.shape;
  const size = V / parts;
  let sum = state;
  for (let part = 0; part < parts; part += 1) {
    const columns = tf.slice(tensorAfter(dy, sum), [0, part * size], [rows, size]);
    const product = { indices: tf.tensor1d([part], 'int32'), rows: matMul(columns, x, true, false) };
    sum = runOp(tensorflowOps.addRowsInto, { state: sum, ...product }, { parts })[0];
  }
  return sum;
}

/** Whether state is in memory of our kernels on a processor: they give it back, and add rows one after the other. */
const isOwnMemory = () => canUse(nativeOps.clear);

/** The smallest number of equal parts of `count` rows with at most `most` rows each; 1 if that number exceeds 512. */
function partsOf(count: number, most: number): number {
  for (let parts = Math.ceil(count / most); parts <= 512; parts += 1) if (count % parts === 0) return parts;
  return 1;
}

/** {@link clear} for state that stays unused for a while. Our kernels return its memory to the system until its next use. */
export function release(state: tf.Tensor): tf.Tensor {
  return isOwnMemory() ? runOp(nativeOps.clear, { state })[0] : clear(state);
}

/** Fills `state` with zeros as soon as the function runs, even if it then fails. */
export function clear(state: tf.Tensor): tf.Tensor {
  if (isTracing()) return runOp(tensorflowOps.clear, { state })[0];
  return tf.zerosLike(state);
}

interface AdamWStates {
  readonly parameter: tf.Tensor;
  /** First and second moment of the gradient, shaped like the parameter. */
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
}

/** Scalars (float32 tensors of rank 0) of one step t = 1, 2, ...; computed in double precision by optim/adamw.ts. */
interface AdamWScalars {
  readonly learningRate: tf.Tensor;
  /** beta1^t and beta2^t. */
  readonly beta1Power: tf.Tensor;
  readonly beta2Power: tf.Tensor;
  /** epsilon * sqrt(1 - beta2^t): TensorFlow's epsilon hat, which makes its update equal to PyTorch's. */
  readonly epsilon: tf.Tensor;
  /** learningRate * weightDecay. */
  readonly decay: tf.Tensor;
  /** Factor of the gradient, for clipping. */
  readonly scale: tf.Tensor;
}

/** The sum of all squares, a scalar. */
export function sumOfSquares(x: tf.Tensor): Float<''> {
  if (canUse(nativeOps.sumOfSquares)) return runOp(nativeOps.sumOfSquares, { x })[0];
  return tf.sum(tf.square(x));
}

/**
 * One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, as in torch.optim.AdamW):
 * parameter -= decay * parameter; m and v are the moving averages of g and g^2;
 * parameter -= learningRate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilonHat).
 *
 * @param decays false omits the decay from the graph, for biases and norms.
 */
export function adamW(
  states: AdamWStates,
  gradient: tf.Tensor,
  scalars: AdamWScalars,
  options: { readonly beta1: number; readonly beta2: number; readonly decays: boolean },
): AdamWStates {
  const run = (op: string, inputs: Record<string, tf.Tensor>): AdamWStates => {
    const [parameter, m, v] = runOp<[tf.Tensor, tf.Tensor, tf.Tensor]>(op, inputs, options);
    return { parameter, m, v };
  };
  if (canUse(nativeOps.adamW)) return run(nativeOps.adamW, { ...states, gradient, ...scalars });
  const { scale, ...rates } = scalars;
  const scaled = tf.mul(gradient, scale);
  if (isTracing()) return run(tensorflowOps.adamW, { ...states, gradient: scaled, ...rates });
  const { beta1, beta2, decays } = options;
  const m = tf.add(tf.mul(states.m, beta1), tf.mul(scaled, 1 - beta1));
  const v = tf.add(tf.mul(states.v, beta2), tf.mul(tf.square(scaled), 1 - beta2));
  const kept = decays ? tf.sub(states.parameter, tf.mul(states.parameter, scalars.decay)) : states.parameter;
  const rate = tf.div(
    tf.mul(scalars.learningRate, tf.sqrt(tf.sub(1, scalars.beta2Power))),
    tf.sub(1, scalars.beta1Power),
  );
  const parameter = tf.sub(kept, tf.div(tf.mul(m, rate), tf.add(tf.sqrt(v), scalars.epsilon)));
  return { parameter, m, v };
}
