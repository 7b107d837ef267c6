import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseParallel, parseParallel } from '../../../src/cli/many/execute.js';

const small = { memory: [{ stage: 'training', parts: {}, bytes: 5e8 }], device: 'cpu', parameters: 4e5 } as const;
const machine = { cores: 8, free: 16e9 };

test('small models: one processor each, as many as memory and runs allow', () => {
  assert.deepEqual(chooseParallel('auto', 20, small, machine), { count: 8, reason: '8 processors', threads: 1 });
  assert.equal(chooseParallel('auto', 3, small, machine).count, 3);
  const tight = chooseParallel('auto', 20, small, { cores: 8, free: 2e9 });
  assert.equal(tight.count, 3);
  assert.match(tight.reason, /500 MB each, 2\.0 GB of memory free/);
  assert.equal(chooseParallel('auto', 20, small, { cores: 8, free: 1e8 }).count, 1, 'one run is always tried');
});

test('large models and a GPU: one after the other, with all processors', () => {
  const large = { ...small, parameters: 135e6 };
  const { count, threads, reason } = chooseParallel('auto', 5, large, machine);
  assert.deepEqual([count, threads, reason], [1, undefined, 'one run keeps all processors busy']);
  assert.equal(chooseParallel('auto', 5, { ...small, device: 'gpu' }, machine).count, 1);
  assert.equal(chooseParallel('auto', 5, { ...large, device: 'wasm' }, machine).count, 5, 'wasm has one thread');
});

test('a given number is used as it is, and the runs divide the processors', () => {
  assert.deepEqual(chooseParallel(3, 5, small, machine), { count: 3, reason: 'as requested', threads: 2 });
  assert.equal(chooseParallel(30, 5, small, machine).count, 5);
  assert.equal(parseParallel('auto'), 'auto');
  assert.equal(parseParallel('4'), 4);
  for (const wrong of ['0', '-1', '1.5', 'all', ''])
    assert.throws(() => parseParallel(wrong), /--parallel: expected auto or/);
});
