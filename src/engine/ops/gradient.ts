/** @file A value with a gradient of its own: tfjs's customGrad, typed, for the operations of ops.ts. */
import * as tf from '@tensorflow/tfjs-core';

/**
 * `forward` computes the value and names what the gradient needs; `backward` gets these, since tfjs frees everything
 * else after the forward pass. tfjs's own typing of customGrad wants a gradient per input, which `backward` returns.
 */
export function withGradient<Inputs extends tf.Tensor[], Saved extends tf.Tensor[]>(
  inputs: [...Inputs],
  forward: (...inputs: Inputs) => { value: tf.Tensor; save: [...Saved] },
  backward: (dy: tf.Tensor, saved: Saved) => tf.Tensor[],
): tf.Tensor {
  const op = tf.customGrad((...args) => {
    const save = args.pop() as unknown as (tensors: tf.Tensor[]) => void;
    const result = forward(...(args as unknown as Inputs));
    save(result.save);
    return { value: result.value, gradFunc: backward as never };
  });
  return op(...inputs);
}

/** `x @ weight^T` as `forward` computes it, with the gradient of such a product. */
export function productWithGradient(
  x: tf.Tensor,
  weight: tf.Tensor,
  forward: (x: tf.Tensor, weight: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  return withGradient(
    [x, weight],
    (rows, matrix) => ({ value: forward(rows as tf.Tensor, matrix as tf.Tensor), save: [rows, matrix] as tf.Tensor[] }),
    (dy, [rows, matrix]) => [
      tf.matMul(dy as tf.Tensor2D, matrix as tf.Tensor2D),
      tf.matMul(dy as tf.Tensor2D, rows as tf.Tensor2D, true, false),
    ],
  );
}
