/**
 * @file The operations of ops.ts by ops of our own (native/): each one pass over memory, forward and back, and only what
 * the gradient cannot compute again is kept in between. For functions that are traced with these ops at hand.
 */
import * as tf from '@tensorflow/tfjs-core';
import { nativeOps } from '../lowering/own-ops.js';
import type { Float, Int } from '../shape.js';
import { productWithGradient, withGradient } from './gradient.js';

type Pair = [tf.Tensor, tf.Tensor];

function runOne(op: string, inputs: Record<string, tf.Tensor>, attributes: object = {}): tf.Tensor {
  return tf.engine().runKernel(op, inputs, { ...attributes }) as tf.Tensor;
}

function runMany(op: string, inputs: Record<string, tf.Tensor>, attributes: object = {}): tf.Tensor[] {
  return tf.engine().runKernel(op, inputs, { ...attributes }) as tf.Tensor[];
}

/** `x @ weight^T`. */
export function product(x: Float<'R D'>, weight: Float<'E D'>): Float<'R E'> {
  return productWithGradient(x, weight, (rows, matrix) => runOne(nativeOps.linear, { x: rows, weight: matrix }));
}

/** Logits are multiplied by `scale`, a scalar above 0 without gradient. */
export function tokenLogProbs(logits: Float<'N V'>, ids: Int<'N'>, scale: Float<''>): Float<'N'> {
  return withGradient(
    [logits],
    (x) => {
      const [value, stats] = runMany(nativeOps.logProb, { logits: x, ids, scale }) as Pair;
      return { value, save: [x, ids, scale, stats] };
    },
    (dy, [x, savedIds, savedScale, stats]) => [
      runOne(nativeOps.logProbGradient, { dy, logits: x, ids: savedIds, scale: savedScale, stats }),
    ],
  );
}

export function rmsNorm(x: Float<'... D'>, weight: Float<'D'>, epsilon: number): Float<'... D'> {
  return withGradient(
    [x, weight],
    (input, scale) => {
      const [value, inverse] = runMany(nativeOps.rmsNorm, { x: input, weight: scale }, { epsilon }) as Pair;
      return { value, save: [input, scale, inverse] };
    },
    (dy, [input, scale, inverse]) => runMany(nativeOps.rmsNormGradient, { dy, x: input, weight: scale, inverse }),
  );
}

export function rope(x: Float<'B T N C'>, cos: Float<'B T C2'>, sin: Float<'B T C2'>): Float<'B T N C'> {
  return withGradient(
    [x],
    (input) => ({ value: runOne(nativeOps.rope, { x: input, cos, sin }), save: [cos, sin] }),
    (dy, [savedCos, savedSin]) => [runOne(nativeOps.rope, { x: dy, cos: savedCos, sin: savedSin }, { back: true })],
  );
}

export function attention(
  q: Float<'B T H C'>,
  k: Float<'B S K C'>,
  v: Float<'B S K C'>,
  bias: Float<'B T S'>,
  scale: number,
): Float<'B T HC'> {
  return withGradient(
    [q, k, v],
    (queries, keys, values) => {
      const inputs = { q: queries, k: keys, v: values, bias };
      const [value, stats] = runMany(nativeOps.attention, inputs, { scale }) as Pair;
      return { value, save: [queries, keys, values, bias, value, stats] };
    },
    (dy, [queries, keys, values, savedBias, out, stats]) =>
      runMany(
        nativeOps.attentionGradient,
        { dy, q: queries, k: keys, v: values, bias: savedBias, out, stats },
        { scale },
      ),
  );
}

export function swiglu(gate: Float<'... F'>, up: Float<'... F'>): Float<'... F'> {
  return withGradient(
    [gate, up],
    (g, u) => ({ value: runOne(nativeOps.swiglu, { gate: g, up: u }), save: [g, u] }),
    (dy, [g, u]) => runMany(nativeOps.swigluGradient, { dy, gate: g, up: u }),
  );
}
