/** The webgpu engine computes what the others do. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { blockProgram } from '../../../src/cli/doctor/block.js';
import { agreementCheck } from '../../../src/cli/doctor/engine.js';
import { openEngine } from '../../../src/engine/backend.js';
import { NumericsError, type Program } from '../../../src/engine/program.js';
import type { Float } from '../../../src/engine/shape.js';
import { openDawn } from '../../../src/engine/webgpu/dawn.js';
import { openDevice } from '../../../src/engine/webgpu/device.js';
import { dispatchesOf, openCompiler } from '../../../src/engine/wgsl/program.js';
import { parseModelConfig } from '../../../src/model/network/config.js';
import { draw } from '../../../src/model/sampling/draw.js';
import { optimizer } from '../../../src/options/defaults.js';
import { createPolicy } from '../../../src/policy/policy.js';
import { squaredError } from '../../../src/stage2/loss.js';
import { webGpuTest } from '../../helpers/webgpu.js';

webGpuTest('loss and gradients of a transformer block equal those of wasm and NumPy', async () => {
  const { ok, found } = await agreementCheck(await openEngine('webgpu'));
  assert.ok(ok, found);
});

webGpuTest('a training step of a block is compiled, and takes few dispatches', async () => {
  const program = (await openEngine('webgpu')).createProgram(blockProgram);
  const { loss = Infinity, gradients = Infinity, step = Infinity } = dispatchesOf(program) ?? {};
  assert.ok(loss <= 15 && gradients <= 46 && step <= 56, `${loss}, ${gradients}, ${step}`);
  program.dispose();
});

webGpuTest('kernels that need nothing of one another are one dispatch, and others are not', async () => {
  const x = Float32Array.of(1, 2, 3, 4, 5);
  const program = (await openEngine('webgpu')).createProgram({
    state: { s: { dtype: 'float32', shape: [5] }, t: { dtype: 'float32', shape: [2] } },
    functions: {
      apart: {
        inputs: { x: { dtype: 'float32', shape: [5] } },
        body: (_, { x }) => ({
          outputs: { more: tf.add(x as tf.Tensor, 1), head: tf.mul(tf.slice(x as tf.Tensor1D, 1, 2), 2) },
        }),
      },
      // Every value is needed as it was before the call, and the softmax needs memory of its own.
      exchange: {
        inputs: { x: { dtype: 'float32', shape: [5] } },
        body: ({ s, t }, { x }) => ({
          outputs: { shares: tf.softmax(tf.sub(s!, x as tf.Tensor)), old: tf.add(s!, tf.sum(t!)) },
          assign: { s: tf.add(tf.reverse(s!), 1), t: tf.slice(s as tf.Tensor1D, 3, 2) },
        }),
      },
    },
  });
  assert.equal(dispatchesOf(program)?.apart, 1);
  assert.deepEqual(program.run('apart', { x }), {
    more: Float32Array.of(2, 3, 4, 5, 6),
    head: Float32Array.of(4, 6),
  });
  program.write('s', x);
  program.write('t', Float32Array.of(10, 20));
  const { shares, old } = program.run('exchange', { x });
  assert.deepEqual(old, Float32Array.of(31, 32, 33, 34, 35));
  for (const share of shares as Float32Array) assert.ok(Math.abs(share - 0.2) < 1e-6);
  assert.deepEqual(program.read('s'), Float32Array.of(6, 5, 4, 3, 2));
  assert.deepEqual(program.read('t'), Float32Array.of(4, 5));
  program.dispose();
});

webGpuTest('state is kept between calls, and every dtype comes back as it was given', async () => {
  const engine = await openEngine('webgpu');
  const state = {
    x: { dtype: 'float32', shape: [3] },
    n: { dtype: 'int32', shape: [2] },
    b: { dtype: 'bool', shape: [3] },
  } as const;
  const program = engine.createProgram({
    state,
    functions: {
      add: {
        inputs: { amount: { dtype: 'float32', shape: [] } },
        body: ({ x }, { amount }) => {
          const sum = tf.add(x!, amount as tf.Tensor);
          return { outputs: { sum, large: tf.greater(sum, 12) }, assign: { x: sum } };
        },
      },
    },
  });
  program.write('x', Float32Array.of(1, 2, 3));
  program.write('n', Int32Array.of(-(2 ** 31), 2 ** 31 - 1));
  program.write('b', Uint8Array.of(1, 0, 1));
  const result = program.run('add', { amount: Float32Array.of(10) });
  assert.deepEqual(result, { sum: Float32Array.of(11, 12, 13), large: Uint8Array.of(0, 0, 1) });
  assert.deepEqual(program.read('x'), Float32Array.of(11, 12, 13));
  assert.deepEqual(program.read('n'), Int32Array.of(-(2 ** 31), 2 ** 31 - 1));
  assert.deepEqual(program.read('b'), Uint8Array.of(1, 0, 1));
  program.fill('x', 2);
  assert.deepEqual(program.run('add', { amount: Float32Array.of(1) }).sum, Float32Array.of(3, 3, 3));
  program.dispose();
});

webGpuTest('with the factor of greedy sampling, the most likely token is drawn with a finite log-prob', async () => {
  const rows = { dtype: 'float32', shape: [2] } as const;
  const program = (await openEngine('webgpu')).createProgram({
    state: {},
    functions: {
      draw: {
        inputs: {
          logits: { dtype: 'float32', shape: [2, 5] },
          uniforms: rows,
          inverseTemperature: { dtype: 'float32', shape: [] },
        },
        body: (_, { logits, uniforms, inverseTemperature }) => ({
          outputs: {
            ...draw(
              logits as Float<'B V'>,
              { uniforms: uniforms as Float<'B'>, inverseTemperature: inverseTemperature as Float<''> },
              { greedy: false, topK: 0, topP: 1 },
            ),
          },
        }),
      },
    },
  });
  const drawn = program.run('draw', {
    logits: Float32Array.of(0.1, 7.7, -3, 7.6999, 0, 1.3, 1.1, 1.7, 1.9, 1.8),
    uniforms: Float32Array.of(0, 0.9),
    inverseTemperature: Float32Array.of(1e20),
  });
  assert.deepEqual(drawn, { tokens: Int32Array.of(1, 3), logProbs: Float32Array.of(0, 0) });
  program.dispose();
});

webGpuTest('a program on a card that cannot be waited for, as in a page, gives promises', async () => {
  const { device, facts } = await openDawn();
  const program = openCompiler(openDevice(device, facts))({
    state: { x: { dtype: 'float32', shape: [2] } },
    functions: {
      divide: {
        inputs: { by: { dtype: 'float32', shape: [] } },
        checkNumerics: true,
        body: ({ x }, { by }) => ({ outputs: { half: tf.mul(x!, 0.5) }, assign: { x: tf.div(x!, by as tf.Tensor) } }),
      },
    },
  });
  program.write('x', Float32Array.of(6, 8));
  const divide = (by: number) => program.start('divide', { replica: 0, inputs: { by: Float32Array.of(by) } });
  assert.deepEqual(await divide(2), { half: Float32Array.of(3, 4) });
  await assert.rejects(divide(0), NumericsError);
  assert.deepEqual(await program.readLater!('x'), Float32Array.of(3, 4));
  assert.throws(() => program.read('x'), /cannot wait/);
  assert.throws(() => program.run('divide', { by: Float32Array.of(2) }), /cannot wait/);
  program.dispose();
  device.destroy();
});

webGpuTest('more tensors are added than a kernel has operands, compiled and op by op', async () => {
  const { createProgram, createEagerProgram } = await openEngine('webgpu');
  for (const create of [createProgram, createEagerProgram]) {
    const program = create({
      state: {},
      functions: {
        f: {
          inputs: { x: { dtype: 'float32', shape: [200] } },
          body: (_, { x }) => ({
            outputs: { sum: tf.addN(Array.from({ length: 40 }, (_, k) => tf.mul(tf.exp(x as tf.Tensor), k))) },
          }),
        },
      },
    });
    assert.equal(dispatchesOf(program) !== undefined, create === createProgram);
    const { sum } = program.run('f', { x: new Float32Array(200) });
    assert.deepEqual(sum, new Float32Array(200).fill(780));
    program.dispose();
  }
});

webGpuTest('all functions of a model with more weights than a kernel has operands are compiled', async () => {
  const engine = await openEngine('webgpu');
  const record = { model_type: 'llama', vocab_size: 64, hidden_size: 8, num_hidden_layers: 8, num_attention_heads: 2 };
  const config = parseModelConfig({ ...record, intermediate_size: 8, max_position_embeddings: 64 }, 'deep');
  const programs: Program[] = [];
  const createProgram: typeof engine.createProgram = (spec) => {
    const program = engine.createProgram(spec);
    programs.push(program);
    return program;
  };
  const policy = createPolicy({ ...engine, createProgram }, config, {
    sizes: { promptLengths: [4], maxNewTokens: 4, slots: 2 },
    training: {
      batchSize: 2,
      loss: (arithmetic, row) => squaredError(arithmetic, row, 0.1),
      maxGradientNorm: 1,
      optimizer,
    },
  });
  assert.equal(programs.length, 1);
  const { accumulate = Number.POSITIVE_INFINITY, apply = Number.POSITIVE_INFINITY } = dispatchesOf(programs[0]!) ?? {};
  assert.ok(accumulate < 500 && apply < 20, `${accumulate}, ${apply}`);
  policy.dispose();
});
