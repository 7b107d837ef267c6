/** Sums and zeros in the memory of state: the same numbers in every way, and memory that goes back to the system. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { addInto, addProductInto, addRowsInto, clear, release } from '../../../src/engine/ops/state-ops.js';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { assertClose } from '../../helpers/close.js';
import { compiledWay, testEveryWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';

const fn = (body: FunctionSpec['body']): FunctionSpec => ({ inputs: {}, body });
const sum = { dtype: 'float32', shape: [6, 2] } as const;

testEveryWay('rows, products and values are added to one sum, which is then cleared', (way) => {
  const add = fn((state) => {
    const first = addRowsInto(state.sum!, tf.tensor1d([4, 0, 4], 'int32'), tf.tensor2d([1, 2, 3, 4, 10, 20], [3, 2]));
    const dy = tf.tensor2d([1, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0], [2, 6]);
    const second = addProductInto(first, dy, tf.tensor2d([1, 10, 100, 1000], [2, 2]));
    return { assign: { sum: addInto(second, tf.fill([6, 2], 0.5)) } };
  });
  const program = way.create({
    state: { sum },
    functions: { add, clear: fn((s) => ({ assign: { sum: clear(s.sum!) } })) },
  });
  try {
    program.fill('sum', 0);
    const once = [4.5, 14.5, 100.5, 1000.5, 0.5, 0.5, 0.5, 0.5, 11.5, 22.5, 2.5, 20.5];
    for (const times of [1, 2]) {
      program.run('add');
      assertClose(
        'sum',
        program.read('sum'),
        once.map((value) => times * value),
        { relative: 1e-6 },
      );
    }
    program.run('clear');
    assert.deepEqual(program.read('sum'), new Float32Array(12));
    program.run('add');
    assertClose('sum', program.read('sum'), once, { relative: 1e-6 });
  } finally {
    program.dispose();
  }
});

nativeTest('a large product is added a part at a time, with the same result', async () => {
  const [V, D] = [10, 1 << 20];
  const table = { dtype: 'float32', shape: [V, D] } as const;
  const dy = Float32Array.from({ length: 2 * V }, (_, i) => Math.sin(i));
  const x = Float32Array.from({ length: 2 * D }, (_, i) => (i % 13) - 6);
  const way = await compiledWay();
  const inputs = { dy: { dtype: 'float32', shape: [2, V] }, x: { dtype: 'float32', shape: [2, D] } } as const;
  const body: FunctionSpec['body'] = (state, given) => ({
    assign: { table: addProductInto(state.table!, given.dy as tf.Tensor2D, given.x as tf.Tensor2D) },
  });
  const program = way.create({ state: { table }, functions: { add: { inputs, body } } });
  program.fill('table', 1);
  program.run('add', { dy, x });
  const found = program.read('table');
  program.dispose();
  for (let at = 0; at < found.length; at += 997) {
    const [row, column] = [Math.floor(at / D), at % D];
    const expected = 1 + dy[row]! * x[column]! + dy[V + row]! * x[D + column]!;
    assert.ok(Math.abs(found[at]! - expected) < 1e-4, `element ${at}: ${found[at]} instead of ${expected}`);
  }
});

nativeTest('released state takes no memory until it is written again', async (t) => {
  const way = await compiledWay();
  if (process.platform !== 'linux' || way.engine.instructions === undefined)
    return t.skip('no native ops, or another system');
  const size = 1 << 25;
  const state = { large: { dtype: 'float32', shape: [size] } } as const;
  const zeros = fn((s) => ({ assign: { large: release(s.large!) } }));
  const one = fn((s) => ({ assign: { large: addInto(s.large!, tf.ones([size])) } }));
  const program = way.create({ state, functions: { clear: zeros, one } });
  const resident = () => 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  program.fill('large', 3);
  const before = resident();
  program.run('clear');
  assert.ok(before - resident() > 3 * size, `${before - resident()} bytes were given back, of ${4 * size}`);
  program.run('one');
  assert.deepEqual((program.read('large') as Float32Array).subarray(-2), Float32Array.of(1, 1));
  program.dispose();
});
