/** Training with frozen embeddings or MLPs: the other weights get the gradients that they get without, and nothing else moves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import type { EngineName, Freeze } from '../../src/engine/choices.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { embeddingName, headName, parameterSpecs } from '../../src/model/network/params.js';
import { createPolicy, type UpdateBatch } from '../../src/policy/policy.js';
import { squaredError } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
const rows = Array.from({ length: 4 }, (_, i) => {
  const random = keyedRandom('rows', i);
  const ids = (count: number) => Array.from({ length: count }, () => 2 + Math.floor(60 * random.uniform()));
  return { promptIds: ids(4), completionIds: ids(2 + i) };
});
const batch: UpdateBatch = {
  rows,
  advantages: [0.5, -0.4, 0.9, 0.1],
  temperature: 0.8,
  step: 1,
  learningRate: 0.01,
};

/** Two updates and some samples of a model with the given weights frozen. */
async function trained(engine: EngineName, model: string, freeze: Freeze) {
  const { config, weights } = openPretrained(fixture(model));
  const policy = createPolicy(await openEngine(engine), config, {
    sizes: { promptLengths: [4], maxNewTokens: 6, slots: 4 },
    dtypeOf: weights.dtypeOf,
    training: {
      batchSize: 4,
      optimizer,
      freeze,
      loss: (arithmetic, row) => squaredError(arithmetic, row, 0.3),
      maxGradientNorm: 1e9,
    },
  });
  try {
    policy.load(weights.read);
    policy.loadReference(weights.read);
    policy.loadMoments();
    const first = await policy.update(batch);
    const after = new Map(Object.keys(policy.saved).map((name) => [name, policy.read(name)]));
    const second = await policy.update({ ...batch, step: 2 });
    const rollouts = rows.map(({ promptIds }, i) => ({
      promptIds,
      uniform: keyedRandom('sample', i).uniform,
      maxNewTokens: 6,
    }));
    const completions = await policy.sample(rollouts, { temperature: 0.8, endIds: new Set([1]) });
    const scored = completions.map(({ ids, logProbs }, i) => ({
      row: { ...rollouts[i]!, completionIds: ids },
      logProbs,
    }));
    const third = await policy.update({ ...batch, rows: scored.map(({ row }) => row), step: 3 });
    const { specs, saved, momentSpecs } = policy;
    const start = new Map(Object.keys(saved).map((name) => [name, weights.read(name).slice()]));
    return {
      config,
      first,
      second,
      third,
      sampled: scored.map(({ logProbs }) => logProbs),
      start,
      after,
      specs,
      saved,
      momentSpecs,
    };
  } finally {
    policy.dispose();
    weights.close();
  }
}

const largest = (values: ArrayLike<number>) => Math.max(...Array.from(values, Math.abs));

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < expected.length; i += 1) {
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= tolerance, `${what}[${i}]: ${actual[i]} for ${expected[i]}`);
  }
}

const cases = [
  ['qwen2-tied-f32', 'embeddings'],
  ['qwen2-untied-bf16', 'embeddings'],
  ['llama', 'embeddings'],
  ['qwen2-untied-bf16', 'mlp'],
  ['llama', 'mlp'],
] as const;
for (const [model, freeze] of cases) {
  for (const [engine, test_] of [
    ['wasm', test],
    ['tensorflow', nativeTest],
  ] as const) {
    test_(
      `frozen weights stay as they are, and the rest trains as without (${freeze}, ${model}, ${engine})`,
      async () => {
        const all = await trained(engine, model, 'none');
        const some = await trained(engine, model, freeze);
        const frozen = Object.keys(some.saved).filter(
          (name) => name === embeddingName || name === headName || (freeze === 'mlp' && name.includes('.mlp.')),
        );
        assert.deepEqual(Object.keys(some.saved), Object.keys(parameterSpecs(some.config)));
        assert.deepEqual(Object.keys(all.saved), Object.keys(some.saved));
        assert.deepEqual(
          Object.keys(all.specs).filter((name) => !(name in some.specs)),
          frozen,
        );
        assert.equal(Object.keys(some.momentSpecs).length, 2 * Object.keys(some.specs).length);
        for (const name of frozen) assert.deepEqual(some.after.get(name), some.start.get(name), name);
        // The first step of Adam has the size of the learning rate whatever the gradient: equal steps need equal signs.
        for (const name of Object.keys(some.specs)) {
          const moved = (run: typeof all) => run.after.get(name)!.map((value, i) => value - run.start.get(name)![i]!);
          assert.ok(largest(moved(some)) > 0.009, `${name} moves`);
          assertNear(moved(some), moved(all), 1e-3, name);
        }
        for (const [i, logProbs] of all.first.logProbs.entries()) {
          assertNear(some.first.logProbs[i]!, logProbs, 1e-4, 'log-probs');
          assertNear(some.first.refLogProbs[i]!, all.first.refLogProbs[i]!, 1e-4, 'log-probs of the reference');
          // The reference does not follow the policy.
          assertNear(
            some.second.refLogProbs[i]!,
            some.first.refLogProbs[i]!,
            1e-6,
            'log-probs of the reference, later',
          );
        }
        // What the sampler says of its tokens is what the update says.
        for (const [i, logProbs] of some.sampled.entries())
          assertNear(some.third.logProbs[i]!, logProbs, 1e-3, 'sampled');
      },
    );
  }
}
