/** State stored as bfloat16 on WebGPU: two values in a word, rounded when stored, exact when read. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
// Registers gradients.
import '../../../src/engine/backend.js';
import { embedding, linear } from '../../../src/engine/ops/ops.js';
import type { FunctionSpec, TensorSpec } from '../../../src/engine/program.js';
import { openDawn } from '../../../src/engine/webgpu/dawn.js';
import type { WebGpuDevice } from '../../../src/engine/webgpu/device.js';
import { dispatchesOf, openCompiler } from '../../../src/engine/wgsl/program.js';
import { type Tuning, tuningOf } from '../../../src/engine/wgsl/tuning.js';
import { rounded } from '../../helpers/bfloat16.js';
import { assertClose } from '../../helpers/close.js';
import { noise } from '../../helpers/subjects.js';
import { webGpuTest } from '../../helpers/webgpu.js';

let opened: Promise<WebGpuDevice> | undefined;
const open = () => (opened ??= openDawn());

webGpuTest('values are rounded to nearest, ties to even, on the card as by the host', async () => {
  const shape = [3, 5];
  const whole = { dtype: 'float32', shape } as const;
  const half = { ...whole, stored: 'bf16' } as const;
  const program = openCompiler(await open())({
    state: { half, other: half, whole },
    functions: {
      look: { inputs: {}, body: (state) => ({ outputs: { half: state.half!, other: state.other! } }) },
      exchange: { inputs: {}, body: (state) => ({ assign: { half: state.whole!, whole: state.half! } }) },
      copy: { inputs: {}, checkNumerics: true, body: (state) => ({ assign: { other: state.half! } }) },
      bad: { inputs: {}, checkNumerics: true, body: (state) => ({ assign: { half: tf.log(tf.neg(state.whole!)) } }) },
    },
  });
  const values = Float32Array.from(noise(15, 1));
  values.set([1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8, 0, 3.3e38, 2 ** -100]);
  for (const name of ['half', 'whole']) program.write(name, values);
  assert.deepEqual(program.read('half'), rounded(values));
  program.write('whole', values.toReversed());
  program.run('exchange');
  assert.deepEqual(program.read('whole'), rounded(values), 'the value from before the call');
  assert.deepEqual(program.read('half'), rounded(values.toReversed()));
  program.write('half', values);
  program.run('copy');
  assert.deepEqual(program.run('look'), { half: rounded(values), other: rounded(values) }, 'rounded by the card');
  program.fill('half', 1 / 3);
  program.fill('whole', 1);
  assert.throws(() => program.run('bad'), /half has NaN/);
  assert.deepEqual(program.read('half'), rounded(new Float32Array(15).fill(1 / 3)));
  program.dispose();
});

webGpuTest('products read it as it is stored, and round their other operand where the precision says so', async () => {
  const [width, results, chosen] = [37, 24, Int32Array.of(5, 23)];
  const weight = Float32Array.from(noise(width * results, 2));
  const stored = rounded(weight);
  const whole = { dtype: 'float32', shape: [results, width] } as const;
  const { facts } = await open();
  const tile = { rows: 8, columns: 8, own: 4, slices: 1, depth: 4 } as const;
  const card: Tuning = { ...tuningOf({ ...facts, software: false }), threads: 32, tiles: [tile] };
  for (const tuning of [{ ...card, threads: 1 }, card]) {
    for (const [rows, precision] of [
      [3, 'f32'],
      [3, 'bf16'],
      [9, 'bf16'],
    ] as const) {
      const x = Float32Array.from(noise(rows * width, 3));
      const inputs = { x: { dtype: 'float32', shape: [rows, width] } as TensorSpec };
      const product = (name: string): FunctionSpec => ({
        inputs,
        precision,
        body: (state, given) => ({ outputs: { y: linear(given.x as never, state[name] as never) } }),
      });
      const program = openCompiler(
        await open(),
        tuning,
      )({
        state: { w: { ...whole, stored: 'bf16' }, whole },
        functions: {
          stored: product('w'),
          whole: product('whole'),
          rows: {
            inputs: { ids: { dtype: 'int32', shape: [chosen.length] } },
            precision,
            body: (state, { ids }) => ({ outputs: { rows: embedding(state.w as never, ids as never) } }),
          },
          gradient: {
            inputs,
            precision,
            body: (state, given) => ({
              outputs: { dx: tf.grad((at) => tf.sum(tf.square(linear(at as never, state.w as never))))(given.x!) },
            }),
          },
        },
      });
      assert.deepEqual([dispatchesOf(program)?.stored, dispatchesOf(program)?.whole], [1, 1], 'no copy of an operand');
      program.write('w', weight);
      program.write('whole', precision === 'bf16' ? weight : stored);
      const operand = precision === 'bf16' ? rounded(x) : x;
      const expected = Array.from({ length: rows * results }, (_, i) => {
        const [row, result] = [Math.floor(i / results), i % results];
        let sum = 0;
        for (let d = 0; d < width; d += 1) sum += operand[row * width + d]! * stored[result * width + d]!;
        return sum;
      });
      const what = `${rows} rows, ${precision}, ${tuning.threads} threads`;
      for (const name of ['stored', 'whole'] as const) {
        assertClose(`${name}, ${what}`, program.run(name, { x }).y!, expected, { relative: 1e-5, absolute: 1e-5 });
      }
      const slopes = Float32Array.from(expected, (value) => 2 * value);
      const dy = precision === 'bf16' ? rounded(slopes) : slopes;
      const dx = Array.from({ length: rows * width }, (_, i) => {
        const [row, d] = [Math.floor(i / width), i % width];
        let sum = 0;
        for (let result = 0; result < results; result += 1)
          sum += dy[row * results + result]! * stored[result * width + d]!;
        return sum;
      });
      // A sum next to the middle of two bfloat16 values may be rounded to either.
      const tolerance =
        precision === 'bf16' ? { relative: 2 ** -7, absolute: 0.05 } : { relative: 1e-4, absolute: 1e-4 };
      assertClose(`gradient, ${what}`, program.run('gradient', { x }).dx!, dx, tolerance);
      const picked = [...chosen].flatMap((id) => [...stored.subarray(id * width, (id + 1) * width)]);
      assert.deepEqual([...program.run('rows', { ids: chosen }).rows!], picked);
      program.dispose();
    }
  }
});

webGpuTest('a table that exceeds a buffer even as bfloat16 is cut into pieces, read and stored', async () => {
  const [vocabulary, width] = [51, 9];
  const gpu = await open();
  const table = { dtype: 'float32', shape: [vocabulary, width] } as const;
  // It takes 918 bytes.
  const program = openCompiler({ ...gpu, facts: { ...gpu.facts, maxBindingBytes: 512 } })({
    state: { half: { ...table, stored: 'bf16' }, whole: table },
    functions: {
      copy: { inputs: {}, body: ({ whole }) => ({ assign: { half: tf.mul(whole!, 2) } }) },
      rows: {
        inputs: { ids: { dtype: 'int32', shape: [3] } },
        body: ({ half }, { ids }) => ({ outputs: { rows: tf.gather(half!, ids as tf.Tensor1D) } }),
      },
    },
  });
  const values = Float32Array.from(noise(vocabulary * width, 1));
  program.write('half', values);
  assert.deepEqual(program.read('half'), rounded(values));
  const ids = Int32Array.of(0, 28, 50);
  const rowsOf = (from: Float32Array) => [...ids].flatMap((id) => [...from.subarray(id * width, (id + 1) * width)]);
  assert.deepEqual([...program.run('rows', { ids }).rows!], rowsOf(rounded(values)));
  program.write('whole', values);
  program.run('copy');
  const doubled = rounded(values.map((value) => 2 * value));
  assert.deepEqual(program.read('half'), doubled);
  assert.deepEqual([...program.run('rows', { ids }).rows!], rowsOf(doubled));
  program.fill('half', 3);
  assert.deepEqual(program.read('half'), new Float32Array(values.length).fill(3));
  program.dispose();
});
