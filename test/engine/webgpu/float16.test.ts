/** State stored as float16 on WebGPU: two values in a word, exact when read, whatever the driver does with subnormal numbers. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
// Registers gradients.
import { openEngine } from '../../../src/engine/backend.js';
import { float16Values } from '../../../src/engine/dtype.js';
import { embedding, linear } from '../../../src/engine/ops/ops.js';
import type { TensorSpec } from '../../../src/engine/program.js';
import { openDawn } from '../../../src/engine/webgpu/dawn.js';
import type { WebGpuDevice } from '../../../src/engine/webgpu/device.js';
import { dispatchesOf, openCompiler } from '../../../src/engine/wgsl/program.js';
import { tuningOf } from '../../../src/engine/wgsl/tuning.js';
import { narrow, widen } from '../../../src/model/checkpoint/dtype.js';
import { createModelProgram } from '../../../src/model/load.js';
import { parseModelConfig } from '../../../src/model/network/config.js';
import { parameterSpecs } from '../../../src/model/network/params.js';
import { planScoring, score, scoreFunctions } from '../../../src/model/score.js';
import { assertClose } from '../../helpers/close.js';
import { noise } from '../../helpers/subjects.js';
import { webGpuTest } from '../../helpers/webgpu.js';

let opened: Promise<WebGpuDevice> | undefined;
const open = () => (opened ??= openDawn());

function rounded(values: Float32Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(values.length);
  widen(narrow(values, 'float16'), 'float16', result);
  return result;
}

/** All float16 numbers but NaN. */
const allHalves = new Float32Array(float16Values().buffer as ArrayBuffer).filter((value) => !Number.isNaN(value));

webGpuTest('every float16 number is read exactly on the card, subnormal ones as well', async () => {
  const spec = { dtype: 'float32', shape: [allHalves.length] } as const;
  const program = openCompiler(await open())({
    state: { half: { ...spec, stored: 'f16' }, whole: spec, other: { ...spec, stored: 'f16' } },
    functions: {
      widen: { inputs: {}, body: ({ half }) => ({ assign: { whole: half! } }) },
      scale: { inputs: {}, body: ({ half }) => ({ outputs: { scaled: tf.mul(half!, 2 ** 20) } }) },
      narrow: { inputs: {}, body: ({ whole }) => ({ assign: { other: whole! } }) },
    },
  });
  program.write('half', allHalves);
  assert.deepEqual(program.read('half'), allHalves);
  program.run('widen');
  assert.deepEqual(program.read('whole'), allHalves);
  assert.deepEqual(
    program.run('scale').scaled,
    allHalves.map((value) => value * 2 ** 20),
  );
  program.run('narrow');
  assert.deepEqual(program.read('other'), allHalves);
  program.dispose();
});

webGpuTest('values are rounded to nearest, ties to even, on the card as by the host', async () => {
  // Every number between two neighbours in float16, the middle and both sides of it, up to infinity.
  const between = [1 + 2 ** -12, 1 + 2 ** -11, 1 + 3 * 2 ** -12];
  const values = Float32Array.from([...allHalves].flatMap((value) => between.map((factor) => value * factor)));
  const spec = { dtype: 'float32', shape: [values.length] } as const;
  const program = openCompiler(await open())({
    state: { half: { ...spec, stored: 'f16' }, whole: spec },
    functions: {
      exchange: { inputs: {}, body: ({ half, whole }) => ({ assign: { half: whole!, whole: half! } }) },
      bad: { inputs: {}, checkNumerics: true, body: ({ whole }) => ({ assign: { half: tf.mul(whole!, 1e6) } }) },
    },
  });
  program.write('whole', values);
  program.fill('half', 0.1);
  program.run('exchange');
  assert.deepEqual(program.read('half'), rounded(values));
  assert.deepEqual(program.read('whole'), rounded(new Float32Array(values.length).fill(0.1)));
  assert.throws(() => program.run('bad'), /half has Inf/);
  assert.deepEqual(program.read('half'), rounded(values));
  program.write('whole', new Float32Array(values.length).fill(Number.NaN));
  program.run('exchange');
  assert.ok(program.read('half').every(Number.isNaN));
  program.dispose();
});

webGpuTest('products and gathers read it as it is stored, in one thread per element and in tiles', async () => {
  const [rows, width, results, ids] = [9, 37, 24, Int32Array.of(5, 23)];
  const x = noise(rows * width, 3);
  const weight = noise(width * results, 2).map((value, i) => (i % 7 === 0 ? value * 2 ** -20 : value));
  const stored = rounded(weight);
  const inputs = { x: { dtype: 'float32', shape: [rows, width] } as TensorSpec };
  const { facts } = await open();
  const tile = { rows: 8, columns: 8, own: 4, slices: 1, depth: 4 } as const;
  const card = { ...tuningOf({ ...facts, software: false }), threads: 32, tiles: [tile] };
  for (const tuning of [{ ...card, threads: 1 }, card]) {
    const program = openCompiler(
      await open(),
      tuning,
    )({
      state: { w: { dtype: 'float32', shape: [results, width], stored: 'f16' } },
      functions: {
        product: { inputs, body: ({ w }, given) => ({ outputs: { y: linear(given.x as never, w as never) } }) },
        rows: {
          inputs: { ids: { dtype: 'int32', shape: [ids.length] } },
          body: ({ w }, given) => ({ outputs: { rows: embedding(w as never, given.ids as never) } }),
        },
      },
    });
    program.write('w', weight);
    assert.equal(dispatchesOf(program)?.product, 1, 'no copy of an operand');
    const expected = Array.from({ length: rows * results }, (_, i) => {
      const [row, result] = [Math.floor(i / results), i % results];
      let sum = 0;
      for (let d = 0; d < width; d += 1) sum += x[row * width + d]! * stored[result * width + d]!;
      return sum;
    });
    assertClose(`${tuning.threads} threads`, program.run('product', { x }).y!, expected, {
      relative: 1e-5,
      absolute: 1e-5,
    });
    const picked = [...ids].flatMap((id) => [...stored.subarray(id * width, (id + 1) * width)]);
    assert.deepEqual([...program.run('rows', { ids }).rows!], picked);
    program.dispose();
  }
});

webGpuTest('a float16 checkpoint takes 2 bytes a weight, with the log-probs of wasm, which widens it', async () => {
  const record = {
    model_type: 'llama',
    vocab_size: 300,
    hidden_size: 256,
    num_hidden_layers: 1,
    num_attention_heads: 4,
  };
  const config = parseModelConfig({ ...record, intermediate_size: 256, max_position_embeddings: 32 }, 'test');
  const specs = parameterSpecs(config);
  const names = Object.keys(specs);
  const read = (name: string) => {
    const size = specs[name]!.reduce((product, side) => product * side, 1);
    return rounded(
      name.endsWith('norm.weight')
        ? new Float32Array(size).fill(1)
        : noise(size, names.indexOf(name)).map((x) => x / 8),
    );
  };
  const weights = { dtypeOf: () => 'float16', read } as never;
  const rows = [{ promptIds: [3, 7, 9], completionIds: [20, 200, 4, 299] }];
  const plan = planScoring(config, rows);
  const scores: Float32Array[] = [];
  for (const name of ['webgpu', 'wasm'] as const) {
    const parts = { state: {}, functions: scoreFunctions(config, plan.groups) };
    const program = await createModelProgram(await openEngine(name), { config, folder: 'none', weights }, parts);
    const { stored } = program.spec.state['model.embed_tokens.weight']!;
    assert.equal(stored, name === 'webgpu' ? 'f16' : undefined);
    scores.push((await score(program, plan, rows, { temperature: 1 }))[0]!);
    program.dispose();
  }
  assertClose('log-probs', scores[0]!, scores[1]!, { absolute: 1e-4 });
});
