import assert from 'node:assert/strict';
import { test } from 'node:test';
import { algorithmNames, algorithms } from '../../src/stage2/algorithm.js';
import { planBatches, plannedRollouts, plannedUpdates } from '../../src/stage2/plan.js';

const rows = ['a', 'b', 'b', 'c', 'd'].map((id) => ({ id, cluster: id, value: id }));
const options = { seed: 1, batchSize: 4, groupSize: 1, rollouts: 10 };
const names = (batches: ReturnType<typeof planBatches>) => batches.flat().map(({ problem }) => problem.id);

test('every epoch visits every row once, in an order of its own, and batches run on across epochs', () => {
  const batches = planBatches(rows, options);
  assert.deepEqual(
    batches.map((batch) => batch.length),
    [4, 4, 2],
  );
  const visited = names(batches);
  assert.deepEqual(visited.slice(0, 5).sort(), ['a', 'b', 'b', 'c', 'd']);
  assert.deepEqual(visited.slice(5).sort(), ['a', 'b', 'b', 'c', 'd']);
  assert.notDeepEqual(visited.slice(0, 5), visited.slice(5));
  assert.deepEqual(names(planBatches(rows, options)), visited);
  assert.notDeepEqual(names(planBatches(rows, { ...options, seed: 2 })), visited);
  assert.deepEqual(
    batches.flat().map(({ epoch }) => epoch),
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
  );
});

test('no two visits share random numbers, and groups are consecutive', () => {
  const batches = planBatches(rows, { ...options, groupSize: 2, rollouts: 12 });
  const samples = batches.flat().map(({ sample }) => sample);
  assert.equal(new Set(samples).size, 12);
  for (const batch of batches) {
    for (let i = 0; i < batch.length; i += 2) assert.equal(batch[i]!.problem, batch[i + 1]!.problem);
  }
  assert.throws(() => planBatches(rows, { ...options, groupSize: 3 }), /multiple of 3/);
  assert.throws(() => planBatches([], options), /at least one row/);
});

test('the number of updates is known before the plan is made', () => {
  for (const algo of algorithmNames) {
    for (const epochs of [1, 3]) {
      const work = { algo, epochs, batchSize: 4, numSamples: 2 };
      const count = { rows: rows.length, problems: 4 };
      const plan = { ...options, groupSize: algorithms[algo].groupSize(work), rollouts: plannedRollouts(work, count) };
      assert.equal(plannedUpdates(work, count), planBatches(rows, plan).length);
      // 5 rows an epoch; without stage 1 also its 2 samples of each of the 4 problems.
      assert.equal(plan.rollouts, 5 * epochs + (algorithms[algo].hasStage1 ? 0 : 8));
    }
  }
});
