/** The placebo: nobody keeps the own reward, all rewards are given, and a report says what it is. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { train } from '../../src/index.js';
import { judge, placeboWords } from '../../src/report/verdict.js';
import { readLog } from '../../src/run/logs.js';
import { shuffledScores } from '../../src/stage2/control.js';
import { keyedRandom } from '../../src/util/random.js';
import { temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { runRecord } from '../helpers/run-record.js';

const rollouts = (count: number) => Array.from({ length: count }, (_, i) => ({ id: i, score: { reward: i } }));

test('every rollout is given the reward of another, and each reward is given once', () => {
  for (const count of [2, 3, 8, 32]) {
    for (let step = 1; step <= 20; step++) {
      const given = shuffledScores(rollouts(count), keyedRandom(1, step));
      assert.deepEqual(
        given.map(({ id }) => id),
        rollouts(count).map(({ id }) => id),
      );
      assert.ok(
        given.every(({ id, score }) => score.reward !== id),
        `${count} rollouts, step ${step}`,
      );
      assert.deepEqual(
        given.map(({ score }) => score.reward).sort((a, b) => a - b),
        rollouts(count).map(({ id }) => id),
      );
    }
  }
});

test('every other rollout is equally likely', () => {
  const count = 5;
  const times = new Map<number, number>();
  for (let step = 0; step < 8000; step++) {
    const from = shuffledScores(rollouts(count), keyedRandom(0, step))[0]!.score.reward;
    times.set(from, (times.get(from) ?? 0) + 1);
  }
  for (const n of times.values()) assert.ok(Math.abs(n - 2000) < 200, `${[...times]}`);
});

nativeTest('a run with it logs both rewards and trains on the other one', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const call = { folder, engine: 'tensorflow', install: false, evalSamples: 2, numTest: 2, maxNewTokens: 40 } as const;
  await train({ ...call, numTrain: 9, epochs: 1, batchSize: 4, numSamples: 4, seed: 3, control: 'shuffled-reward' });
  const rows = [...readLog(join(folder, 'rollouts.jsonl'))] as { step: number; reward: number; givenReward: number }[];
  assert.ok(rows.length > 4);
  for (const step of new Set(rows.map((row) => row.step))) {
    const batch = rows.filter((row) => row.step === step);
    const sorted = (pick: (row: (typeof rows)[number]) => number) => batch.map(pick).sort();
    assert.deepEqual(
      sorted((row) => row.givenReward),
      sorted((row) => row.reward),
    );
  }
  assert.ok(rows.some(({ reward, givenReward }) => reward !== givenReward));
});

test('the verdict on a placebo: no gain, as expected, or something is wrong', () => {
  const options = { control: 'shuffled-reward' } as const;
  const none = judge(runRecord({ options, before: () => 4, after: () => 4 }));
  assert.equal(none.kind, 'placebo');
  assert.match(none.sentence, /^The placebo shows no gain, as it must: held-out accuracy 50\.0 % → 50\.0 %/);
  assert.match(none.notes[0]!, /got the reward of another/);
  const gain = judge(runRecord({ options, before: () => 2, after: () => 6 }));
  assert.equal(gain.kind, 'leak');
  assert.match(gain.sentence, /^The placebo shows a gain: held-out accuracy 25\.0 % → 75\.0 %/);
  assert.match(gain.notes[0]!, /only the mean over several seeds/);
  assert.match(placeboWords('small', 5).opening, /^Something is wrong/);
});
