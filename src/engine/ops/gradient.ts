/** @file Values with gradients of their own: tfjs's customGrad, typed; products; computation that is repeated instead of kept. */
import * as tf from '@tensorflow/tfjs-core';
import { isTracing, tensorAfter } from '../graph/trace.js';
import type { TensorRecord } from '../program.js';

/**
 * `forward` computes the value and names what the gradient needs; `backward` receives these, since tfjs frees everything
 * else after the forward pass, and returns a gradient for each input.
 */
export function withGradient<Inputs extends tf.Tensor[], Saved extends tf.Tensor[]>(
  inputs: [...Inputs],
  forward: (...inputs: Inputs) => { value: tf.Tensor; save: [...Saved] },
  backward: (dy: tf.Tensor, saved: Saved) => tf.Tensor[],
): tf.Tensor {
  const op = tf.customGrad((...args) => {
    // tfjs types the last argument, the function that saves, as another tensor.
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
    (rows, matrix) => ({ value: forward(rows, matrix), save: [rows, matrix] }),
    (dy, [rows, matrix]) => [matMul(dy, matrix), matMul(dy, rows, true, false)],
  );
}

/** Part of a model: `x`, the parameters to differentiate by and other tensors -> a tensor. */
export type Computation = (x: tf.Tensor, parameters: TensorRecord, constants: TensorRecord) => tf.Tensor;

/**
 * `compute(x, parameters, constants)`, which the backward pass computes again instead of keeping what lies between: it
 * costs a second forward pass, and only the arguments stay in memory. The gradients are the same to the last bit. In a
 * graph the second pass begins when the gradient of the result is there, and not before (Chen et al., arXiv 1604.06174).
 *
 * @param compute must be a function of its arguments alone; what it computes without `x` is not repeated in a graph.
 * @param parameters tensors that get gradients, as does `x`. The result must depend on each.
 * @param constants tensors that get none: angles, masks, frozen weights.
 * @throws Error in the backward pass, naming an argument that the result does not depend on.
 */
export function checkpointed(
  compute: Computation,
  x: tf.Tensor,
  parameters: TensorRecord,
  constants: TensorRecord = {},
): tf.Tensor {
  const names = Object.keys(parameters);
  const record = (keys: readonly string[], tensors: readonly tf.Tensor[]) =>
    Object.fromEntries(keys.map((key, index) => [key, tensors[index]!]));
  return withGradient(
    [x, ...Object.values(parameters)],
    (input, ...rest) => ({
      value: compute(input, record(names, rest), constants),
      save: [input, ...rest, ...Object.values(constants)],
    }),
    (dy, [input, ...rest]) => {
      const start = isTracing() ? tensorAfter(input!, dy) : input!;
      const variables = [start, ...rest.slice(0, names.length)];
      const others = record(Object.keys(constants), rest.slice(names.length));
      const gradients = gradientsAgain(() => compute(start, record(names, variables.slice(1)), others), variables, dy);
      return gradients.map((gradient, index) => {
        if (gradient !== undefined) return gradient;
        throw new Error(`checkpointed: the result does not depend on ${index === 0 ? 'x' : names[index - 1]}`);
      });
    },
  );
}

/** Gradients by `variables` of `forward` times `dy`, inside the backward pass of another computation. */
function gradientsAgain(
  forward: () => tf.Tensor,
  variables: tf.Tensor[],
  dy: tf.Tensor,
): readonly (tf.Tensor | undefined)[] {
  const { state } = tf.engine();
  // tfjs has one tape. The outer backward pass needs its own again afterwards.
  const outer = state.activeTape;
  try {
    return tf.engine().gradients(forward, variables, dy, true).grads;
  } finally {
    state.activeTape = outer;
  }
}

/** tf.matMul for tensors of unknown rank. */
export function matMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor {
  return tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB);
}
