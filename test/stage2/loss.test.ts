import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  apoLoss,
  apoRowLoss,
  grpoAdvantages,
  lossAt,
  lossSlopes,
  nextBaseline,
  policyGradientRowLoss,
  type RowLoss,
  reinforceAdvantages,
} from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';

const near = (actual: number, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

/** ∂loss/∂δ by central differences, exact for a polynomial of second degree up to rounding. */
const numericalSlopes = (loss: RowLoss, deltas: readonly number[], h = 1e-3) =>
  deltas.map((_, i) => {
    const at = (shift: number) =>
      lossAt(
        loss,
        deltas.map((delta, j) => (i === j ? delta + shift : delta)),
      );
    return (at(h) - at(-h)) / (2 * h);
  });

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

test('the polynomial is the squared error, and its slope the advantage form, at random rows', () => {
  const random = keyedRandom('apo');
  for (const beta2 of [1e-3, 0.01, 0.5]) {
    const rows = Array.from({ length: 16 }, () => ({
      r: random.uniform(),
      v: random.uniform(),
      delta: 20 * random.normal(),
    }));
    const loss = apoRowLoss(
      rows.map((row) => row.r),
      rows.map((row) => row.v),
      beta2,
    );
    const deltas = rows.map((row) => row.delta);
    const direct = rows.reduce((sum, { r, v, delta }) => sum + (beta2 * delta - (r - v)) ** 2 / rows.length, 0);
    near(lossAt(loss, deltas), direct, 1e-12 * direct);
    const numerical = numericalSlopes(loss, deltas);
    for (const [i, slope] of lossSlopes(loss, deltas).entries()) {
      const { r, v, delta } = rows[i]!;
      near(slope, (-2 * beta2 * (r - v - beta2 * delta)) / rows.length, 1e-15);
      near(slope, numerical[i]!, 1e-9);
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

test('the loss is least, and its slope zero, where the implicit advantage equals the estimated one', () => {
  const loss = apoRowLoss([1, 0], [0.6, 0.6], 0.1);
  const best = [4, -6]; // (r - V*) / beta2
  near(lossAt(loss, best), 0);
  for (const slope of lossSlopes(loss, best)) near(slope, 0);
  near(lossAt(loss, [3, -6]), 0.005); // a step of 1 in one of two rows: (0.1·1)²/2
});

test('long completions lose no digits: δ, not S, enters', () => {
  // Two sums of -3000 that differ by 1e-9: expanding (beta2·S - ...)² instead would leave an error of about 1e-6.
  const rows = [{ logProb: -3000, refLogProb: -3000 + 1e-9, reward: 1, vStar: 1 }];
  assert.ok(apoLoss(rows, 0.01) < 1e-20);
});

test('policy gradient: the slope is -A/B whatever δ', () => {
  const loss = policyGradientRowLoss([0.5, -1, 2]);
  assert.deepEqual(lossSlopes(loss, [0, 7, -7]), [-0.5 / 3, 1 / 3, -2 / 3]);
  near(lossAt(loss, [1, 1, 1]), -0.5);
  for (const [i, slope] of numericalSlopes(loss, [1, 2, 3]).entries()) near(slope, loss.linear[i]!, 1e-9);
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

test('REINFORCE: the baseline is earlier reward, never the batch’s own', () => {
  assert.deepEqual(reinforceAdvantages([1, 0], null), [1, 0]);
  const first = nextBaseline(null, [1, 0]);
  assert.equal(first, 0.5);
  assert.deepEqual(reinforceAdvantages([1, 0], first), [0.5, -0.5]);
  near(nextBaseline(first, [1, 1]), 0.9 * 0.5 + 0.1);
});

test('lists of different length are a bug of the caller', () => {
  assert.throws(() => apoRowLoss([1], [1, 2], 0.1), RangeError);
  assert.throws(() => apoRowLoss([], [], 0.1), RangeError);
});
