/** The webgpu engine computes what the others do. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { agreementCheck } from '../../../src/cli/doctor/engine.js';
import { openEngine } from '../../../src/engine/backend.js';
import { webGpuTest } from '../../helpers/webgpu.js';

webGpuTest('loss and gradients of a transformer block equal those of wasm and NumPy', async () => {
  const { ok, found } = await agreementCheck(await openEngine('webgpu'));
  assert.ok(ok, found);
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
