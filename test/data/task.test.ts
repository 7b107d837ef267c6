import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineTask, scoreCompletion } from '../../src/data/task.js';
import { UserError } from '../../src/util/errors.js';

const rewarding = (reward: unknown) =>
  defineTask<{ n: number }>({
    name: 'demo',
    problems: () => [],
    prompt: () => '?',
    reward: (typeof reward === 'function' ? reward : () => reward) as () => number,
  });
const score = (reward: unknown, finished = true) => scoreCompletion(rewarding(reward), 'forty', { n: 4 }, { finished });

test('a number is a whole score: 1 is exact', () => {
  assert.deepEqual(score(1), { reward: 1, exact: true, parsed: true, parts: {} });
  assert.deepEqual(score(0.5), { reward: 0.5, exact: false, parsed: true, parts: {} });
});

test('an unfinished completion is never exact', () => {
  assert.equal(score(1, false).exact, false);
  assert.equal(score({ reward: 1, exact: true, parsed: true, parts: {} }, false).exact, false);
});

test('anything else is rejected, naming task, problem and completion', () => {
  const whole = { reward: 1, exact: true, parsed: true, parts: {} };
  for (const [reward, found] of [
    [1.5, 'Found 1.5'],
    [-0.1, 'Found -0.1'],
    [Number.NaN, 'Found NaN'],
    [undefined, 'Found nothing'],
    ['1', 'Found "1"'],
    [Promise.resolve(1), 'Found a promise'],
    [{ ...whole, reward: 2 }, 'Found reward 2'],
    [{ ...whole, exact: 1 }, 'Found exact 1'],
    [{ ...whole, parts: { a: 'x' } }, 'Found parts {"a":"x"}'],
    [{ ...whole, parts: null }, 'Found parts null'],
  ] as const) {
    assert.throws(
      () => score(reward),
      (error) =>
        error instanceof UserError &&
        error.message.includes('task "demo"') &&
        error.message.includes('{"n":4}') &&
        error.message.includes('"forty"') &&
        error.message.includes(found),
      found,
    );
  }
});

test('a reward that throws is an error of the task, with its message', () => {
  const broken = () => {
    throw new TypeError('cannot read x');
  };
  assert.throws(() => score(broken), /reward of task "demo" failed for problem {"n":4}.*"forty": cannot read x/);
});
