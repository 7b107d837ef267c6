/**
 * @file Operations that update state tensors in place when compiled, and give the same results with plain ops when eager. Their
 * first arguments must be state tensors as received by a function's body; the results must be assigned to the same states.
 */
import * as tf from '@tensorflow/tfjs-core';
import { canUse, isTracing, runOp } from '../graph/trace.js';
import { nativeOps } from '../lowering/native-ops.js';
import { tensorflowOps } from '../lowering/tensorflow-ops.js';
import type { Float, Int } from '../shape.js';

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
