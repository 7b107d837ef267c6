/**
 * State stored as bfloat16: rounded when stored, float32 when read, and multiplied without conversion by functions with
 * precision bf16, by whichever product their number of rows selects.
 */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { embedding, linear } from '../../../src/engine/ops/ops.js';
import type { FunctionSpec, ProgramSpec } from '../../../src/engine/program.js';
import { rounded } from '../../helpers/bfloat16.js';
import { assertClose } from '../../helpers/close.js';
import { compiledWay, composedWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { noise } from '../../helpers/subjects.js';

const shape = [3, 5];
const values = Float32Array.from(noise(15, 1));
values.set([1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8, 0, 3.4e38]);
const wanted = rounded(values);

const spec: ProgramSpec = {
  state: { half: { dtype: 'float32', shape, stored: 'bf16' }, whole: { dtype: 'float32', shape } },
  functions: {
    look: { inputs: {}, body: ({ half }) => ({ outputs: { half: half as tf.Tensor } }) },
    exchange: {
      inputs: {},
      body: ({ half, whole }) => ({ assign: { half: whole as tf.Tensor, whole: half as tf.Tensor } }),
    },
    bad: {
      inputs: {},
      checkNumerics: true,
      body: ({ half }) => ({ assign: { half: tf.log(tf.neg(tf.square(half as tf.Tensor))) } }),
    },
  },
};

nativeTest('values stored as bfloat16 are rounded, whether written or assigned', async () => {
  const program = (await compiledWay()).create(spec);
  program.write('half', values);
  program.write('whole', values);
  assert.deepEqual(program.read('half'), wanted);
  assert.deepEqual(program.run('look').half, wanted);
  program.run('exchange');
  assert.deepEqual(program.read('whole'), wanted);
  assert.deepEqual(program.read('half'), wanted, 'the values of the other, rounded');
  program.fill('half', 1 / 3);
  assert.deepEqual(program.read('half'), rounded(new Float32Array(15).fill(1 / 3)));
  assert.throws(() => program.run('bad'), /half has NaN/);
  assert.deepEqual(program.read('half'), rounded(new Float32Array(15).fill(1 / 3)));
  program.dispose();
});

for (const [stored, round] of [
  ['bf16', rounded],
  ['f16', (exact: Float32Array) => exact.slice()],
] as const) {
  nativeTest(
    `large ${stored} state that nothing assigns keeps what was last written, and products read it`,
    async () => {
      // TensorFlow keeps the memory that it is fed (state-memory.ts).
      const large = { dtype: 'float32', shape: [512, 1200], stored } as const;
      const program = (await compiledWay()).create({
        state: { fixed: large, changed: large },
        functions: {
          multiply: {
            inputs: { x: { dtype: 'float32', shape: [2, 1200] } },
            body: ({ fixed }, { x }) => ({ outputs: { y: linear(x as tf.Tensor2D, fixed as tf.Tensor2D) } }),
          },
          take: { inputs: {}, body: ({ fixed }) => ({ assign: { changed: tf.neg(fixed as tf.Tensor) } }) },
        },
      });
      // Eighths are exact in both forms.
      const fixed = Float32Array.from(noise(512 * 1200, 4), (value) => Math.round(8 * value) / 8 + 0);
      if (stored === 'bf16') fixed.set([1 + 2 ** -8, 1 + 3 * 2 ** -8]);
      program.write('fixed', fixed);
      const kept = round(fixed);
      fixed.fill(7);
      assert.deepEqual(program.read('fixed'), kept, 'the array that was written stays the caller’s');
      const x = Float32Array.from({ length: 2400 }, (_, i) => Number(i === 5 || i === 1200));
      const { y } = program.run('multiply', { x });
      assert.deepEqual(
        y!.subarray(0, 512),
        Float32Array.from({ length: 512 }, (_, row) => kept[row * 1200 + 5]!),
      );
      assert.deepEqual(
        y!.subarray(512),
        Float32Array.from({ length: 512 }, (_, row) => kept[row * 1200]!),
      );
      program.run('take');
      program.fill('fixed', 1.5);
      assert.deepEqual(program.read('fixed'), new Float32Array(kept.length).fill(1.5));
      assert.deepEqual(
        program.read('changed'),
        kept.map((value) => -value),
        'a copy',
      );
      program.write('fixed', kept);
      assert.deepEqual(program.read('fixed'), kept);
      program.dispose();
    },
  );
}

const [width, results] = [301, 250];
const weight = Float32Array.from(noise(width * results, 2));

for (const rows of [1, 3, 4, 5, 16, 17, 128, 130, 4000]) {
  nativeTest(`${rows} rows times a matrix stored as bfloat16: both rounded, summed in float32`, async () => {
    const x = Float32Array.from(noise(rows * width, 3));
    const f: FunctionSpec = {
      inputs: { x: { dtype: 'float32', shape: [rows, width] } },
      precision: 'bf16',
      body: (state, inputs) => ({ outputs: { y: linear(inputs.x as tf.Tensor, state.w as tf.Tensor) } }),
    };
    const w = { dtype: 'float32', shape: [results, width], stored: 'bf16' } as const;
    const checked = Math.min(rows, 20);
    const [xs, ws] = [rounded(x), rounded(weight)];
    const expected = Array.from({ length: checked * results }, (_, i) => {
      const [row, result] = [Math.floor(i / results), i % results];
      let sum = 0;
      for (let d = 0; d < width; d++) sum += xs[row * width + d]! * ws[result * width + d]!;
      return sum;
    });
    for (const way of [await compiledWay(), await composedWay()]) {
      const program = way.create({ state: { w }, functions: { f } });
      program.write('w', weight);
      const y = (program.run('f', { x }).y as Float32Array).slice(0, checked * results);
      // Processors that multiply bfloat16 may round the result to it.
      assertClose(`${way.name} y`, y, expected, { relative: 2 ** -8, absolute: 1e-4 });
      program.dispose();
    }
  });
}

nativeTest('in float32 a matrix stored as bfloat16 gives what the same values in float32 give', async () => {
  // Up to 16 rows, and from 107 on if this processor uses our own product, the matrix is read as it lies.
  for (const rows of [1, 3, 4, 9, 16, 17, 130, 150]) {
    const x = Float32Array.from(noise(rows * width, 3));
    const f = (name: string): FunctionSpec => ({
      inputs: { x: { dtype: 'float32', shape: [rows, width] } },
      body: (state, inputs) => {
        const y = (input: tf.Tensor) => linear(input, state[name] as tf.Tensor);
        const dx = tf.grad((input) => tf.sum(tf.square(y(input))))(inputs.x as tf.Tensor);
        return { outputs: { y: y(inputs.x as tf.Tensor), dx } };
      },
    });
    const spec = { dtype: 'float32', shape: [results, width] } as const;
    const program = (await compiledWay()).create({
      state: { half: { ...spec, stored: 'bf16' }, whole: spec },
      functions: { half: f('half'), whole: f('whole') },
    });
    program.write('half', weight);
    program.write('whole', rounded(weight));
    const [half, whole] = [program.run('half', { x }), program.run('whole', { x })];
    assert.deepEqual(half.y, whole.y, `${rows} rows`);
    assert.deepEqual(half.dx, whole.dx, `${rows} rows, gradient`);
    program.dispose();
  }
});

nativeTest('rows chosen from a table stored as bfloat16 are its rows', async () => {
  const ids = Int32Array.of(249, 0, 7, 7);
  const choose = (precision: 'f32' | 'bf16'): FunctionSpec => ({
    inputs: { ids: { dtype: 'int32', shape: [4] } },
    precision,
    body: (state, inputs) => ({ outputs: { rows: embedding(state.table as tf.Tensor, inputs.ids as tf.Tensor) } }),
  });
  const program = (await compiledWay()).create({
    state: { table: { dtype: 'float32', shape: [results, width], stored: 'bf16' } },
    functions: { f32: choose('f32'), bf16: choose('bf16') },
  });
  program.write('table', weight);
  const expected = [...ids].flatMap((id) => [...rounded(weight.slice(id * width, (id + 1) * width))]);
  for (const name of ['f32', 'bf16']) {
    assert.deepEqual([...(program.run(name, { ids }).rows as Float32Array)], expected, name);
  }
  program.dispose();
});

nativeTest(
  'a table of a vocabulary: stored as bfloat16 or not, the same results, and gradients part by part',
  async () => {
    const [rows, vocabulary, wide] = [20, 1 << 15, 512];
    const table = { dtype: 'float32', shape: [vocabulary, wide] } as const;
    const inputs = {
      x: { dtype: 'float32', shape: [rows, wide] },
      dy: { dtype: 'float32', shape: [rows, vocabulary] },
    } as const;
    const through = (name: string): FunctionSpec => ({
      inputs,
      body: (state, { x, dy }) => {
        const product = (given: tf.Tensor) => linear(given, state[name]!);
        return { outputs: { y: product(x!), dx: tf.grad(product)(x!, dy!) } };
      },
    });
    const program = (await compiledWay()).create({
      state: { narrow: { ...table, stored: 'bf16' }, whole: table },
      functions: { narrow: through('narrow'), whole: through('whole') },
    });
    // Exact in bfloat16.
    const values = new Float32Array(vocabulary * wide);
    for (let i = 0; i < values.length; i++) values[i] = ((i * 7919) % 251) - 125;
    program.write('narrow', values);
    program.write('whole', values);
    const given = { x: Float32Array.from(noise(rows * wide, 4)), dy: Float32Array.from(noise(rows * vocabulary, 5)) };
    const [narrow, whole] = [program.run('narrow', given), program.run('whole', given)];
    assert.deepEqual(narrow.y, whole.y);
    assertClose('dx', narrow.dx!, whole.dx!, { absolute: 1 });
    program.dispose();
  },
);
