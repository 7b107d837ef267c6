/** Tensors that are larger than the card lets a shader use are cut into pieces, and results are spread over several buffers. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { adamOptions, batch, blockProgram, initialParameters, parameterNames } from '../../../src/cli/doctor/block.js';
import { openEngine } from '../../../src/engine/backend.js';
import { stepScalars } from '../../../src/engine/optim/adamw.js';
import { openDawn } from '../../../src/engine/webgpu/dawn.js';
import { openCompiler } from '../../../src/engine/wgsl/program.js';
import { assertClose } from '../../helpers/close.js';
import { noise } from '../../helpers/subjects.js';
import { webGpuTest } from '../../helpers/webgpu.js';

/** A compiler for a card that lets a shader use so few bytes of a buffer. */
async function smallCard(maxBindingBytes: number) {
  const gpu = await openDawn();
  return openCompiler({ ...gpu, facts: { ...gpu.facts, maxBindingBytes } });
}

webGpuTest('a block whose states and results exceed every buffer is trained as on any other card', async () => {
  const limit = 1440;
  const engines = [await smallCard(limit), (await openEngine('wasm')).createProgram];
  const largest = Math.max(...Object.values(initialParameters()).map(({ byteLength }) => byteLength));
  assert.ok(largest > limit, `${largest}`);
  const trained = engines.map((create) => {
    const program = create(blockProgram);
    for (const name of Object.keys(blockProgram.state)) {
      if (parameterNames.includes(name)) program.write(name, initialParameters()[name]!);
      else program.fill(name, 0);
    }
    const losses = [1, 2, 3].map(
      (step) => program.run('step', { ...batch, ...stepScalars(step, 0.02, adamOptions) }).loss![0]!,
    );
    const states = Object.keys(blockProgram.state).map((name) => program.read(name));
    program.dispose();
    return { losses, states };
  });
  const [found, expected] = trained as [(typeof trained)[number], (typeof trained)[number]];
  assertClose('losses', found.losses, expected.losses, { relative: 1e-4 });
  expected.states.forEach((values, index) => {
    assertClose(Object.keys(blockProgram.state)[index]!, found.states[index]!, values, {
      relative: 1e-3,
      absolute: 1e-3,
    });
  });
});

webGpuTest('embeddings and logits of a vocabulary that exceeds a buffer', async () => {
  const [vocabulary, width, rows] = [50, 8, 3];
  // The table takes 1600 bytes, the logits 600.
  const program = (await smallCard(512))({
    state: { table: { dtype: 'float32', shape: [vocabulary, width] } },
    functions: {
      logits: {
        inputs: { ids: { dtype: 'int32', shape: [rows] } },
        body: ({ table }, { ids }) => {
          const logits = tf.matMul(
            tf.gather(table as tf.Tensor2D, ids as tf.Tensor1D),
            table as tf.Tensor2D,
            false,
            true,
          );
          return {
            outputs: { logits, shares: tf.softmax(logits), next: tf.argMax(logits, 1) },
            assign: { table: tf.mul(table!, 2) },
          };
        },
        checkNumerics: true,
      },
    },
  });
  const table = noise(vocabulary * width, 1);
  program.write('table', table);
  assert.deepEqual(program.read('table'), table);
  const ids = Int32Array.of(0, 31, 49);
  const { logits, shares, next } = program.run('logits', { ids }) as Record<string, Float32Array>;
  for (const [row, id] of ids.entries()) {
    const expected = Array.from({ length: vocabulary }, (_, token) =>
      Array.from({ length: width }).reduce<number>(
        (sum, _, k) => sum + table[id * width + k]! * table[token * width + k]!,
        0,
      ),
    );
    const [found, share] = [logits!, shares!].map((values) =>
      values.subarray(row * vocabulary, (row + 1) * vocabulary),
    );
    const total = expected.reduce((sum, value) => sum + Math.exp(value), 0);
    for (const [token, value] of expected.entries()) {
      assert.ok(Math.abs(found![token]! - value) < 1e-5, `logit ${token}`);
      assert.ok(Math.abs(share![token]! - Math.exp(value) / total) < 1e-6, `share ${token}`);
    }
    assert.equal(next![row], expected.indexOf(Math.max(...expected)));
  }
  assert.deepEqual(
    program.read('table'),
    table.map((value) => 2 * value),
  );
  program.fill('table', 3);
  assert.deepEqual(program.read('table'), new Float32Array(table.length).fill(3));
  program.dispose();
});
