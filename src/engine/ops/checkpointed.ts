/**
 * @file Computation that the backward pass repeats instead of keeping what its gradient needs: a second forward pass for
 * less memory (Chen et al., arXiv 1604.06174). And order: the ops of a graph run as soon as their inputs are there; where
 * memory matters, {@link after} and {@link inTurn} make them wait. Eager engines follow the order of the code anyway.
 */
import * as tf from '@tensorflow/tfjs-core';
import { isTracing, tensorAfter } from '../graph/trace.js';
import { withGradient } from './gradient.js';

/**
 * `compute(...inputs)`, of which only `inputs` stay in memory until the gradient. The gradients are the same to the last
 * bit. In a graph the second computation begins when the gradient of the result is there, and not before.
 *
 * @param compute must be a function of `inputs` and of tensors that need no gradient and outlive the backward pass:
 *   state, inputs of the function, or what its body made outside of the loss.
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
  // tfjs has one tape. The outer backward pass needs its own again afterwards.
  const outer = state.activeTape;
  try {
    return tf.grads(compute)(inputs, dy);
  } finally {
    state.activeTape = outer;
  }
}

/**
 * `x`, not before `before` is computed. A state that is stored as bfloat16 is widened again, so that the wide copy that
 * earlier uses share need not live until then. `before` gets no gradient.
 */
export function after(x: tf.Tensor, before: tf.Tensor): tf.Tensor {
  return withGradient(
    [x],
    (value) => ({ value: held(value, before), save: [] }),
    (dy) => [dy],
  );
}

/**
 * {@link after} whose gradient has an order as well: what leads to `before` gets its gradient not before the gradient of the
 * result is there. Of parts that take turns only one is in memory, forward and back.
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
