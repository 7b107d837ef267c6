/**
 * @file Gradient checkpointing: the backward pass recomputes intermediate results instead of keeping them, which saves memory
 * at the cost of a second forward pass (Chen et al., arXiv 1604.06174). Also execution order: ops of a graph run as soon as
 * their inputs are available; to save memory, {@link inTurn} makes them wait. Eager engines follow the order
 * of the code.
 */
import * as tf from '@tensorflow/tfjs-core';
import { isTracing, tensorAfter } from '../graph/trace.js';
import { withGradient } from './gradient.js';

/**
 * `compute(...inputs)`, of which only `inputs` stay in memory until the gradient. The gradients are bit-identical. In a graph,
 * the recomputation starts only when the gradient of the result is available.
 *
 * @param compute must depend only on `inputs` and on tensors that need no gradient and outlive the backward pass: state,
 *   inputs of the function, or tensors made outside of the loss.
 * @throws Error in the backward pass if the result does not depend on one of `inputs`.
 */
export function checkpointed(compute: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: readonly tf.Tensor[]): tf.Tensor {
  return withGradient(
    [...inputs],
    (...given) => ({ value: compute(...given), save: given }),
    (dy, saved) => gradientsAgain(compute, isTracing() ? saved.map((input) => tensorAfter(input, dy)) : saved, dy),
  );
}

/** Gradients of `compute` at `inputs` times `dy`, inside the backward pass of another computation. */
function gradientsAgain(
  compute: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  dy: tf.Tensor,
): tf.Tensor[] {
  const { state } = tf.engine();
  // tfjs has a single tape; restore the outer one afterwards.
  const outer = state.activeTape;
  try {
    return tf.grads(compute)(inputs, dy);
  } finally {
    state.activeTape = outer;
  }
}

/**
 * `x`, available only after `before` is computed; and `before` gets its gradient only after the gradient of the result is available.
 * Only one of the parts that take turns is in memory at a time, in the forward and the backward pass.
 */
export function inTurn(x: tf.Tensor, before: tf.Tensor): tf.Tensor {
  return withGradient(
    [x, before],
    (value, earlier) => ({ value: held(value, earlier), save: [] }),
    (dy) => [dy, held(tf.zeros(before.shape), dy)],
  );
}

function held(x: tf.Tensor, before: tf.Tensor): tf.Tensor {
  return isTracing() ? tensorAfter(x, before) : x.clone();
}
