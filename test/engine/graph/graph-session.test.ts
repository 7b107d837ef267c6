/** The two addons that run graphs: the same program has the same results through both, and both report what is wrong. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { encodeConfig } from '../../../src/engine/graph/graphdef.js';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../../../src/engine/native.js';
import type { ProgramSpec } from '../../../src/engine/program.js';
import { createSessionProgram, type GraphDevice } from '../../../src/engine/session.js';
import { nativeTest } from '../../helpers/native.js';

const withoutNativeOps: GraphDevice = {
  kind: 'cpu',
  nativeOps: new Set<string>(),
  ownProductFrom: {},
  multipliesBfloat16: false,
};

const spec: ProgramSpec = {
  state: { total: { dtype: 'float32', shape: [2, 3] }, seen: { dtype: 'bool', shape: [3] } },
  functions: {
    add: {
      inputs: { x: { dtype: 'float32', shape: [3] }, row: { dtype: 'int32', shape: [] } },
      body: ({ total, seen }, { x, row }) => {
        const chosen = tf.expandDims(tf.cast(tf.oneHot(row as tf.Tensor, 2), 'float32'), 1);
        const next = tf.add(total as tf.Tensor, tf.mul(chosen, x as tf.Tensor));
        const positive = tf.logicalOr(seen as tf.Tensor, tf.greater(x as tf.Tensor, 0));
        return {
          outputs: { next, count: tf.sum(tf.cast(positive, 'int32')), positive },
          assign: { total: next, seen: positive },
        };
      },
    },
    log: {
      inputs: { x: { dtype: 'float32', shape: [3] } },
      body: (_state, { x }) => ({ outputs: { log: tf.log(x as tf.Tensor) } }),
      checkNumerics: true,
    },
  },
};

nativeTest('both addons run the same program to the same results', (t) => {
  const engine = findInstalledEngine();
  if (engine?.kernelsPath === undefined) return t.skip('this engine has no kernels addon');
  const binding = loadBinding(engine.bindingPath);
  const addon = loadKernels(engine.kernelsPath);
  for (const each of [addon, undefined]) {
    const program = createSessionProgram(binding, each, spec, withoutNativeOps);
    program.fill('total', 1);
    program.write('seen', Uint8Array.of(0, 0, 1));
    const results = program.run('add', { x: Float32Array.of(1, -2, 0), row: Int32Array.of(1) });
    assert.deepEqual(results, {
      next: Float32Array.of(1, 1, 1, 2, -1, 1),
      count: Int32Array.of(2), // the first by its value, the third by the state
      positive: Uint8Array.of(1, 0, 1),
    });
    assert.deepEqual(program.read('total'), results.next);
    assert.deepEqual(program.read('seen'), results.positive);
    assert.deepEqual(program.run('log', { x: Float32Array.of(1, 1, 1) }), { log: new Float32Array(3) });
    assert.throws(() => program.run('log', { x: Float32Array.of(1, 0, 1) }), /log has Inf values/);
    program.dispose();
    assert.throws(() => program.read('total'), /the program has been disposed/);
  }
});

nativeTest('the kernels addon rejects mismatched values before TensorFlow receives them', (t) => {
  const engine = findInstalledEngine();
  if (engine?.kernelsPath === undefined) return t.skip('this engine has no kernels addon');
  loadBinding(engine.bindingPath);
  const addon = loadKernels(engine.kernelsPath);
  const config = encodeConfig();
  assert.throws(() => addon.load(Uint8Array.of(1, 2, 3), '', config), /Invalid GraphDef/);
  const empty = addon.load(new Uint8Array(), '', config);
  const missing = addon.prepare([], ['nothing:0']);
  assert.throws(() => addon.run(empty, missing, [], []), /nothing:0.*not found/);
  const nothing = addon.prepare([], []);
  const one = Float32Array.of(1);
  assert.throws(() => addon.run(empty, nothing, [[1]], [one]), /expected 0 inputs, found 1/);
  addon.close(empty);
  addon.close(empty);
  assert.throws(() => addon.run(empty, nothing, [], []), /the session is closed/);
});
