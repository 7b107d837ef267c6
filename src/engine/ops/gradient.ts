/**
 * @file Gradients: custom ones, those with respect to named parameters, and gradient checkpointing, which recomputes
 * intermediate results in the backward pass instead of keeping them (Chen et al., arXiv 1604.06174).
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  isStoredAsBfloat16,
  isTracing,
  recomputedAfter,
  tensorAfter,
  widenedAfter,
  widenedRowsAfter,
} from '../graph/trace.js';
import { tableSize } from '../lowering/shapes.js';
import type { TensorRecord } from '../program.js';

/**
 * A value with a custom gradient. `forward` computes the value and returns the tensors that the gradient needs (tfjs frees all
 * others after the forward pass); `backward` receives them and returns a gradient for each input.
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

/**
 * `x @ weight^T`, computed by `forward`, with the gradient of a product. A weight stored as bfloat16 is widened again for
 * the gradient. Otherwise the wide copies of all weights would be in memory at the end of the forward pass.
 */
export function productWithGradient(
  x: tf.Tensor,
  weight: tf.Tensor,
  forward: (x: tf.Tensor, weight: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  return withGradient(
    [x, weight],
    (rows, matrix) => ({ value: forward(rows, matrix), save: [rows, matrix] }),
    (dy, [rows, matrix]) => [timesStored(dy, matrix), matMul(dy, recomputedAfter(rows, dy), true, false)],
  );
}

/** `x @ weight^T`, computed by `forward`. The gradient of the weight is left to `add`, which receives `dy` and `x`. */
export function productAdding(
  x: tf.Tensor,
  weight: tf.Tensor,
  forward: (x: tf.Tensor, weight: tf.Tensor) => tf.Tensor,
  add: (dy: tf.Tensor, x: tf.Tensor) => void,
): tf.Tensor {
  return withGradient(
    [x],
    (rows) => ({ value: forward(rows, weight), save: [rows] }),
    (dy, [rows]) => {
      add(dy, rows);
      return [timesStored(dy, weight)];
    },
  );
}

/** Elements of a stored matrix that are widened at a time: 17 MB as float32. */
const wideAtOnce = 1 << 22;

/** `dy @ matrix`. A table stored as bfloat16 is widened one part at a time. */
function timesStored(dy: tf.Tensor, matrix: tf.Tensor): tf.Tensor {
  const [height = 0, width = 1] = matrix.shape;
  const size = Math.max(1, Math.floor(wideAtOnce / width));
  if (matrix.size < tableSize || !isStoredAsBfloat16(matrix)) return matMul(dy, widenedAfter(matrix, dy));
  let sum: tf.Tensor | undefined;
  for (let start = 0; start < height; start += size) {
    const count = Math.min(size, height - start);
    const rows = widenedRowsAfter(matrix, { start, size: count, event: sum ?? dy });
    const term = matMul(tf.slice(dy, [0, start], [dy.shape[0]!, count]), rows);
    sum = sum === undefined ? term : tf.add(sum, term);
  }
  return sum!;
}

/** tf.matMul for tensors of unknown rank. */
export function matMul(a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor {
  return tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB);
}

/**
 * The value of `loss`, a scalar, and its gradients with respect to the tensors `names` of `state`. `loss` receives these
 * tensors by name and must depend on each of them.
 */
export function valueAndGradients(
  state: TensorRecord,
  names: readonly string[],
  loss: (parameters: TensorRecord) => tf.Tensor,
): { value: tf.Tensor; gradients: Record<string, tf.Tensor> } {
  const byName = (tensors: readonly tf.Tensor[]) =>
    Object.fromEntries(names.map((name, index) => [name, tensors[index]!]));
  // tfjs requires a Scalar, a narrower type of Tensor.
  const listed = (...tensors: tf.Tensor[]) => loss(byName(tensors)) as tf.Scalar;
  const { value, grads } = tf.valueAndGrads(listed)(names.map((name) => state[name]!));
  return { value, gradients: byName(grads) };
}

/**
 * `compute(...inputs)`, keeping only `inputs` in memory until the backward pass. The gradients are bit-identical to
 * those without checkpointing. In a graph, the recomputation starts only when the gradient of the result is available.
 *
 * @param compute must depend only on `inputs` and on tensors that need no gradient and outlive the backward pass: state,
 *   inputs of the function, or tensors made outside of the loss.
 * @throws Error in the backward pass if the result does not depend on one of `inputs`.
 */
export function checkpointed<Inputs extends tf.Tensor[]>(
  compute: (...inputs: Inputs) => tf.Tensor,
  inputs: readonly [...Inputs],
): tf.Tensor {
  // Called with as many tensors as there are inputs.
  const again = compute as (...inputs: tf.Tensor[]) => tf.Tensor;
  return withGradient<Inputs, Inputs>(
    [...inputs],
    (...given) => ({ value: compute(...given), save: given }),
    (dy, saved) => gradientsAgain(again, isTracing() ? saved.map((input) => tensorAfter(input, dy)) : saved, dy),
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
 * `x`, available only after `before` is computed. Ops of a graph otherwise run as soon as their inputs are available; eager engines
 * follow the order of the code. Likewise, `before` gets its gradient only after the gradient of the result is available.
 * So only one of the parts that take turns is in memory at a time, in the forward and in the backward pass.
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
