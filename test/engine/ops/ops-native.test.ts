/**
 * The native ops against the compositions that they replace (which ops.test.ts compares with finite differences), in
 * sizes that are no multiple of a vector or block. A row's results have the same bits regardless of other rows, and
 * values that are not finite stay so.
 */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../../src/engine/dtype.js';
import { attention, linear, maskedScore, rmsNorm, rope, swiglu, tokenLogProbs } from '../../../src/engine/ops/ops.js';
import { sumOfSquares } from '../../../src/engine/ops/state-ops.js';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { sizeOf } from '../../../src/engine/shape.js';
import { assertClose } from '../../helpers/close.js';
import { compiledWay, composedWay, runOnce } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { bias, evaluation, floats, ints, noise, type Op, type Subject } from '../../helpers/subjects.js';

/** Position s may be attended to from position t + S - T and earlier ones. */
const causal = (T: number, S: number) =>
  bias([Array.from({ length: T }, (_, t) => Array.from({ length: S }, (_, s) => (s <= t + S - T ? 1 : 0)))]);

const attend: Op = ({ q, k, v, bias: mask }) =>
  attention(q as tf.Tensor, k as tf.Tensor, v as tf.Tensor, mask as tf.Tensor, 0.3);

const turn: Op = ({ x, cos, sin }) => rope(x as tf.Tensor, cos as tf.Tensor, sin as tf.Tensor);

function angles(rows: number, T: number, half: number) {
  const values = noise(rows * T * half, 4).map((each) => 3 * each);
  return { cos: floats([rows, T, half], values.map(Math.cos)), sin: floats([rows, T, half], values.map(Math.sin)) };
}

const subjects: Record<string, Subject> = {
  'linear, five rows, width 300, 221 results': {
    op: ({ x, w }) => linear(tf.mul(x as tf.Tensor, 0.1), w as tf.Tensor),
    variables: { x: [5, 300], w: [221, 300] },
  },
  'rmsNorm, width 37': {
    op: ({ x, w }) => rmsNorm(x as tf.Tensor, w as tf.Tensor, 1e-3),
    variables: { x: [3, 5, 37], w: [37] },
  },
  'rmsNorm, width 3, more rows than are summed at a time': {
    op: ({ x, w }) => rmsNorm(x as tf.Tensor, w as tf.Tensor, 1e-3),
    variables: { x: [150, 3], w: [3] },
  },
  'swiglu, 203 elements': {
    op: ({ gate, up }) => swiglu(tf.mul(gate as tf.Tensor, 9), up as tf.Tensor),
    variables: { gate: [7, 29], up: [7, 29] },
  },
  'rope, half a head of 5': { op: turn, variables: { x: [2, 5, 3, 10] }, fixed: angles(2, 5, 5) },
  'rope, half a head of 24, angles shared': { op: turn, variables: { x: [3, 4, 2, 48] }, fixed: angles(1, 4, 24) },
  'tokenLogProbs, vocabulary 133, scaled': {
    op: ({ logits, ids, scale }) => tokenLogProbs(logits as tf.Tensor, ids as tf.Tensor, scale as tf.Tensor),
    variables: { logits: [9, 133] },
    fixed: { ids: ints([9], [0, 132, 7, 7, 16, 64, 100, 131, 1]), scale: floats([], [7]) },
  },
  'attention, causal, 70 positions, two groups of two, head of 20': {
    op: attend,
    variables: { q: [2, 70, 4, 20], k: [2, 70, 2, 20], v: [2, 70, 2, 20] },
    fixed: { bias: causal(70, 70) },
  },
  'attention, T 3, S 50, head of 5, three queries on one': {
    op: attend,
    variables: { q: [2, 3, 3, 5], k: [2, 50, 1, 5], v: [2, 50, 1, 5] },
    fixed: { bias: causal(3, 50) },
  },
  'attention with a block of rows that may look nowhere': {
    op: attend,
    variables: { v: [1, 33, 1, 17] },
    fixed: {
      q: floats([1, 33, 2, 17], noise(33 * 2 * 17, 5)),
      k: floats([1, 33, 1, 17], noise(33 * 17, 6)),
      bias: floats([1, 33, 33], new Float32Array(33 * 33).fill(maskedScore)),
    },
  },
};

for (const [name, subject] of Object.entries(subjects)) {
  nativeTest(`native op = composition, value and gradients: ${name}`, async () => {
    const { spec, data } = evaluation(subject);
    const found = runOnce(await compiledWay(), spec, data);
    const expected = runOnce(await composedWay(), spec, data);
    assert.deepEqual(Object.keys(found), Object.keys(expected));
    for (const [key, values] of Object.entries(expected)) {
      // Sums of up to 150 terms of size 1 in another order, exp in another approximation.
      assertClose(`${name}: ${key}`, found[key]!, values, { relative: 4e-6, absolute: 4e-6 });
    }
  });
}

/** The op on `count` rows of the subject's first axis, from row `first` on. */
function onRows(subject: Subject, perRow: readonly string[], first: number, count: number): Subject {
  const cut = (name: string, data: TypedArray, shape: readonly number[]) => {
    const size = sizeOf(shape.slice(1));
    return { shape: [count, ...shape.slice(1)], data: data.slice(first * size, (first + count) * size), name };
  };
  const all = Object.entries(subject.variables).map(([name, shape], index) => ({
    name,
    shape,
    data: noise(sizeOf(shape), index) as TypedArray,
  }));
  const taken = all.map((each) => (perRow.includes(each.name) ? cut(each.name, each.data, each.shape) : each));
  const fixed = Object.fromEntries(taken.map(({ name, shape, data }) => [name, floats(shape, data)]));
  return { op: subject.op, variables: {}, fixed: { ...subject.fixed, ...fixed } };
}

async function computed({ op, fixed = {} }: Subject): Promise<TypedArray> {
  const inputs = Object.fromEntries(Object.entries(fixed).map(([name, { spec }]) => [name, spec]));
  const data = Object.fromEntries(Object.entries(fixed).map(([name, { data: values }]) => [name, values]));
  const spec: FunctionSpec = { inputs, body: (_state, tensors) => ({ outputs: { value: op({ ...tensors }) } }) };
  return runOnce(await compiledWay(), spec, data).value as TypedArray;
}

for (const [name, perRow] of Object.entries({
  'linear, five rows, width 300, 221 results': ['x'],
  'rmsNorm, width 37': ['x'],
  'swiglu, 203 elements': ['gate', 'up'],
  'attention, causal, 70 positions, two groups of two, head of 20': ['q', 'k', 'v'],
})) {
  nativeTest(`a row has the same bits alone and among others: ${name}`, async () => {
    const subject = subjects[name]!;
    const rows = Object.values(subject.variables)[0]?.[0] as number;
    const together = await computed(onRows(subject, perRow, 0, rows));
    const size = together.length / rows;
    for (let row = 0; row < rows; row++) {
      const alone = await computed(onRows(subject, perRow, row, 1));
      assert.deepEqual(alone, together.slice(row * size, (row + 1) * size), `row ${row}`);
    }
  });
}

nativeTest('NaN and infinities stay visible, and stay in their row', async () => {
  const x = noise(3 * 20, 0);
  x[25] = Number.NaN;
  const spec: FunctionSpec = {
    inputs: { x: { dtype: 'float32', shape: [3, 20] } },
    body: (_state, inputs) => {
      const row = inputs.x as tf.Tensor2D;
      const heads = row.reshape([3, 1, 2, 10]);
      return {
        outputs: {
          rmsNorm: rmsNorm(row, tf.ones([20]), 1e-6),
          swiglu: swiglu(row, row),
          logProbs: tokenLogProbs(row, tf.tensor1d([0, 0, 0], 'int32')),
          attention: attention(heads, heads, heads, tf.zeros([1, 1, 1]), 1).reshape([3, 20]),
        },
      };
    },
  };
  for (const [name, values] of Object.entries(runOnce(await compiledWay(), spec, { x }))) {
    const width = values.length / 3;
    const bad = [0, 1, 2].map((row) => values.slice(row * width, (row + 1) * width).some(Number.isNaN));
    assert.deepEqual(bad, [false, true, false], name);
  }
});

nativeTest('sumOfSquares of many numbers is exact to the precision of float32', async () => {
  const x = noise(100_003, 1);
  const expected = x.reduce((sum, each) => sum + each * each, 0);
  const spec: FunctionSpec = {
    inputs: { x: { dtype: 'float32', shape: [100_003] } },
    body: (_state, inputs) => ({ outputs: { sum: sumOfSquares(inputs.x as tf.Tensor) } }),
  };
  assertClose('sum', runOnce(await compiledWay(), spec, { x }).sum as TypedArray, [expected], { relative: 2e-7 });
});

nativeTest('an id out of range is rejected', async () => {
  const spec: FunctionSpec = {
    inputs: { ids: { dtype: 'int32', shape: [2] } },
    body: (_state, { ids }) => ({ outputs: { value: tokenLogProbs(tf.ones([2, 5]), ids as tf.Tensor) } }),
  };
  const way = await compiledWay();
  for (const bad of [-1, 5])
    assert.throws(
      () => runOnce(way, spec, { ids: Int32Array.of(0, bad) }),
      new RegExp(`expected ids from 0 to 4, found ${bad}`),
    );
});

nativeTest('with precision bf16 the products of attention are rounded, with native ops and without', async () => {
  const { spec, data } = evaluation(subjects['attention, T 3, S 50, head of 5, three queries on one']!);
  const exact = runOnce(await compiledWay(), spec, data).value as TypedArray;
  const rounded = { ...spec, precision: 'bf16' } as const;
  const found = runOnce(await compiledWay(), rounded, data).value as TypedArray;
  assertClose('value', found, runOnce(await composedWay(), rounded, data).value as TypedArray, { absolute: 1e-6 });
  const furthest = Math.max(...found.map((each, index) => Math.abs(each - exact[index]!)));
  // bfloat16 keeps 8 bits: values of size 0.1 .. 1 move by about 1e-3.
  assert.ok(furthest > 1e-4 && furthest < 2e-2, `${furthest}`);
});
