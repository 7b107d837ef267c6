/** @file The gradient of a loss with respect to parameters by name; tfjs has it for lists. */
import * as tf from '@tensorflow/tfjs-core';
import type { TensorRecord } from '../program.js';

/**
 * The value of `loss`, a scalar, and its gradient with respect to the tensors of `state` called `names`, each shaped like
 * its tensor. `loss` receives these tensors by name and must depend on each.
 */
export function valueAndGradients(
  state: TensorRecord,
  names: readonly string[],
  loss: (parameters: TensorRecord) => tf.Tensor,
): { value: tf.Tensor; gradients: Record<string, tf.Tensor> } {
  const byName = (tensors: readonly tf.Tensor[]) =>
    Object.fromEntries(names.map((name, index) => [name, tensors[index]!]));
  // tfjs wants a Scalar, which is a Tensor with a narrower type.
  const listed = (...tensors: tf.Tensor[]) => loss(byName(tensors)) as tf.Scalar;
  const { value, grads } = tf.valueAndGrads(listed)(names.map((name) => state[name]!));
  return { value, gradients: byName(grads) };
}
