import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldOutSplits, type MultiplicationOptions, multiplicationTask } from '../../src/data/multiplication.js';
import { buildProblemSet, hashProblems } from '../../src/data/problem.js';
import { defineTask, type Task } from '../../src/data/task.js';
import { UserError } from '../../src/util/errors.js';

const multiplication = (options: Partial<MultiplicationOptions> = {}) =>
  multiplicationTask({
    min: 2,
    max: 12,
    heldOut: heldOutSplits.tiny,
    wording: 'builtin',
    reward: { kind: 'graded', read: 'stated' },
    ...options,
  });
const options = { seed: 1, numTrain: 500, numTest: 20, overlap: 'none' } as const;

/** Whole numbers from 0 to size-1, asked by name: a task without a held-out list. */
const numbers = (size: number, more: Partial<Task<number>> = {}) =>
  defineTask<number>({
    name: 'numbers',
    problems: (random, n) => Array.from({ length: n }, () => random.int(0, size - 1)),
    prompt: (value) => `n=${value}`,
    reward: () => 0,
    ...more,
  });
const builds = (task: Task<number>, more = {}) =>
  buildProblemSet(task, { ...options, numTrain: 50, numTest: 5, ...more });

test('500 rows refer to at most 101 distinct problems, and the 20 held-out ones are the test', () => {
  const set = buildProblemSet(multiplication(), options);
  assert.equal(set.rows.length, 500);
  assert.ok(set.train.length > 90 && set.train.length <= 101, `${set.train.length}`);
  assert.equal(new Set(set.train.map((problem) => problem.id)).size, set.train.length);
  assert.deepEqual(
    [...new Set(set.rows)].sort((a, b) => a - b),
    [...set.train.keys()],
  );
  assert.equal(set.test.length, 20);
  assert.deepEqual(set.notes, []);
  const clusters = new Set(set.train.map((problem) => problem.cluster));
  assert.ok(set.test.every((problem) => !clusters.has(problem.cluster)));
  assert.deepEqual(set.test[0], { id: 'What is 6 × 7?\n', cluster: '6×7', value: { a: 6, b: 7 } });
});

test('the same seed gives the same problems, another seed others', () => {
  const set = buildProblemSet(multiplication(), options);
  assert.deepEqual(buildProblemSet(multiplication(), options), set);
  const other = buildProblemSet(multiplication(), { ...options, seed: 2 });
  assert.notDeepEqual(other.rows, set.rows);
  assert.notEqual(hashProblems(other.train), hashProblems(set.train));
});

test('more test problems than exist: all of them, with a note; fewer: as many as requested', () => {
  const set = buildProblemSet(multiplication(), { ...options, numTest: 50 });
  assert.equal(set.test.length, 20);
  assert.match(set.notes.join(), /Only 20 problems can be held out, fewer than --num-test 50\./);
  assert.equal(buildProblemSet(multiplication(), { ...options, numTest: 7 }).test.length, 7);
});

test('overlap "seed" tests on trained problems, and reports how many', () => {
  const set = buildProblemSet(multiplication({ heldOut: [] }), { ...options, numTest: 50, overlap: 'seed' });
  const trained = new Set(set.train.map((problem) => problem.cluster));
  const shared = set.test.filter((problem) => trained.has(problem.cluster)).length;
  assert.ok(shared > 25);
  assert.match(set.notes.join(), new RegExp(`${shared} of the ${set.test.length} test problems`));
});

test('without a held-out list whole clusters are set aside and the rows are filled up', () => {
  const set = builds(numbers(60, { cluster: (value) => `${value % 30}` }));
  const trained = new Set(set.train.map((problem) => problem.cluster));
  assert.equal(set.test.length, 5);
  assert.equal(set.rows.length, 50);
  assert.ok(set.test.every((problem) => !trained.has(problem.cluster)));
  assert.deepEqual(builds(numbers(60, { cluster: (value) => `${value % 30}` })), set);
});

test('a task that cannot be split is rejected', () => {
  assert.throws(() => builds(numbers(1)), /too few distinct problems/);
  const stuck = numbers(2, { problems: (_, n) => new Array(n).fill(0) });
  assert.throws(() => builds(stuck), /too few distinct problems/);
});

test('broken contracts are named with the problem', () => {
  for (const [task, message] of [
    [numbers(9, { problems: () => [1] }), /array of 55 problems.*Found 1 problems/],
    [numbers(9, { problems: () => 'x' as never }), /Found "x"/],
    [numbers(9, { prompt: () => '' }), /prompt\(\).*for problem \d.*Found ""/],
    [numbers(9, { prompt: () => 'same' }), /have the same prompt "same"/],
    [
      numbers(9, {
        prompt: () => {
          throw new Error('oops');
        },
      }),
      /prompt\(\) of task "numbers" failed for problem \d: oops/,
    ],
    [numbers(9, { cluster: () => 3 as never }), /cluster\(\).*Found 3/],
    [numbers(9, { heldOut: () => [1, 2, 3, 4, 5, 6] }), /heldOut\(random, 5\).*at most 5 problems\. Found 6/],
    [numbers(9, { heldOut: () => [4] }), /draws "n=4", or a problem of its cluster, for training although/],
  ] as const) {
    assert.throws(
      () => builds(task),
      (error) => error instanceof UserError && message.test(error.message),
      String(message),
    );
  }
});
