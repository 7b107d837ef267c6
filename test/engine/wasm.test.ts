/** The faster WebAssembly kernels agree with plain arithmetic on every path and leak no memory. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../src/engine/backend.js';
import { uniform } from '../helpers/fuzz.js';

before(async () => {
  await openEngine('wasm');
});

const numbers = (count: number, seed: number) => {
  const random = uniform(seed);
  return Float32Array.from({ length: count }, () => random() - 0.5);
};

/** Tensors that the backend holds memory for, tracked by tfjs or not. */
const held = () => (tf.backend() as unknown as { dataIdMap: { numDataIds(): number } }).dataIdMap.numDataIds();

test('products of single matrices and of batches, with any operand transposed', () => {
  // Small and large products, so that batches go both through the naive loop and one by one; odd sizes.
  for (const [batch, m, k, n] of [
    [[], 5, 7, 3],
    [[], 65, 33, 17],
    [[1], 9, 4, 6],
    [[6], 3, 2, 4],
    [[3], 31, 29, 37],
    [[2, 3], 40, 24, 33],
  ] as [number[], number, number, number][]) {
    const matrices = batch.reduce((product, size) => product * size, 1);
    const a = numbers(matrices * m * k, 1);
    const b = numbers(matrices * k * n, 2);
    const expected = new Float32Array(matrices * m * n);
    for (let i = 0; i < matrices; i++) {
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < n; column++) {
          let sum = 0;
          for (let at = 0; at < k; at++) sum += a[(i * m + row) * k + at]! * b[(i * k + at) * n + column]!;
          expected[(i * m + row) * n + column] = sum;
        }
      }
    }
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const count = held();
        const actual = tf.tidy(() => {
          const axes = [...batch.keys(), batch.length + 1, batch.length];
          const left = tf.tensor(a, [...batch, m, k]);
          const right = tf.tensor(b, [...batch, k, n]);
          const product = tf.matMul(
            transposeA ? left.transpose(axes) : left,
            transposeB ? right.transpose(axes) : right,
            transposeA,
            transposeB,
          );
          assert.deepEqual(product.shape, [...batch, m, n]);
          return product.dataSync().slice();
        });
        actual.forEach((value, i) => {
          assert.ok(Math.abs(value - expected[i]!) < 1e-5, `[${batch}] ${m} ${k} ${n}: ${value}, not ${expected[i]}`);
        });
        assert.equal(held(), count, 'memory left behind');
      }
    }
  }
});

test('a product whose batch is broadcast is that of the repeated matrix', () => {
  tf.tidy(() => {
    const left = tf.tensor(numbers(3 * 30 * 30, 3), [3, 30, 30]);
    const right = tf.tensor(numbers(30 * 30, 4), [1, 30, 30]);
    const once = tf.matMul(left, right).dataSync();
    const repeated = tf.matMul(left, tf.tile(right, [3, 1, 1])).dataSync();
    once.forEach((value, i) => {
      assert.ok(Math.abs(value - repeated[i]!) < 1e-5);
    });
  });
});

test('slices of any type, contiguous in memory or not', () => {
  for (const dtype of ['float32', 'int32', 'bool'] as const) {
    const values = Array.from({ length: 4 * 5 * 6 }, (_, i) => (dtype === 'bool' ? i % 3 === 0 : i));
    for (const [begin, size] of [
      [
        [1, 0, 0],
        [2, 5, 6],
      ],
      [
        [2, 3, 0],
        [1, 2, 6],
      ],
      [
        [3, 4, 1],
        [1, 1, 4],
      ],
      [
        [0, 1, 2],
        [4, 2, 3],
      ],
      [
        [0, 0, 0],
        [-1, -1, -1],
      ],
    ] as [[number, number, number], [number, number, number]][]) {
      const count = held();
      tf.tidy(() => {
        const x = tf.tensor3d(values as number[], [4, 5, 6], dtype);
        const sliced = tf.slice3d(x, begin, size);
        const [d, r, c] = size.map((extent, axis) => (extent === -1 ? x.shape[axis]! : extent)) as typeof size;
        const expected: number[] = [];
        for (let i = 0; i < d; i++)
          for (let j = 0; j < r; j++)
            for (let l = 0; l < c; l++)
              expected.push(Number(values[(begin[0] + i) * 30 + (begin[1] + j) * 6 + begin[2] + l]));
        assert.deepEqual(Array.from(sliced.dataSync()), expected);
      });
      assert.equal(held(), count, 'memory left behind');
    }
  }
});
