/** @file The limit of a GPU's memory: its message, and a session that opens the devices before tfjs-node-gpu's addon does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../../src/engine/backend.js';
import { gpuMemoryLimit } from '../../../src/engine/cuda.js';
import { encodeGpuShare } from '../../../src/engine/graph/graphdef.js';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { loadKernels } from '../../../src/engine/native.js';
import { nativeTest } from '../../helpers/native.js';

test('the limit comes from the environment, in GB', () => {
  assert.equal(gpuMemoryLimit({ TINYZERO_GPU_MEMORY: '7.5' }), 7.5e9);
  assert.equal(gpuMemoryLimit({ TINYZERO_GPU_MEMORY: '' }), undefined);
  assert.equal(gpuMemoryLimit({}), undefined);
});

test('the message is a ConfigProto with gpu_options.per_process_gpu_memory_fraction', () => {
  assert.equal(Buffer.from(encodeGpuShare(0.5)).toString('hex'), '320909000000000000e03f');
});

nativeTest('the engine works if a session opened the devices before it', async (t) => {
  const path = findInstalledEngine()?.kernelsPath;
  if (path === undefined) return t.skip('this engine has no kernels addon');
  const kernels = loadKernels(path);
  kernels.close(kernels.load(new Uint8Array(), '', encodeGpuShare(0.5)));
  const engine = await openEngine('tensorflow');
  const program = engine.createProgram({
    state: { x: { dtype: 'float32', shape: [2] } },
    functions: { twice: { inputs: {}, body: ({ x }) => ({ outputs: { twice: tf.mul(x!, 2) } }) } },
  });
  program.write('x', Float32Array.of(1, 2));
  assert.deepEqual(program.run('twice'), { twice: Float32Array.of(2, 4) });
  program.dispose();
});
