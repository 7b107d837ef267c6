import assert from 'node:assert/strict';
import { test } from 'node:test';
import { effortToCome, samplingEffort } from '../../src/policy/sampling-effort.js';
import type { WorkState } from '../../src/util/reporter.js';

/** Counts of ended completions by length, for at most `limit` tokens. */
function lengths(limit: number, counts: Record<number, number>): Int32Array {
  const ended = new Int32Array(limit + 1);
  for (const [length, count] of Object.entries(counts)) ended[Number(length)] = count;
  return ended;
}

test('completions that are all alike: full steps while some wait, then one last length', () => {
  // 8 waiting completions of 10 tokens in 4 slots: 2 rounds of 10 steps, and those that run have 10 - 4 steps to go.
  const ended = lengths(40, { 10: 50 });
  assert.equal(effortToCome(ended, [], 0, 4), 0);
  assert.equal(effortToCome(ended, [4, 4, 4, 4], 0, 4), 6);
  assert.equal(effortToCome(ended, [4, 4, 4, 4], 8, 4), 20 + 6);
  // Half of the slots in use: three quarters of a full step.
  assert.equal(effortToCome(ended, [4, 4], 0, 4), 0.75 * 6);
});

test('completions that start in free slots count once', () => {
  const ended = lengths(40, { 10: 50 });
  assert.equal(effortToCome(ended, [], 4, 4), 10);
  assert.equal(effortToCome(ended, [], 8, 4), 20);
  assert.equal(effortToCome(ended, [], 2, 4), 0.75 * 10);
  // 6 steps with all slots in use, then 4 with half of them.
  assert.equal(effortToCome(ended, [4, 4], 2, 4), 6 + 0.75 * 4);
});

test('short completions end first and do not make the others look short', () => {
  // After 6 steps six in ten have ended with 4 tokens and the rest run: their mean is at least 0.6·4 + 0.4·6.
  const limit = 48;
  const ended = lengths(limit, { 4: 60 });
  const running = new Array(40).fill(6);
  const perCompletion = (effortToCome(ended, running, 1000, 100) - effortToCome(ended, running, 0, 100)) / 10;
  assert.ok(perCompletion > 0.6 * 4 + 0.4 * 6, `${perCompletion}`);
  assert.ok(perCompletion < 0.6 * 4 + 0.4 * limit, `${perCompletion}`);
});

test('the estimate does not start low where most completions turn out long', () => {
  // 640 completions in 22 slots; half end at 6 tokens, half are cut at 32. Before the first end little is known.
  const limit = 32;
  const truth = (640 * (0.5 * 6 + 0.5 * limit)) / 22;
  for (const age of [1, 2, 4, 5]) {
    const expected = effortToCome(lengths(limit, {}), new Array(22).fill(age), 618, 22);
    assert.ok(expected > truth / 1.5 && expected < 2 * truth, `${expected} for ${truth} at ${age}`);
  }
});

test('no completion is expected to be longer than allowed', () => {
  assert.equal(effortToCome(lengths(10, {}), [9], 0, 1), 1);
  assert.equal(effortToCome(lengths(10, {}), [10], 0, 1), 0);
  assert.ok(effortToCome(lengths(10, {}), [], 1, 1) <= 10);
});

test('effort and completions add up over the calls; greedy lengths do not predict sampled ones', () => {
  const states: WorkState[] = [];
  const work = { update: (state: WorkState) => void states.push(state), hide: () => {}, end: () => {} };
  const effort = samplingEffort(work, [2, 4], 8);
  const play = (rollouts: number, length: number, watch: ReturnType<typeof effort.watch>) => {
    for (let step = 1; step <= length; step += 1) {
      for (let i = 0; i < rollouts; i += 1) {
        watch.onToken(i, 7);
        if (step === length)
          watch.onCompletion(i, { ids: new Array(length).fill(7), logProbs: [], finishReason: 'stop' });
      }
      watch.onStep(rollouts);
    }
  };
  play(2, 3, effort.watch(false));
  play(4, 5, effort.watch(false));
  const last = states.at(-1);
  assert.deepEqual([last?.done, last?.total], [6, 6]);
  // 3 steps with both slots that there were, 5 with all four.
  assert.deepEqual(last?.effort, { done: 8, total: 8 });
  for (const { effort: seen } of states) assert.ok(seen!.total >= seen!.done);
});
