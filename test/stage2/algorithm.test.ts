/** An entry of `algorithms` is all that an algorithm is: one that is added here trains, resumes, lists and reports. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { train } from '../../src/index.js';
import { writeReport } from '../../src/report/page.js';
import { listRuns } from '../../src/run/listing/list.js';
import { readLog } from '../../src/run/logs.js';
import { type Algorithm, type AlgorithmName, algorithmNames, algorithms } from '../../src/stage2/algorithm.js';
import { numbers } from '../../src/stage2/loss.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';

const settings = { beta1: 0.5, beta2: 0.3, numSamples: 4, batchSize: 8 };

/** Compares the two samples of each pair. */
const pairs: Algorithm = {
  ...algorithms.grpo,
  title: 'Pairs',
  problems: ({ numSamples }) => (numSamples === 4 ? [] : ['--num-samples: Pairs is tested with 4']),
  advantages: (rollouts) => rollouts.map(({ score }, i) => score.reward - rollouts[i ^ 1]!.score.reward),
};

function added(t: TestContext): AlgorithmName {
  Object.assign(algorithms, { pairs });
  algorithmNames.push('pairs' as AlgorithmName);
  t.after(() => {
    delete (algorithms as Record<string, Algorithm>).pairs;
    algorithmNames.pop();
  });
  return 'pairs' as AlgorithmName;
}

test('the slope of every loss is proportional to what is left of the advantage', () => {
  for (const [name, algorithm] of Object.entries<Algorithm>(algorithms)) {
    const slope = (delta: number, advantage: number) => {
      const at = (shift: number) => algorithm.loss(numbers, { delta: delta + shift, advantage }, settings);
      return (at(1e-3) - at(-1e-3)) / 2e-3;
    };
    const unit = -slope(0, 1);
    assert.ok(unit > 0, name);
    for (const [delta, advantage] of [
      [2, 0.5],
      [-3, 0.25],
      [0.5, -1],
    ] as const) {
      const left = advantage - algorithm.implicit(delta, settings);
      assert.ok(Math.abs(slope(delta, advantage) + unit * left) < 1e-9, `${name} at δ = ${delta}, A = ${advantage}`);
    }
  }
});

test('a new algorithm works from the options to the report', async (t) => {
  const algo = added(t);
  const folder = join(temporaryFolder(t), 'run');
  const call = { folder, algo, engine: 'wasm', install: false, evalSamples: 2, numTest: 2, maxNewTokens: 40 } as const;
  const work = { numTrain: 6, epochs: 1, batchSize: 8, seed: 3 } as const;
  await assert.rejects(train({ ...call, ...work, numSamples: 2 }), /--num-samples: Pairs is tested with 4/);
  await assert.rejects(train({ ...call, ...work, numSamples: 4, vStar: 'v.json' }), /--v-star: Pairs does not use V\*/);

  const result = await train({ ...call, ...work, numSamples: 4 });
  assert.equal(result.preflight, undefined);
  const metrics = [...readLog(join(folder, 'metrics.jsonl'))];
  assert.equal(metrics.length, result.updates);
  const rollouts = [...readLog(join(folder, 'rollouts.jsonl'))];
  assert.equal(rollouts.length % 4, 0);
  for (let start = 0; start < rollouts.length; start += 4) {
    const group = rollouts.slice(start, start + 4) as unknown as { problem: string; advantage: number }[];
    assert.equal(new Set(group.map(({ problem }) => problem)).size, 1);
    assert.ok(Math.abs(group.reduce((sum, { advantage }) => sum + advantage, 0)) < 1e-9);
  }

  const [entry] = listRuns(folder);
  assert.equal(entry?.algo, 'pairs');
  assert.equal(entry?.plannedUpdates, result.updates);
  const page = readFileSync(writeReport({ folder }).path, 'utf8');
  assert.match(page, /Pairs has no stage 1/);
  assert.match(page, /Log-ratio against advantage/);
});

test('settings that an algorithm rejects are reported by their flags', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const call = { folder, algo: 'grpo', engine: 'wasm', install: false } as const;
  await assertUserRejection(train({ ...call, batchSize: 10, numSamples: 4 }), /--batch-size: GRPO compares 4 samples/);
  await assertUserRejection(train({ ...call, batchSize: 8, numSamples: 1 }), /--num-samples: GRPO compares at least 2/);
});
