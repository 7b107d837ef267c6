/** The loss and the gradient of supervised training are those of the plain formula, however rows are packed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../../src/engine/backend.js';
import { valueAndGradients } from '../../src/engine/ops/gradient.js';
import { defineFunction } from '../../src/engine/program.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createModelProgram } from '../../src/model/load.js';
import { completionInputs, completionLogProbs, packCompletions } from '../../src/model/network/log-probs.js';
import { planScoring, score, scoreFunctions } from '../../src/model/score.js';
import { createLearner } from '../../src/policy/learner.js';
import { shapeOfBatches } from '../../src/policy/update-shape.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const { config, weights, folder } = openPretrained(fixture('qwen2-tied-f32'));
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-12, weightDecay: 0 };
const learningRate = 1e-3;

/** Rows of unequal lengths; their completions differ in length, so a mean over rows is not the mean over tokens. */
const rows = [1, 9, 4, 2, 7].map((length, i) => {
  const random = keyedRandom('learner', i);
  const ids = (count: number) => Array.from({ length: count }, () => random.int(2, 60));
  return { promptIds: ids(5 - i), completionIds: ids(length) };
});
const tokens = 23;

function learnerOf(engine: Engine, microBatch?: number, lora?: { rank: number; alpha: number; targets: ['q_proj'] }) {
  const shape = shapeOfBatches(config, [rows], { batchSize: rows.length, microBatch });
  const learner = createLearner(engine, config, {
    shape,
    precision: 'f32',
    optimizer,
    maxGradientNorm: 1e9,
    lora,
    seed: 1,
  });
  learner.load(weights.read);
  learner.loadMoments();
  return learner;
}

/** The mean loss of all tokens and its gradient, a row a sequence. */
async function plain(engine: Engine, names: readonly string[]) {
  const [B, T, W] = [rows.length, 16, 9];
  const program = await createModelProgram(
    engine,
    { config, weights, folder },
    {
      state: {},
      functions: {
        gradients: defineFunction({
          inputs: completionInputs(B, T, W),
          body(state, inputs) {
            const { value, gradients } = valueAndGradients(state, names, (record) =>
              tf.div(tf.neg(tf.sum(completionLogProbs(record, config, inputs))), tokens),
            );
            return { outputs: { loss: value, ...gradients } };
          },
        }),
      },
    },
  );
  try {
    const inputs = { ...packCompletions(rows, B, T, W), inverseTemperature: Float32Array.of(1) };
    return program.run('gradients', inputs) as Record<string, Float32Array>;
  } finally {
    program.dispose();
  }
}

for (const name of ['tensorflow', 'wasm'] as const) {
  const check = name === 'tensorflow' ? nativeTest : test;

  check(`the loss is the mean of -log p over completion tokens, as score computes it (${name})`, async () => {
    const engine = await openEngine(name);
    const plan = planScoring(config, rows);
    const parts = { state: {}, functions: scoreFunctions(config, plan.groups) };
    const program = await createModelProgram(engine, { config, weights, folder }, parts);
    const logProbs = (await score(program, plan, rows, { temperature: 1 })).flatMap((row) => [...row]);
    program.dispose();
    assert.equal(logProbs.length, tokens);
    const expected = -logProbs.reduce((sum, logProb) => sum + logProb, 0) / tokens;
    const learner = learnerOf(engine);
    const measured = await learner.measure(rows);
    const updated = learner.update({ rows, step: 1, learningRate });
    learner.dispose();
    for (const result of [measured, updated]) {
      assert.equal(result.tokens, tokens);
      assert.ok(Math.abs(result.loss - expected) < 1e-5 * expected, `${result.loss}, expected ${expected}`);
    }
  });

  check(`the first step of AdamW follows the plain gradient, in one pass and in several (${name})`, async () => {
    const engine = await openEngine(name);
    for (const microBatch of [5, 1]) {
      const learner = learnerOf(engine, microBatch);
      const names = Object.keys(learner.specs);
      const expected = await plain(engine, names);
      const { gradientNorm } = learner.update({ rows, step: 1, learningRate });
      const norm = Math.hypot(...names.map((parameter) => Math.hypot(...expected[parameter]!)));
      assert.ok(Math.abs(gradientNorm - norm) < 1e-4 * norm, `${gradientNorm}, expected ${norm}`);
      for (const parameter of names) {
        const [before, after] = [weights.read(parameter), learner.read(parameter)];
        // Without momentum the step is the learning rate against the sign of the gradient.
        expected[parameter]!.forEach((gradient, i) => {
          if (Math.abs(gradient) < 1e-4) return;
          const step = after[i]! - before[i]!;
          assert.ok(Math.abs(step + learningRate * Math.sign(gradient)) < 1e-5, `${parameter}[${i}]: ${step}`);
        });
      }
      learner.dispose();
    }
  });

  check(`adapters begin as the model, and lower the loss while its weights stay (${name})`, async () => {
    const engine = await openEngine(name);
    const full = learnerOf(engine);
    const { loss: start } = await full.measure(rows);
    full.dispose();
    const learner = learnerOf(engine, undefined, { rank: 4, alpha: 8, targets: ['q_proj'] });
    assert.ok(Math.abs((await learner.measure(rows)).loss - start) < 1e-5);
    for (let step = 1; step <= 5; step += 1) learner.update({ rows, step, learningRate });
    assert.ok((await learner.measure(rows)).loss < start - 0.01);
    assert.deepEqual(learner.read('model.norm.weight'), weights.read('model.norm.weight'));
    assert.ok(Object.keys(learner.specs).every((parameter) => /q_proj\.lora_[AB]\.weight$/.test(parameter)));
    learner.dispose();
  });
}
