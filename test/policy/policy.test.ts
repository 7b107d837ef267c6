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
import type { RowLoss } from '../../src/policy/row-loss.js';
import { policyGradient, squaredError } from '../../src/stage2/loss.js';
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
  const check = (name: string, body: (policy: Policy, reset: (noise?: number) => void) => Promise<void>) =>
    (engineName === 'tensorflow' ? nativeTest : test)(`${name} (${engineName})`, () => withPolicy(engineName, body));

  check('at the first update policy and reference agree to the last bit, and the sampler with both', async (policy) => {
    const { batch, sampled } = await sampleBatch(policy);
    const { logProbs, refLogProbs } = await policy.update(batch);
    assert.deepEqual(logProbs, refLogProbs);
    logProbs.forEach((row, i) => {
      assert.equal(row.length, sampled[i]!.length);
      row.forEach((value, j) => {
        assert.ok(Math.abs(value - sampled[i]![j]!) < 1e-5, `${value} and ${sampled[i]![j]}`);
      });
    });
    const second = await policy.update({ ...batch, step: 2 });
    assert.deepEqual(second.refLogProbs, refLogProbs);
    assert.notDeepEqual(second.logProbs, logProbs);
  });

  const both = (engineName === 'tensorflow' ? nativeTest : test) as typeof test;
  both(`the gradient of the A*PO loss is that of its advantage form (${engineName})`, async () => {
    const beta2 = 0.3;
    const advantages = [0.2, -0.5, -0.1, 0.8];
    const batch = await withPolicy(engineName, async (policy) => (await sampleBatch(policy)).batch);
    const updated = (loss: RowLoss, update: Partial<UpdateBatch>) =>
      withPolicy(
        engineName,
        async (policy, reset) => {
          reset(0.3); // away from the reference, so that beta2·δ counts
          const { logProbs, refLogProbs, ...rest } = await policy.update({ ...batch, ...update });
          const deltas = logProbs.map((row, i) => total(row) - total(refLogProbs[i]!));
          return { ...rest, deltas, weights: policy.read('model.norm.weight') };
        },
        loss,
      );
    const apo = await updated((arithmetic, row) => squaredError(arithmetic, row, beta2), { advantages });
    const { deltas } = apo;
    assert.ok(Math.max(...deltas.map(Math.abs)) > 0.1, `the policy has left its reference: ${deltas}`);
    const squares = deltas.map((delta, i) => (beta2 * delta - advantages[i]!) ** 2);
    assert.ok(Math.abs(apo.loss - total(squares) / 4) < 1e-5, `${apo.loss}`);
    // The slope of each row's loss by S is -2·beta2·(A - beta2·δ).
    const left = advantages.map((advantage, i) => 2 * beta2 * (advantage - beta2 * deltas[i]!));
    const form = await updated(policyGradient, { advantages: left });
    assert.ok(Math.abs(form.gradientNorm / apo.gradientNorm - 1) < 1e-4);
    apo.weights.forEach((value, i) => {
      assert.ok(Math.abs(value - form.weights[i]!) < 1e-5);
    });
  });

  check('rows that are padding change nothing', async (policy, reset) => {
    const { batch } = await sampleBatch(policy);
    const three = { ...batch, rows: batch.rows.slice(0, 3), advantages: batch.advantages.slice(0, 3) };
    const alone = (await policy.update(three)).gradientNorm;
    reset();
    // A fourth row without an advantage has no gradient, but counts in the mean.
    const beside = (await policy.update({ ...batch, advantages: [...three.advantages, 0] })).gradientNorm;
    assert.ok(Math.abs((0.75 * alone) / beside - 1) < 1e-4, `${alone} and ${beside}`);
  });

  check('a gradient that is not finite stops the update and leaves the weights', async (policy) => {
    const { batch } = await sampleBatch(policy);
    const before = policy.read('model.norm.weight');
    await assert.rejects(policy.update({ ...batch, advantages: [Number.NaN, 0, 0, 0] }), /(loss|norm) has NaN/);
    assert.deepEqual(policy.read('model.norm.weight'), before);
  });
}

test('updates leave no tensors behind (wasm)', async () => {
  const engine = await openEngine('wasm');
  await withPolicy('wasm', async (policy) => {
    const { batch } = await sampleBatch(policy);
    await policy.update(batch);
    const before = engine.tensorCount();
    await policy.update({ ...batch, step: 2 });
    assert.equal(engine.tensorCount(), before);
  });
});

const total = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0);

/** `reset` sets the policy to its reference, plus noise of size `noise`. */
async function withPolicy<Result>(
  engineName: EngineName,
  body: (policy: Policy, reset: (noise?: number) => void) => Promise<Result>,
  loss: RowLoss = policyGradient,
): Promise<Result> {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const policy = createPolicy(await openEngine(engineName), config, {
    sizes: { promptLengths: [4], maxNewTokens, slots: 8 },
    training: { batchSize: 4, optimizer, loss, maxGradientNorm: 1 },
  });
  const reset = (noise = 0) => {
    policy.load((name) => {
      const random = keyedRandom('noise', name);
      return weights.read(name).map((value) => value * (1 + noise * random.normal()));
    });
    policy.loadReference(weights.read);
    policy.loadMoments();
  };
  try {
    reset();
    return await body(policy, reset);
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
    advantages: [-0.3, 0.2, -0.1, 0.4],
    temperature,
    step: 1,
    learningRate: 0.01,
  };
  return { batch, sampled: completions.map(({ logProbs }) => logProbs) };
}
