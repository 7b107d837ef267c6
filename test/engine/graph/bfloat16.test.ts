/**
 * Products with precision bf16 are unbiased: results lie as often above the exact product of the rounded operands as
 * below it, on every processor, whichever way a product takes. They are float32, unless TensorFlow multiplies bfloat16.
 */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { linear } from '../../../src/engine/ops/ops.js';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { rounded } from '../../helpers/bfloat16.js';
import { compiledWay, composedWay, type Way } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { noise } from '../../helpers/subjects.js';

const [D, E] = [300, 260];

/** Numbers between 0.5 and 1.5, so that no sum cancels and relative errors are those of the arithmetic. */
const spread = (count: number, seed: number) => Float32Array.from(noise(count, seed), (value) => 1 + value / 2);

/** Rows of alternating sign, so that a result that is too small in size is not also always too low. */
const rowsOf = (count: number, seed: number) =>
  spread(count * D, seed).map((value, i) => (Math.floor(i / D) % 2 === 0 ? value : -value));

/** x `[R, D]` @ w `[E, D]`^T in float64, of the rounded operands. */
function exactProduct(x: Float32Array, w: Float32Array): number[] {
  const [xs, ws] = [rounded(x), rounded(w)];
  const result: number[] = [];
  for (let row = 0; row < xs.length; row += D) {
    for (let column = 0; column < ws.length; column += D) {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += xs[row + d]! * ws[column + d]!;
      result.push(sum);
    }
  }
  return result;
}

/** Errors are counted as positive where the result is larger in size than it should be. */
function assertUnbiased({ name, engine }: Way, found: ArrayLike<number>, exact: readonly number[]): void {
  const errors = exact.map((wanted, i) => found[i]! / wanted - 1);
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  assert.ok(Math.abs(mean) < 1e-4, `${name}: results are off by ${mean} of their size on average`);
  const worst = Math.max(...errors.map(Math.abs));
  // Of float32, a sum of D terms of one sign is off by some sqrt(D) * 2^-24.
  const rounds = engine.device === 'gpu' || engine.instructions === 'amx';
  assert.ok(worst < (rounds ? 2 ** -8 : 1e-5), `${name}: a result is off by ${worst} of its size`);
  const inexact = errors.filter((error) => error !== 0);
  const above = inexact.filter((error) => error > 0).length;
  // Five standard deviations of a fair coin. The tiles of AMX round 48.5 % away from zero (an Intel Xeon with 16 cores).
  const allowed = 2.5 * Math.sqrt(inexact.length) + (rounds ? 0.03 * inexact.length : 0);
  assert.ok(
    Math.abs(above - inexact.length / 2) <= allowed,
    `${name}: ${above} of ${inexact.length} results are larger in size than the exact ones`,
  );
}

const ways = async (): Promise<Way[]> => [await compiledWay(), await composedWay()];

for (const R of [1, 4, 5, 16, 17, 64, 300]) {
  for (const stored of ['bf16', undefined] as const) {
    const matrix = stored === undefined ? 'a float32 matrix' : 'a matrix stored as bfloat16';
    nativeTest(`${R} rows times ${matrix} are unbiased`, async () => {
      const [x, w] = [rowsOf(R, 1), spread(E * D, 2)];
      const f: FunctionSpec = {
        inputs: { x: { dtype: 'float32', shape: [R, D] } },
        precision: 'bf16',
        body: (state, inputs) => ({ outputs: { y: linear(inputs.x as tf.Tensor, state.w as tf.Tensor) } }),
      };
      for (const way of await ways()) {
        const spec = { dtype: 'float32', shape: [E, D], ...(stored && { stored }) } as const;
        const program = way.create({ state: { w: spec }, functions: { f } });
        program.write('w', w);
        assertUnbiased(way, program.run('f', { x }).y as Float32Array, exactProduct(x, w));
        program.dispose();
      }
    });
  }
}

nativeTest('the gradients of a product are unbiased', async () => {
  const R = 64;
  const [x, w, dy] = [spread(D * R, 3), spread(E * R, 4), spread(D * E, 5)];
  const f: FunctionSpec = {
    inputs: {
      x: { dtype: 'float32', shape: [D, R] },
      w: { dtype: 'float32', shape: [E, R] },
      dy: { dtype: 'float32', shape: [D, E] },
    },
    precision: 'bf16',
    body: (_, inputs) => {
      const [left, right, slope] = [inputs.x, inputs.w, inputs.dy] as [tf.Tensor, tf.Tensor, tf.Tensor];
      const { grads } = tf.valueAndGrads(
        (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(linear(a, b), slope)) as tf.Scalar,
      )([left, right]);
      return { outputs: { dw: grads[1] as tf.Tensor } };
    },
  };
  // dw `[E, R]` = dy^T @ x: sums over the D rows.
  const columns = (values: Float32Array, width: number) =>
    Float32Array.from({ length: values.length }, (_, i) => values[(i % D) * width + Math.floor(i / D)]!);
  const exact = exactProduct(columns(dy, E), columns(x, R));
  for (const way of await ways()) {
    const program = way.create({ state: {}, functions: { f } });
    assertUnbiased(way, program.run('f', { x, w, dy }).dw as Float32Array, exact);
    program.dispose();
  }
});

nativeTest('products of several matrices at once are unbiased', async () => {
  const [B, R] = [3, 40];
  const [x, w] = [rowsOf(B * R, 6), spread(B * E * D, 7)];
  const f: FunctionSpec = {
    inputs: { x: { dtype: 'float32', shape: [B, R, D] }, w: { dtype: 'float32', shape: [B, E, D] } },
    precision: 'bf16',
    body: (_, inputs) => ({
      outputs: { y: tf.matMul(inputs.x as tf.Tensor3D, inputs.w as tf.Tensor3D, false, true) },
    }),
  };
  const exact = Array.from({ length: B }, (_, b) =>
    exactProduct(x.subarray(b * R * D, (b + 1) * R * D), w.subarray(b * E * D, (b + 1) * E * D)),
  ).flat();
  for (const way of await ways()) {
    const program = way.create({ state: {}, functions: { f } });
    assertUnbiased(way, program.run('f', { x, w }).y as Float32Array, exact);
    program.dispose();
  }
});
