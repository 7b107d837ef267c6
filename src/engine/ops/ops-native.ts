/**
 * @file The operations of ops.ts as native ops: each is a single pass over memory, forward and backward, and keeps only what the
 * gradient cannot recompute. Used while tracing functions that may use them.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { runOp } from '../graph/trace.js';
import { nativeOps } from '../lowering/native-ops.js';
import type { Float, Int } from '../shape.js';
import { productWithGradient, withGradient } from './gradient.js';

type Pair = [Tensor, Tensor];

/** `x @ weight^T`. */
export function product(x: Float<'R D'>, weight: Float<'E D'>): Float<'R E'> {
  return productWithGradient(x, weight, (rows, matrix) => runOp(nativeOps.linear, { x: rows, weight: matrix })[0]);
}

/** As in ops.ts. Logits are multiplied by `scale`, a scalar above 0 without gradient. */
export function tokenLogProbs(logits: Float<'N V'>, ids: Int<'N'>, scale: Float<''>): Float<'N'> {
  return withGradient(
    [logits],
    (x) => {
      const [value, stats] = runOp<Pair>(nativeOps.logProb, { logits: x, ids, scale });
      return { value, save: [x, ids, scale, stats] };
    },
    (dy, [x, savedIds, savedScale, stats]) =>
      runOp(nativeOps.logProbGradient, { dy, logits: x, ids: savedIds, scale: savedScale, stats }),
  );
}

export function rmsNorm(x: Float<'... D'>, weight: Float<'D'>, epsilon: number): Float<'... D'> {
  return withGradient(
    [x, weight],
    (input, scale) => {
      const [value, inverse] = runOp<Pair>(nativeOps.rmsNorm, { x: input, weight: scale }, { epsilon });
      return { value, save: [input, scale, inverse] };
    },
    (dy, [input, scale, inverse]) => runOp(nativeOps.rmsNormGradient, { dy, x: input, weight: scale, inverse }),
  );
}

export function rope(x: Float<'B T N C'>, cos: Float<'B T C2'>, sin: Float<'B T C2'>): Float<'B T N C'> {
  return withGradient(
    [x],
    (input) => ({ value: runOp(nativeOps.rope, { x: input, cos, sin }, { back: false })[0], save: [cos, sin] }),
    (dy, [savedCos, savedSin]) => runOp(nativeOps.rope, { x: dy, cos: savedCos, sin: savedSin }, { back: true }),
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
      const [value, stats] = runOp<Pair>(nativeOps.attention, inputs, { scale });
      return { value, save: [queries, keys, values, bias, value, stats] };
    },
    (dy, [queries, keys, values, savedBias, out, stats]) =>
      runOp(
        nativeOps.attentionGradient,
        { dy, q: queries, k: keys, v: values, bias: savedBias, out, stats },
        { scale },
      ),
  );
}

export function swiglu(gate: Float<'... F'>, up: Float<'... F'>): Float<'... F'> {
  return withGradient(
    [gate, up],
    (g, u) => ({ value: runOp(nativeOps.swiglu, { gate: g, up: u })[0], save: [g, u] }),
    (dy, [g, u]) => runOp(nativeOps.swigluGradient, { dy, gate: g, up: u }),
  );
}
