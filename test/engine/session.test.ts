/** What only compiled programs have: no leaks over thousands of runs, bfloat16 products. */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../src/engine/dtype.js';
import { updateRows } from '../../src/engine/ops/state-ops.js';
import { optimizerState, stepInputs, stepScalars, update } from '../../src/engine/optim/adamw.js';
import { defineFunction, type FunctionSpec, type ProgramSpec } from '../../src/engine/program.js';
import { assertClose } from '../helpers/close.js';
import { compiledWay, testEveryWay } from '../helpers/engines.js';
import { nativeTest } from '../helpers/native.js';

const [rows, width] = [64, 256];
const w = { dtype: 'float32', shape: [width, width] } as const;
const x = { dtype: 'float32', shape: [rows, width] } as const;
const options = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.01 };

/** A layer with AdamW, a cache that is updated in place and large inputs and outputs: 64 KiB each way. */
const spec: ProgramSpec = {
  state: { w, cache: x, ...optimizerState({ w }) },
  functions: {
    step: defineFunction({
      inputs: { x, at: { dtype: 'int32', shape: [1] }, ...stepInputs },
      body: (state, inputs) => {
        const loss = (weight: tf.Tensor) =>
          tf.mean(tf.square(tf.matMul(inputs.x as tf.Tensor2D, weight as tf.Tensor2D)));
        const { value, grad } = tf.valueAndGrad(loss)(state.w as tf.Tensor);
        const product = tf.matMul(inputs.x as tf.Tensor2D, state.w as tf.Tensor2D);
        const cache = updateRows(state.cache as tf.Tensor, inputs.at as tf.Tensor, tf.slice(product, 0, 1));
        return {
          outputs: { loss: value, product },
          assign: { ...update(state, { w: grad }, inputs, options), cache },
        };
      },
    }),
    refuse: {
      inputs: { x },
      body: (_state, inputs) => ({ outputs: { log: tf.log(tf.neg(tf.abs(inputs.x as tf.Tensor))) } }),
      checkNumerics: true,
    },
  },
};

const input = Float32Array.from({ length: rows * width }, (_, index) => Math.sin(index));

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Resident memory without garbage, of which each version of Node keeps more or less. */
function memoryInUse(): number {
  collectGarbage();
  return process.memoryUsage().rss;
}

testEveryWay('runs, reads, writes and failures leave memory and tensor count flat', (way) => {
  const program = way.create(spec);
  for (const name of Object.keys(spec.state)) program.fill(name, 0.01);
  const cycle = (run: number) => {
    program.run('step', { x: input, at: Int32Array.of(run % rows), ...stepScalars(run + 1, 1e-4, options) });
    if (run % 10 === 0) {
      program.write('cache', program.read('cache') as Float32Array);
      assert.throws(() => program.run('refuse', { x: input }));
    }
  };
  // On SwiftShader a run takes a fifth of a second, and its memory grows while JavaScript never returns to its event loop
  // (docs/gpu.md), so that only tensors are counted there.
  const countsMemory = way.name !== 'webgpu';
  const [warm, runs] = way.name === 'compiled' ? [500, 2000] : countsMemory ? [50, 300] : [20, 20];
  for (let run = 0; run < warm; run++) cycle(run);
  const tensors = way.engine.tensorCount();
  // A leaked input or output alone would add 64 KiB a run: 125 MiB over 2,000 runs, 19 MiB over 300. JavaScript's heap grows
  // too, to a size that depends on the version of Node; a leak would go on.
  const allowed = way.name === 'compiled' ? 64 : 10;
  let grown = Infinity;
  for (let round = 0; round < (countsMemory ? 6 : 1) && grown >= allowed; round++) {
    const before = memoryInUse();
    for (let run = 0; run < runs; run++) cycle(run);
    grown = (memoryInUse() - before) / 2 ** 20;
    assert.equal(way.engine.tensorCount(), tensors);
  }
  if (countsMemory)
    assert.ok(grown < allowed, `resident memory grew by ${grown.toFixed(1)} MiB in the last ${runs} runs`);
  program.dispose();
});

testEveryWay('a disposed program gives its tensors back', (way) => {
  const make = () => {
    const program = way.create(spec);
    for (const name of Object.keys(spec.state)) program.fill(name, 0.01);
    program.run('step', { x: input, at: Int32Array.of(0), ...stepScalars(1, 1e-4, options) });
    return program;
  };
  make().dispose();
  const tensors = way.engine.tensorCount();
  for (let round = 0; round < 3; round++) make().dispose();
  assert.equal(way.engine.tensorCount(), tensors);
});

/** One product as a result of its own, one inside, a cast of the user's own, and state beside. */
function products(rest: Partial<FunctionSpec>): ProgramSpec {
  return {
    state: { w },
    functions: {
      f: {
        inputs: { x },
        body: (state, inputs) => {
          const product = tf.matMul(inputs.x as tf.Tensor2D, state.w as tf.Tensor2D);
          const positive = tf.greater(product, 0).toFloat();
          const deep = tf.sum(
            tf.mul(
              tf.matMul(positive, state.w as tf.Tensor2D),
              tf.matMul(inputs.x as tf.Tensor2D, state.w as tf.Tensor2D),
            ),
          );
          const square = tf.matMul(state.w as tf.Tensor2D, state.w as tf.Tensor2D);
          return { outputs: { product, deep, sum: tf.add(inputs.x as tf.Tensor, 1 / 3) }, assign: { w: square } };
        },
        ...rest,
      },
    },
  };
}

async function runProducts(rest: Partial<FunctionSpec>): Promise<Record<string, TypedArray>> {
  const program = (await compiledWay()).create(products(rest));
  program.write(
    'w',
    Float32Array.from({ length: width * width }, (_, index) => Math.sin(index * 0.7) / 16),
  );
  const results = { ...program.run('f', { x: input }), w: program.read('w') };
  program.dispose();
  return results;
}

nativeTest('bf16 rounds the operands of products and nothing else', async () => {
  const [full, half] = [await runProducts({}), await runProducts({ precision: 'bf16' })];
  const product = half.product as Float32Array;
  // bfloat16 keeps 8 bits: each operand is off by up to 2^-9, and the result may be rounded to bfloat16 as well. For 256
  // terms of mean square 1/2 * 1/512 the errors add up like a random walk: 2^-9 * sqrt(2) * sqrt(256 / 1024) = 1.4e-3
  // deviation; 5 deviations, and 2^-8 of the result.
  assertClose('product', product, full.product as Float32Array, { relative: 2 ** -8, absolute: 7e-3 });
  assert.ok(product.some((value, index) => value !== full.product?.[index]));
  assert.deepEqual(half.sum, full.sum);
  assert.equal(half.w?.constructor, Float32Array);
});

nativeTest('bf16 never rounds the weights that an optimiser keeps', async () => {
  const training: ProgramSpec = {
    ...spec,
    functions: { step: { ...(spec.functions.step as FunctionSpec), precision: 'bf16' } },
  };
  const program = (await compiledWay()).create(training);
  for (const name of Object.keys(spec.state)) program.fill(name, 0);
  program.fill('w', 1);
  // 1 - 1e-5 is far below the 2^-8 that bfloat16 could tell from 1.
  program.run('step', { x: input, at: Int32Array.of(0), ...stepScalars(1, 1e-5, { ...options, weightDecay: 0 }) });
  const moved = program.read('w') as Float32Array;
  assert.ok(moved.every((value) => value !== 1 && Math.abs(value - 1) < 2e-5));
  program.dispose();
});

nativeTest(
  'large state: written arrays may change, states that exchange values stay apart, zeros come back',
  async () => {
    const large = { dtype: 'float32', shape: [512, 600] } as const;
    const program = (await compiledWay()).create({
      state: { a: large, b: large, cache: large },
      functions: {
        exchange: { inputs: {}, body: ({ a, b }) => ({ assign: { a: b as tf.Tensor, b: a as tf.Tensor } }) },
        put: defineFunction({
          inputs: { rows: { dtype: 'float32', shape: [1, 600] } },
          body: ({ cache }, inputs) => ({
            assign: { cache: updateRows(cache as tf.Tensor, tf.tensor1d([511], 'int32'), inputs.rows as tf.Tensor) },
          }),
        }),
      },
    });
    const size = 512 * 600;
    const given = Float32Array.from({ length: size }, (_, i) => i);
    const wanted = given.slice();
    program.fill('cache', 0);
    program.write('a', given);
    program.fill('b', 7);
    given.fill(-1);
    assert.deepEqual(program.read('a'), wanted);
    program.run('exchange');
    assert.deepEqual([program.read('a')[5], program.read('b')[5]], [7, 5]);
    program.fill('a', 3);
    program.write('b', given);
    program.run('exchange');
    assert.deepEqual([program.read('a')[size - 1], program.read('b')[size - 1]], [-1, 3]);
    program.run('put', { rows: new Float32Array(600).fill(2) });
    assert.deepEqual([...new Set(program.read('cache').subarray(size - 1200, size - 600))], [0]);
    assert.equal(program.read('cache')[size - 1], 2);
    program.fill('cache', 0);
    assert.deepEqual([...new Set(program.read('cache'))], [0]);
    program.dispose();
  },
);
