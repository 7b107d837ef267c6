/** Stage 2 with a sampler that is refreshed now and then: what it draws, what the loss compares with, and how it resumes. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { train } from '../../src/index.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createPolicy } from '../../src/policy/policy.js';
import { readLog } from '../../src/run/logs.js';
import { localLaggedSampler } from '../../src/stage2/lagged.js';
import { numbers, oaplAdvantages, squaredError } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { mean } from '../../src/util/statistics.js';
import { fixture, temporaryFolder } from '../helpers/files.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

const work = {
  engine: 'wasm',
  install: false,
  algo: 'oapl',
  numTrain: 6,
  numTest: 3,
  evalSamples: 2,
  evalEvery: 0,
  epochs: 1,
  batchSize: 4,
  numSamples: 2,
  maxNewTokens: 40,
  maxSteps: 5,
  saveEvery: 2,
  seed: 4,
  lr: 1e-3,
} as const;

test("OAPL's advantage is r - V* of the group", () => {
  // beta1 1: V* = log((e + 1) / 2) = 0.6201145.
  const advantages = oaplAdvantages([1, 0, 1, 1], 2, 1);
  assert.ok(Math.abs(advantages[0]! - 0.3798855) < 1e-6);
  assert.ok(Math.abs(advantages[1]! + 0.6201145) < 1e-6);
  assert.deepEqual(advantages.slice(2), [0, 0]);
  assert.throws(() => oaplAdvantages([1, 0, 1], 2, 1), RangeError);
});

for (const loraRank of [undefined, 4]) {
  const title = loraRank === undefined ? 'all weights' : 'adapters';
  test(`an interrupted run whose sampler lags ends with the bytes of an uninterrupted one (${title})`, async (t) => {
    const root = temporaryFolder(t);
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    const options = { ...work, refreshEvery: 4, ...(loraRank && { loraRank }) };
    assert.equal((await train({ ...options, folder: whole })).updates, 5);
    await stopAfter(3, { ...options, folder: stopped });
    assert.ok(existsSync(join(stopped, 'checkpoints/step-000003/sampler.safetensors')));
    await train({ ...options, folder: stopped, resume: true });
    assert.deepEqual(runBytes(stopped), runBytes(whole));
    assert.ok(!existsSync(join(whole, 'checkpoints/step-000004/sampler.safetensors')), 'the policy itself draws next');

    // At a refresh sampler and policy agree to rounding; after an update they differ, and δ is measured from the sampler.
    const metrics = [...readLog(join(whole, 'metrics.jsonl'))] as {
      step: number;
      kl: number;
      samplerDifference: number;
    }[];
    for (const { step, kl, samplerDifference } of metrics) {
      const isCurrent = (step - 1) % 4 === 0;
      assert.equal(samplerDifference < 1e-3, isCurrent, `update ${step}: ${samplerDifference}`);
      assert.equal(Math.abs(kl) < 1e-3, isCurrent, `update ${step}: ${kl}`);
    }
  });
}

test('a lagged sampler draws what the policy drew at the refresh, and leaves the policy as it is', async () => {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const beta2 = 0.2;
  const training = {
    batchSize: 3,
    loss: <X>(arithmetic: Parameters<typeof squaredError<X>>[0], row: Parameters<typeof squaredError<X>>[1]) =>
      squaredError(arithmetic, row, beta2),
    anchor: 'sampler',
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    maxGradientNorm: 1,
  } as const;
  const policy = createPolicy(await openEngine('wasm'), config, {
    sizes: { promptLengths: [3], maxNewTokens: 6, slots: 3 },
    training,
  });
  try {
    policy.load(weights.read);
    policy.loadMoments();
    const rollouts = () =>
      Array.from({ length: 3 }, (_, i) => ({
        promptIds: [5, 9, 12],
        uniform: keyedRandom('lag', i).uniform,
        maxNewTokens: 6,
      }));
    const options = { temperature: 0.8, endIds: new Set([1]) };
    const lagged = localLaggedSampler(policy, policy.sample);
    await lagged.refresh();
    const drawn = await policy.sample(rollouts(), options);
    const rows = drawn.map(({ ids, logProbs }) => ({ promptIds: [5, 9, 12], completionIds: ids, logProbs }));
    const advantages = [1, -1, 0.5];
    const batch = { rows, advantages, temperature: 0.8, learningRate: 0.01 };
    await policy.update({ ...batch, step: 1 });
    assert.notDeepEqual(await policy.sample(rollouts(), options), drawn);
    const name = 'model.layers.0.mlp.down_proj.weight';
    const values = policy.read(name);
    assert.deepEqual(await lagged.sample(rollouts(), options), drawn);
    assert.deepEqual(policy.read(name), values);

    // The same rows once more: the loss is the formula of the paper, on the log-probs as sampled.
    const { loss, logProbs, refLogProbs } = await policy.update({ ...batch, step: 2 });
    const sum = (list: ArrayLike<number>) => Array.from(list).reduce((a, b) => a + b, 0);
    const deltas = rows.map((row, i) => sum(logProbs[i]!) - sum(row.logProbs));
    assert.ok(Math.max(...deltas.map(Math.abs)) > 1e-3);
    const expected = mean(deltas.map((delta, i) => squaredError(numbers, { delta, advantage: advantages[i]! }, beta2)));
    assert.ok(Math.abs(loss - expected) < 1e-5, `${loss} is not ${expected}`);
    for (const [i, row] of rows.entries()) {
      assert.deepEqual(refLogProbs[i], Float32Array.from(row.logProbs));
    }
  } finally {
    policy.dispose();
    weights.close();
  }
});
