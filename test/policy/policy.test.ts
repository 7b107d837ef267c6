/**
 * One program samples and trains: the policy starts at its reference, its update follows the advantage form, and what it
 * sampled is what it scores; on TensorFlow and on wasm.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import type { EngineName } from '../../src/engine/choices.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createPolicy, type Policy, type UpdateBatch } from '../../src/policy/policy.js';
import { apoRowLoss, lossSlopes } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
const prompts = [
  [5, 9, 12],
  [7, 3],
  [5, 9, 12],
  [11, 4, 8, 2],
];
const maxNewTokens = 6;

for (const engineName of ['tensorflow', 'wasm'] as const) {
  const check = (name: string, body: (policy: Policy, reset: () => void) => Promise<void>) =>
    (engineName === 'tensorflow' ? nativeTest : test)(`${name} (${engineName})`, () => withPolicy(engineName, body));

  check('at the first update policy and reference agree to the last bit, and the sampler with both', async (policy) => {
    const { batch, sampled } = await sampleBatch(policy);
    const { logProbs, refLogProbs } = policy.update(batch);
    assert.deepEqual(logProbs, refLogProbs);
    logProbs.forEach((row, i) => {
      assert.equal(row.length, sampled[i]!.length);
      row.forEach((value, j) => {
        assert.ok(Math.abs(value - sampled[i]![j]!) < 1e-5, `${value} and ${sampled[i]![j]}`);
      });
    });
    const second = policy.update({ ...batch, step: 2 });
    assert.deepEqual(second.refLogProbs, refLogProbs);
    assert.notDeepEqual(second.logProbs, logProbs);
  });

  check('the gradient of the A*PO loss is that of its advantage form', async (policy, reset) => {
    const { batch } = await sampleBatch(policy);
    // Two large updates take the policy away from its reference, so that the quadratic term counts.
    const leave = () => {
      reset();
      for (const step of [1, 2]) policy.update({ ...batch, step, learningRate: 0.05 });
    };
    leave();
    const beta2 = 0.3;
    const loss = apoRowLoss([1, 0, 0.3, 1], [0.8, 0.5, 0.4, 0.2], beta2);
    const { quadratic } = loss;
    const first = policy.update({ ...batch, step: 3, quadratic, linear: loss.linear });
    const weights = policy.read('model.norm.weight');
    const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);
    const deltas = first.logProbs.map((row, i) => sum(row) - sum(first.refLogProbs[i]!));
    assert.ok(Math.max(...deltas.map(Math.abs)) > 0.1, `the policy has left its reference: ${deltas}`);
    leave();
    // The seed's form: the gradient of S of each row, weighted by its slope at this δ.
    const second = policy.update({ ...batch, step: 3, quadratic: 0, linear: lossSlopes(loss, deltas) });
    assert.ok(Math.abs(second.gradientNorm / first.gradientNorm - 1) < 1e-4);
    const other = policy.read('model.norm.weight');
    weights.forEach((value, i) => {
      assert.ok(Math.abs(value - other[i]!) < 1e-5);
    });
  });

  check('rows that are padding change nothing', async (policy, reset) => {
    const { batch } = await sampleBatch(policy);
    const three = { ...batch, rows: batch.rows.slice(0, 3), linear: batch.linear.slice(0, 3) };
    const alone = policy.update(three).gradientNorm;
    reset();
    const unweighted = { ...batch, quadratic: 0, linear: [...three.linear, 0] };
    const beside = policy.update({ ...unweighted }).gradientNorm;
    assert.ok(Math.abs(alone / beside - 1) < 1e-4, `${alone} and ${beside}`);
  });

  check('a gradient that is not finite stops the update and leaves the weights', async (policy) => {
    const { batch } = await sampleBatch(policy);
    const before = policy.read('model.norm.weight');
    assert.throws(() => policy.update({ ...batch, linear: [Number.NaN, 0, 0, 0] }), /norm has NaN/);
    assert.deepEqual(policy.read('model.norm.weight'), before);
  });
}

test('updates leave no tensors behind (wasm)', async () => {
  const engine = await openEngine('wasm');
  await withPolicy('wasm', async (policy) => {
    const { batch } = await sampleBatch(policy);
    policy.update(batch);
    const before = engine.tensorCount();
    policy.update({ ...batch, step: 2 });
    assert.equal(engine.tensorCount(), before);
  });
});

async function withPolicy(
  engineName: EngineName,
  body: (policy: Policy, reset: () => void) => Promise<void>,
): Promise<void> {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const policy = createPolicy(await openEngine(engineName), config, {
    sizes: { promptLengths: [4], maxNewTokens, slots: 8 },
    training: { batchSize: 4, optimizer, maxGradientNorm: 1 },
  });
  const reset = () => {
    policy.load(weights.read);
    policy.loadReference(weights.read);
    policy.loadMoments();
  };
  try {
    reset();
    await body(policy, reset);
  } finally {
    policy.dispose();
    weights.close();
  }
}

/** Completions of all prompts with the log-probs that the sampler gave them. */
async function sampleBatch(policy: Policy): Promise<{ batch: UpdateBatch; sampled: number[][] }> {
  const temperature = 0.8;
  const completions = await policy.sample(
    prompts.map((promptIds, i) => ({ promptIds, uniform: keyedRandom('policy', i).uniform, maxNewTokens })),
    { temperature, endIds: new Set([1]) },
  );
  const batch: UpdateBatch = {
    rows: completions.map(({ ids }, i) => ({ promptIds: prompts[i]!, completionIds: ids })),
    quadratic: 0,
    linear: [0.3, -0.2, 0.1, -0.4],
    temperature,
    step: 1,
    learningRate: 0.01,
  };
  return { batch, sampled: completions.map(({ logProbs }) => logProbs) };
}
