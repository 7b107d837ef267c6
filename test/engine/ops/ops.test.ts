/**
 * The differentiable operations of ops.ts: values by hand or in double precision, gradients by finite differences, and
 * the same of both on every engine.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../../src/engine/dtype.js';
import {
  attention,
  embedding,
  linear,
  maskedScore,
  rmsNorm,
  rope,
  swiglu,
  tokenLogProbs,
} from '../../../src/engine/ops/ops.js';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { sizeOf } from '../../../src/engine/shape.js';
import { assertClose } from '../../helpers/close.js';
import { allWays, runOnce, type Way, wasmWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { bias, evaluation, floats, ints, noise, type Op, type Subject } from '../../helpers/subjects.js';

const attend: Op = ({ q, k, v, bias: mask }) =>
  attention(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, mask as tf.Tensor, 0.7);

const angles = floats([2, 3, 2], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5]);
const cos = { ...angles, data: angles.data.map(Math.cos) };
const sin = { ...angles, data: angles.data.map(Math.sin) };

const subjects: Record<string, Subject> = {
  'embedding with repeated ids': {
    op: ({ table, ids }) => embedding(table as tf.Tensor, ids as tf.Tensor),
    variables: { table: [5, 3] },
    fixed: { ids: ints([2, 3], [4, 0, 4, 4, 2, 0]) },
  },
  'linear with bias on rank 3': {
    op: ({ x, w, b }) => linear(x as tf.Tensor, w as tf.Tensor, b as tf.Tensor),
    variables: { x: [2, 3, 4], w: [5, 4], b: [5] },
  },
  'linear on one row': {
    op: ({ x, w }) => linear(x as tf.Tensor, w as tf.Tensor),
    variables: { x: [1, 4], w: [2, 4] },
  },
  tokenLogProbs: {
    op: ({ logits, ids }) => tokenLogProbs(logits as tf.Tensor, ids as tf.Tensor),
    variables: { logits: [4, 6] },
    fixed: { ids: ints([4], [0, 5, 2, 2]) },
  },
  rmsNorm: {
    op: ({ x, w }) => rmsNorm(x as tf.Tensor, w as tf.Tensor, 1e-3),
    variables: { x: [2, 2, 5], w: [5] },
  },
  rope: {
    op: ({ x, cos: c, sin: s }) => rope(x as tf.Tensor, c as tf.Tensor, s as tf.Tensor),
    variables: { x: [2, 3, 2, 4] },
    fixed: { cos, sin },
  },
  'rope with angles shared by all rows': {
    op: ({ x, cos: c, sin: s }) => rope(x as tf.Tensor, c as tf.Tensor, s as tf.Tensor),
    variables: { x: [2, 3, 1, 4] },
    fixed: {
      cos: floats([1, 3, 2], cos.data.slice(0, 6)),
      sin: floats([1, 3, 2], sin.data.slice(0, 6)),
    },
  },
  'attention, one head per group': {
    op: attend,
    variables: { q: [2, 3, 2, 4], k: [2, 3, 2, 4], v: [2, 3, 2, 4] },
    fixed: {
      bias: bias([
        [
          [1, 0, 0],
          [1, 1, 0],
          [1, 1, 1],
        ],
      ]),
    },
  },
  'attention, four query heads on two, S != T, rows masked differently': {
    op: attend,
    variables: { q: [2, 2, 4, 3], k: [2, 5, 2, 3], v: [2, 5, 2, 3] },
    fixed: {
      bias: bias([
        [
          [1, 1, 0, 1, 0],
          [0, 1, 1, 1, 1],
        ],
        [
          [0, 0, 1, 0, 0],
          [1, 1, 1, 1, 1],
        ],
      ]),
    },
  },
  'attention of one position to one': {
    op: attend,
    variables: { q: [1, 1, 2, 2], k: [1, 1, 1, 2], v: [1, 1, 1, 2] },
    fixed: { bias: bias([[[1]]]) },
  },
  // Its weights are equal whatever q and k are, because scores near -1e9 are 64 apart.
  'attention with a row that may look nowhere': {
    op: attend,
    variables: { v: [1, 3, 1, 3] },
    fixed: {
      q: floats([1, 2, 2, 3], noise(12, 5)),
      k: floats([1, 3, 1, 3], noise(9, 6)),
      bias: bias([
        [
          [0, 0, 0],
          [1, 0, 1],
        ],
      ]),
    },
  },
  swiglu: {
    op: ({ gate, up }) => swiglu(gate as tf.Tensor, up as tf.Tensor),
    variables: { gate: [2, 7], up: [2, 7] },
  },
};

/** sum(value * weights), the sum in double precision. */
function lossOf(value: TypedArray): number {
  const weights = noise(value.length, 17);
  return weights.reduce((sum, weight, index) => sum + weight * value[index]!, 0);
}

for (const [name, subject] of Object.entries(subjects)) {
  test(`gradient by finite differences: ${name}`, async () => {
    const way = await wasmWay();
    const { spec, data } = evaluation(subject);
    const program = way.create({ state: {}, functions: { f: spec } });
    const results = program.run('f', data);
    // Values are of size 1 and rounded to 6e-8, and a loss sums a few dozen: errors of about 3e-7. Divided by
    // 2 * 2^-6 that is 1e-5; the third derivative (size 1..10) adds step^2 / 6 = 4e-5 times it.
    const step = 2 ** -6;
    for (const [variable, shape] of Object.entries(subject.variables)) {
      const values = data[variable]!;
      const expected = new Float64Array(sizeOf(shape));
      for (let index = 0; index < values.length; index++) {
        const at = (offset: number) => {
          const moved = values.with(index, values[index]! + offset);
          return lossOf(program.run('f', { ...data, [variable]: moved }).value as TypedArray);
        };
        const [up, down] = [values[index]! + step, values[index]! - step].map(Math.fround);
        expected[index] = (at(step) - at(-step)) / ((up as number) - (down as number));
      }
      assertClose(`${name}: d ${variable}`, results[`d ${variable}`]!, expected, {
        relative: 1e-3,
        absolute: 4e-4,
      });
    }
    program.dispose();
  });

  nativeTest(`compiled = eager = wasm: ${name}`, async () => {
    const [compiled, ...others] = (await allWays()) as [Way, ...Way[]];
    const { spec, data } = evaluation(subject);
    const found = runOnce(compiled, spec, data);
    for (const other of others) {
      const expected = runOnce(other, spec, data);
      assert.deepEqual(Object.keys(found), Object.keys(expected));
      for (const [key, values] of Object.entries(expected)) {
        // Sums in another order, and exp in another approximation: a few units in the last place.
        const tolerance = { relative: 2e-6, absolute: 2e-6 };
        assertClose(`${name}: ${key}, compiled against ${other.name}`, found[key]!, values, tolerance);
      }
    }
  });
}

async function value(op: () => tf.Tensor): Promise<TypedArray> {
  return runOnce(await wasmWay(), { inputs: {}, body: () => ({ outputs: { value: op() } }) }).value as TypedArray;
}

test('rope turns channel pair (i, i + C/2) by its angle', async () => {
  // Quarter turn of the pair (1, 3): (-3, 1). Half turn of (2, 4): (-2, -4).
  const turned = await value(() =>
    rope(tf.tensor([1, 2, 3, 4], [1, 1, 1, 4]), tf.tensor([0, -1], [1, 1, 2]), tf.tensor([1, 0], [1, 1, 2])),
  );
  assert.deepEqual([...turned], [-3, -2, 1, -4]);
});

test('attention: query head h reads key/value head floor(h K / H); a fully masked row gets the mean', async () => {
  // Values name their head and position: head k at position s is 10 k + s. Equal keys make equal weights.
  const mixed = await value(() =>
    attention(
      tf.ones([1, 2, 4, 1]),
      tf.ones([1, 3, 2, 1]),
      tf.tensor([0, 10, 1, 11, 2, 12], [1, 3, 2, 1]),
      tf.tensor([0, maskedScore, 0, maskedScore, maskedScore, maskedScore], [1, 2, 3]),
      1,
    ),
  );
  // Row 0 sees positions 0 and 2: mean 1. Row 1 sees nothing, all scores are equally low: the mean of all, 1.
  assertClose('mixed', mixed, [1, 1, 11, 11, 1, 1, 11, 11], { relative: 1e-6 });
});

test('attention rejects query heads that cannot share key/value heads', async () => {
  await assert.rejects(
    value(() => attention(tf.ones([1, 1, 3, 2]), tf.ones([1, 1, 2, 2]), tf.ones([1, 1, 2, 2]), tf.zeros([1, 1, 1]), 1)),
    /3 query heads cannot share 2 key\/value heads/,
  );
});

test('rmsNorm by hand', async () => {
  // mean(3^2, 4^2) = 12.5; 3 / sqrt(12.5) = 0.848528, 4 / sqrt(12.5) = 1.131371; times the weights 1 and 10.
  const normed = await value(() => rmsNorm(tf.tensor([3, 4], [1, 2]), tf.tensor1d([1, 10]), 0));
  assertClose('normed', normed, [3 / Math.sqrt(12.5), 40 / Math.sqrt(12.5)], { relative: 1e-6 });
});

nativeTest('tokenLogProbs against double precision, with logits of any size', async () => {
  const [N, V] = [5, 97];
  const logits = noise(N * V, 3).map((each, index) => each * 10 ** (Math.floor(index / V) - 1));
  const ids = Int32Array.from({ length: N }, (_, row) => (row * 31) % V);
  const expected = Array.from(ids, (id, row) => {
    const scores = Array.from(logits.subarray(row * V, (row + 1) * V));
    const highest = Math.max(...scores);
    const logSum = Math.log(scores.reduce((sum, score) => sum + Math.exp(score - highest), 0));
    return scores[id]! - highest - logSum;
  });
  const spec: FunctionSpec = {
    inputs: { logits: { dtype: 'float32', shape: [N, V] }, ids: { dtype: 'int32', shape: [N] } },
    body: (_state, inputs) => ({
      outputs: { value: tokenLogProbs(inputs.logits as tf.Tensor, inputs.ids as tf.Tensor) },
    }),
  };
  for (const way of await allWays()) {
    const found = runOnce(way, spec, { logits, ids }).value as TypedArray;
    // The last row's logits reach 1,000, where float32 has steps of 6e-5.
    assertClose(`log-probs, ${way.name}`, found, expected, { relative: 3e-7, absolute: 1e-6 });
  }
});

nativeTest('the gradient of an embedding sums over repeated ids and is zero in all other rows', async () => {
  const spec: FunctionSpec = {
    inputs: {},
    body: () => {
      const ids = tf.tensor1d([2, 0, 2], 'int32');
      const dy = tf.tensor2d([1, 2, 10, 20, 100, 200], [3, 2]);
      const gradient = tf.grad((table) => tf.sum(tf.mul(embedding(table, ids), dy)))(tf.ones([4, 2]));
      return { outputs: { gradient } };
    },
  };
  for (const way of await allWays()) {
    assert.deepEqual([...(runOnce(way, spec).gradient as TypedArray)], [10, 20, 0, 0, 101, 202, 0, 0], way.name);
  }
});
