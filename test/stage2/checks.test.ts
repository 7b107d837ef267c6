import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NumericsError } from '../../src/engine/program.js';
import { checkSampler, checkUpdate, explainNumerics, samplerTolerance } from '../../src/stage2/checks.js';

const before = Float32Array.of(1, 2);
const moved = Float32Array.of(1, 2.5);
const facts = { step: 3, advantages: [0.2, -0.1], gradientNorm: 0.01, before, after: moved, learningRate: 1e-4 };

test('a batch with a signal must have a gradient and move the weights', () => {
  assert.equal(checkUpdate(facts), true);
  assert.throws(
    () => checkUpdate({ ...facts, gradientNorm: 0 }),
    /Update 3 has no gradient although an advantage is 0\.2/,
  );
  assert.throws(() => checkUpdate({ ...facts, after: before.slice() }), /Update 3 did not change the weights/);
  // During a warm-up from 0 the first rate may be 0: standing still is then right.
  assert.equal(checkUpdate({ ...facts, after: before.slice(), learningRate: 0 }), true);
});

test('without an advantage above 1e-6 there is no signal, and nothing has to change', () => {
  const still = { ...facts, advantages: [1e-6, -1e-7], gradientNorm: 0, after: before.slice() };
  assert.equal(checkUpdate(still), false);
  assert.throws(() => checkUpdate({ ...still, advantages: [1.1e-6, 0] }), /no gradient/);
});

test('sampler and scorer may differ only by rounding', () => {
  const near = checkSampler([[-1, -2], [-3]], [Float32Array.of(-1, -2.001), Float32Array.of(-3)], samplerTolerance.f32);
  assert.ok(Math.abs(near.max - 0.001) < 1e-6);
  assert.ok(Math.abs(near.mean - 0.001 / 3) < 1e-6);
  assert.throws(() => checkSampler([[-1]], [Float32Array.of(-1.2)], samplerTolerance.f32), /disagree .* by 0\.200/);
  assert.ok(checkSampler([[-1]], [Float32Array.of(-1.2)], samplerTolerance.bf16).max > 0.19);
});

test('the log-probs of an int8 sampler may differ more, within bounds', () => {
  const scored = [Float32Array.of(-1, -2, -3, -4)];
  const { max, mean } = checkSampler([[-1.02, -2.01, -2.9, -3.3]], scored, samplerTolerance.int8);
  assert.ok(Math.abs(max - 0.7) < 1e-5 && Math.abs(mean - 0.2075) < 1e-5);
  const all = () => checkSampler([[-1.3, -2.3, -3.3, -4.3]], scored, samplerTolerance.int8);
  assert.throws(
    all,
    /log-probs by 0\.300 on average.*at most 0\.25, from weights rounded to int8.*--sampler-weights full/s,
  );
  const one = () => checkSampler([[-1, -2, -3, -10]], scored, samplerTolerance.int8);
  assert.throws(one, /a token's log-prob by 6\.00.*at most 5/s);
});

test('numbers that are not finite are explained; other errors stay unchanged', () => {
  const fail = (error: Error) => () =>
    explainNumerics(7, () => {
      throw error;
    });
  assert.throws(fail(new NumericsError('update', 'norm', 'NaN')), /Update 7 was stopped: norm has NaN values/);
  const other = new TypeError('other');
  assert.throws(fail(other), other);
});
