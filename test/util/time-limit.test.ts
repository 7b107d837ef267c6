import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withinTime } from '../../src/util/time-limit.js';

test('work within its time limit returns its result or throws its own error', () => {
  assert.equal(
    withinTime(1000, () => 7),
    7,
  );
  assert.throws(
    () =>
      withinTime(1000, () => {
        throw new TypeError('mine');
      }),
    TypeError,
  );
});

test('a loop or a regular expression that never ends is stopped', () => {
  const slow = /^(a|a)*$/;
  assert.throws(() => withinTime(50, () => slow.test(`${'a'.repeat(60)}b`)), /RangeError: it takes longer than 50 ms/);
  assert.throws(
    () =>
      withinTime(50, () => {
        for (;;);
      }),
    RangeError,
  );
});

test('work that waited for a busy machine is repeated; work that needs the time is not', () => {
  let calls = 0;
  const starved = () => {
    calls += 1;
    // Takes no processor time, as a process that another one keeps from running.
    if (calls === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
    return [...'abc'].map((letter) => letter.toUpperCase()).join('');
  };
  assert.equal(withinTime(300, starved), 'ABC');
  assert.ok(calls >= 2);
});
