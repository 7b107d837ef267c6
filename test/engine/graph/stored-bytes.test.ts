/**
 * State stored as bytes with a scale per row: how far it is from its values, that products are those of plain arithmetic on what
 * the bytes stand for, and that a row's numbers do not depend on others.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { embedding, linear } from '../../../src/engine/ops/ops.js';
import { defineFunction, type Program, type ProgramSpec } from '../../../src/engine/program.js';
import { stateBytes } from '../../../src/model/load.js';
import { assertClose } from '../../helpers/close.js';
import { compiledWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { noise } from '../../helpers/subjects.js';

const [width, results] = [301, 250];
const spec = { dtype: 'float32', shape: [results, width], stored: 'int8' } as const;
const weight = Float32Array.from(noise(width * results, 2));
// Rows of very different sizes, one of zeros, and one whose largest number is a single one.
weight.forEach((value, i) => {
  const row = Math.floor(i / width);
  weight[i] = row === 3 ? 0 : value * 10 ** ((row % 9) - 4);
});
weight[5 * width + 7] = 300;

async function open(functions: ProgramSpec['functions'] = {}): Promise<Program> {
  const program = (await compiledWay()).create({ state: { w: spec }, functions });
  program.write('w', weight);
  return program;
}

const rowOf = (values: ArrayLike<number>, row: number) =>
  Array.from({ length: width }, (_, i) => values[row * width + i]!);

test('a matrix of bytes takes a quarter of the memory, and a scale per row', () => {
  assert.equal(stateBytes({ w: spec }), results * (width + 4));
});

nativeTest('a number stored as a byte is off by at most half of 1/127 of its row', async () => {
  const program = await open();
  const stored = program.read('w') as Float32Array;
  for (let row = 0; row < results; row++) {
    const [given, found] = [rowOf(weight, row), rowOf(stored, row)];
    const largest = Math.max(...given.map(Math.abs));
    assertClose(`row ${row}`, found, given, { absolute: (largest / 127) * 0.5001 });
    const at = given.findIndex((value) => Math.abs(value) === largest);
    assertClose(`largest of row ${row}`, [found[at]!], [given[at]!], { relative: 1e-6 });
  }
  // What the bytes stand for is stored without loss.
  program.write('w', stored);
  assertClose('again', program.read('w'), stored, { relative: 1e-6 });
  program.fill('w', -2.5);
  assertClose('filled', program.read('w'), new Float32Array(weight.length).fill(-2.5), { relative: 1e-6 });
  program.dispose();
});

nativeTest('NaN and infinities stay visible, in their row', async () => {
  const program = await open();
  const broken = weight.slice();
  broken[2 * width + 1] = Number.NaN;
  broken[4 * width + 300] = Number.NEGATIVE_INFINITY;
  program.write('w', broken);
  const found = program.read('w');
  for (const row of [2, 4]) assert.ok(rowOf(found, row).every(Number.isNaN), `row ${row}`);
  for (const row of [1, 3, 5]) assert.ok(rowOf(found, row).every(Number.isFinite), `row ${row}`);
  program.dispose();
});

const multiply = (rows: number, precision: 'f32' | 'bf16' = 'f32') =>
  defineFunction({
    inputs: { x: { dtype: 'float32', shape: [rows, width] } },
    precision,
    body: ({ w }, { x }) => ({ outputs: { y: linear(x, w as tf.Tensor) } }),
  });

for (const rows of [1, 2, 3, 4, 5, 8, 15, 16, 17, 64, 65, 600]) {
  nativeTest(`${rows} rows times bytes: plain arithmetic on what the bytes stand for`, async () => {
    const program = await open({ f: multiply(rows), half: multiply(rows, 'bf16') });
    const x = Float32Array.from(noise(rows * width, 3));
    const stored = program.read('w');
    const checked = Math.min(rows, 70);
    const expected: number[] = [];
    const sizes: number[] = [];
    for (let row = 0; row < checked; row++) {
      for (let result = 0; result < results; result++) {
        let [sum, size] = [0, 0];
        for (let d = 0; d < width; d++) {
          const term = x[row * width + d]! * stored[result * width + d]!;
          sum += term;
          size += Math.abs(term);
        }
        expected.push(sum);
        sizes.push(size);
      }
    }
    for (const [name, relative] of [
      ['f', 1e-6],
      ['half', 2 ** -7],
    ] as const) {
      const y = program.run(name, { x }).y as Float32Array;
      for (const [i, sum] of expected.entries()) {
        assertClose(`${name} ${i}`, [y[i]!], [sum], { absolute: relative * sizes[i]! });
      }
    }
    program.dispose();
  });
}

nativeTest('a row has the same bits whatever the others are, and alone up to rounding', async () => {
  const program = await open({ one: multiply(1), many: multiply(16), more: multiply(40) });
  const x = Float32Array.from(noise(40 * width, 4));
  const all = program.run('more', { x }).y as Float32Array;
  const first = program.run('many', { x: x.slice(0, 16 * width) }).y as Float32Array;
  const others = Float32Array.from([...x.slice(0, 5 * width), ...noise(11 * width, 5)]);
  const beside = program.run('many', { x: others }).y as Float32Array;
  for (let row = 0; row < 5; row++) {
    const at = [row * results, (row + 1) * results] as const;
    assert.deepEqual(beside.slice(...at), first.slice(...at), `row ${row} beside others`);
    const alone = program.run('one', { x: x.slice(row * width, (row + 1) * width) }).y as Float32Array;
    for (let i = 0; i < results; i++) {
      // A share of the terms' largest possible sum: rows of the matrix differ by nine orders of magnitude.
      const absolute = 2e-6 * width * Math.max(...rowOf(weight, i).map(Math.abs));
      assertClose(`row ${row} alone, ${i}`, [alone[i]!], [first[at[0] + i]!], { absolute });
      assertClose(`row ${row} of 40, ${i}`, [all[at[0] + i]!], [first[at[0] + i]!], { absolute });
    }
  }
  program.dispose();
});

nativeTest('rows chosen from a table of bytes are its rows', async () => {
  const ids = Int32Array.of(249, 0, 7, 7);
  const program = await open({
    choose: defineFunction({
      inputs: { ids: { dtype: 'int32', shape: [2, 2] } },
      body: ({ w }, inputs) => ({ outputs: { rows: embedding(w as tf.Tensor, inputs.ids) } }),
    }),
    store: { inputs: {}, body: ({ w }) => ({ assign: { w: tf.mul(w as tf.Tensor, 2) } }) },
  });
  const stored = program.read('w');
  const expected = [...ids].flatMap((id) => rowOf(stored, id));
  assert.deepEqual([...(program.run('choose', { ids }).rows as Float32Array)], expected);
  program.run('store');
  assertClose('twice', program.read('w'), stored.map((value) => 2 * value) as Float32Array, { relative: 1e-6 });
  program.dispose();
});
