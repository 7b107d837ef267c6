import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../src/engine/backend.js';
import type { RowLoss } from '../../src/policy/row-loss.js';
import {
  apoLoss,
  drGrpoAdvantages,
  grpoAdvantages,
  nextBaseline,
  numbers,
  policyGradient,
  reinforceAdvantages,
  rlooAdvantages,
  squaredError,
} from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';

const near = (actual: number, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

test('A*PO by hand', () => {
  // Row 1: beta2·δ = 0.01·(-10 + 12) = 0.02, r - V* = 0.25: (-0.23)² = 0.0529.
  // Row 2: beta2·δ = 0.01·(-7 + 6) = -0.01, r - V* = -0.75: 0.74² = 0.5476. Mean 0.30025.
  const rows = [
    { logProb: -10, refLogProb: -12, reward: 1, vStar: 0.75 },
    { logProb: -7, refLogProb: -6, reward: 0, vStar: 0.75 },
  ];
  near(apoLoss(rows, 0.01), 0.30025);
  // With the policy at its reference the loss is the mean squared advantage: (0.0625 + 0.5625) / 2.
  near(
    apoLoss(
      rows.map((row) => ({ ...row, logProb: row.refLogProb })),
      0.01,
    ),
    0.3125,
  );
});

test('with numbers and with tensors a loss is the same function, and tfjs finds the slope of its formula', async () => {
  await openEngine('wasm');
  const random = keyedRandom('loss');
  const beta2 = 0.3;
  const rows = Array.from({ length: 16 }, () => ({ delta: 5 * random.normal(), advantage: random.normal() }));
  const losses: [RowLoss, (delta: number, advantage: number) => { value: number; slope: number }][] = [
    [
      (arithmetic, row) => squaredError(arithmetic, row, beta2),
      (delta, advantage) => ({
        value: (beta2 * delta - advantage) ** 2,
        slope: -2 * beta2 * (advantage - beta2 * delta),
      }),
    ],
    [policyGradient, (delta, advantage) => ({ value: -advantage * delta, slope: -advantage })],
  ];
  for (const [loss, formula] of losses) {
    const { values, slopes } = tf.tidy(() => {
      const advantage = tf.tensor1d(rows.map((row) => row.advantage));
      const of = (delta: tf.Tensor) => loss<tf.Tensor>(tf, { delta, advantage });
      const delta = tf.tensor1d(rows.map((row) => row.delta));
      return { values: of(delta).dataSync(), slopes: tf.grad(of)(delta).dataSync() };
    });
    for (const [i, row] of rows.entries()) {
      const { value, slope } = formula(row.delta, row.advantage);
      near(loss(numbers, row), value);
      near(values[i]!, value, 1e-5);
      near(slopes[i]!, slope, 1e-5);
    }
  }
});

test('through a softmax policy the gradient is -2·beta2·(r - V* - beta2·δ)·∇S, by finite differences', () => {
  // One logit vector shared by all positions of a completion of token ids; the reference has logits of its own.
  const random = keyedRandom('softmax');
  const logits = Array.from({ length: 5 }, () => random.normal());
  const reference = Array.from({ length: 5 }, () => random.normal());
  const completion = [0, 3, 3, 1, 4];
  const [reward, value, beta2] = [1, 0.4, 0.3];
  const logSoftmax = (x: readonly number[]) =>
    x.map((logit) => logit - Math.log(x.reduce((sum, other) => sum + Math.exp(other), 0)));
  const sum = (x: readonly number[]) => completion.reduce((total, token) => total + logSoftmax(x)[token]!, 0);
  const loss = (x: readonly number[]) =>
    apoLoss([{ logProb: sum(x), refLogProb: sum(reference), reward, vStar: value }], beta2);
  const delta = sum(logits) - sum(reference);
  const probabilities = logSoftmax(logits).map(Math.exp);
  for (let j = 0; j < logits.length; j++) {
    // ∂S/∂logit_j = (how often token j was drawn) - (number of tokens)·π(j)
    const slopeOfS = completion.filter((token) => token === j).length - completion.length * probabilities[j]!;
    const at = (shift: number) => loss(logits.map((logit, i) => (i === j ? logit + shift : logit)));
    near((at(1e-5) - at(-1e-5)) / 2e-5, -2 * beta2 * (reward - value - beta2 * delta) * slopeOfS, 1e-8);
  }
});

test('the loss is least where the implicit advantage equals the estimated one', () => {
  const best = { delta: 4, advantage: 0.4 }; // (r - V*) / beta2
  near(squaredError(numbers, best, 0.1), 0);
  near(squaredError(numbers, { ...best, delta: 3 }, 0.1), 0.01); // a step of 1: (0.1·1)²
});

test('long completions lose no digits: δ, not S, enters', () => {
  // Two sums of -3000 that differ by 1e-9: expanding (beta2·S - ...)² instead would leave an error of about 1e-6.
  const rows = [{ logProb: -3000, refLogProb: -3000 + 1e-9, reward: 1, vStar: 1 }];
  assert.ok(apoLoss(rows, 0.01) < 1e-20);
});

test('GRPO by hand: groups are centred and scaled on their own', () => {
  // (1, 0, 0, 0): mean 1/4, variance (9/16 + 3/16) / 3 = 1/4, std 1/2.
  const [first, second, ...rest] = grpoAdvantages([1, 0, 0, 0, 0.3, 0.3, 0.3, 0.3], 4);
  near(first!, 0.75 / 0.5001);
  near(second!, -0.25 / 0.5001);
  assert.deepEqual(rest.slice(2), [0, 0, 0, 0]); // equal rewards: no signal, no division by zero
  assert.throws(() => grpoAdvantages([1, 0, 1], 2), RangeError);
  assert.throws(() => grpoAdvantages([1, 0], 1), RangeError);
});

test('Dr. GRPO and RLOO by hand: centred groups, the second with a baseline that leaves the sample out', () => {
  const rewards = [1, 0, 0, 0, 0.3, 0.3, 0.3, 0.3];
  const centred = drGrpoAdvantages(rewards, 4);
  const leftOut = rlooAdvantages(rewards, 4);
  for (const [i, expected] of [0.75, -0.25, -0.25, -0.25, 0, 0, 0, 0].entries()) near(centred[i]!, expected);
  for (const [i, expected] of [1, -1 / 3, -1 / 3, -1 / 3, 0, 0, 0, 0].entries()) near(leftOut[i]!, expected);
  for (const advantages of [drGrpoAdvantages, rlooAdvantages]) {
    assert.throws(() => advantages([1, 0, 1], 2), RangeError);
    assert.throws(() => advantages([1, 0], 1), RangeError);
  }
});

test('REINFORCE: the baseline is earlier reward, never the batch’s own', () => {
  assert.deepEqual(reinforceAdvantages([1, 0], null), [1, 0]);
  const first = nextBaseline(null, [1, 0]);
  assert.equal(first, 0.5);
  assert.deepEqual(reinforceAdvantages([1, 0], first), [0.5, -0.5]);
  near(nextBaseline(first, [1, 1]), 0.9 * 0.5 + 0.1);
});

test('a batch without rows has no loss', () => {
  assert.throws(() => apoLoss([], 0.1), RangeError);
});
