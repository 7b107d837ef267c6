import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AsyncReward,
  defineTask,
  gradeCompletions,
  type RewardResult,
  scoreCompletion,
} from '../../src/data/task.js';
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

const judged = (reward: (text: string) => Promise<RewardResult>, asyncReward: AsyncReward | undefined = {}) =>
  defineTask<number>({
    name: 'judged',
    problems: () => [],
    prompt: () => '?',
    reward,
    ...(asyncReward && { asyncReward }),
  });
const calls = (...texts: string[]) =>
  texts.map((completion, problem) => ({ completion, problem, info: { finished: true } }));

test('scores come in the order of the completions, whatever the order of the answers', async () => {
  const waiting: (() => void)[] = [];
  const task = judged((text) => new Promise((resolve) => waiting.push(() => resolve(Number(text)))), {
    concurrency: 3,
  });
  const scores = gradeCompletions(task, calls('0', '0.5', '1'));
  await new Promise(setImmediate);
  assert.equal(waiting.length, 3);
  for (const answer of waiting.reverse()) answer();
  assert.deepEqual(
    (await scores).map(({ reward }) => reward),
    [0, 0.5, 1],
  );
});

test('no more rewards are pending than the task allows', async () => {
  let running = 0;
  let most = 0;
  const task = judged(
    async () => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return 1;
    },
    { concurrency: 2 },
  );
  await gradeCompletions(task, calls(...new Array(7).fill('x')));
  assert.equal(most, 2);
});

test('a reward that takes too long, fails or returns nonsense is an error of the task', async () => {
  const never = judged(() => new Promise(() => {}), { timeLimitSeconds: 0.01 });
  await assert.rejects(gradeCompletions(never, calls('x')), /reward of task "judged" took more than 0\.01 s .*"x"/);
  const failing = judged(async () => {
    throw new Error('HTTP 500');
  });
  await assert.rejects(gradeCompletions(failing, calls('x')), /reward of task "judged" failed .*HTTP 500/);
  await assert.rejects(
    gradeCompletions(
      judged(async () => 2),
      calls('x'),
    ),
    /invalid value .*Found 2/,
  );
});

test('a promise without `asyncReward` is rejected with the member that allows it', async () => {
  const { asyncReward: _, ...task } = judged(async () => 1);
  await assert.rejects(
    gradeCompletions(task, calls('x')),
    (error) => error instanceof UserError && error.message.includes('asyncReward: {}'),
  );
});

test('an abort ends the waiting', async () => {
  const stop = new AbortController();
  const scores = gradeCompletions(
    judged(() => new Promise(() => {})),
    calls('x'),
    stop.signal,
  );
  await new Promise(setImmediate);
  stop.abort(new Error('stopped'));
  await assert.rejects(scores, /stopped/);
});
