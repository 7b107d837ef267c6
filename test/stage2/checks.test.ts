import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NumericsError } from '../../src/engine/program.js';
import { checkSampler, checkUpdate, explainNumerics, maxSamplerDifference } from '../../src/stage2/checks.js';

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

test('sampler and scorer may differ by rounding only', () => {
  const near = checkSampler(
    [[-1, -2], [-3]],
    [Float32Array.of(-1, -2.001), Float32Array.of(-3)],
    maxSamplerDifference.f32,
  );
  assert.ok(Math.abs(near - 0.001) < 1e-6);
  assert.throws(() => checkSampler([[-1]], [Float32Array.of(-1.2)], maxSamplerDifference.f32), /disagree .* by 0\.200/);
  assert.ok(checkSampler([[-1]], [Float32Array.of(-1.2)], maxSamplerDifference.bf16) > 0.19);
});

test('numbers that are not finite are explained, other errors are not touched', () => {
  const fail = (error: Error) => () =>
    explainNumerics(7, () => {
      throw error;
    });
  assert.throws(fail(new NumericsError('update', 'norm', 'NaN')), /Update 7 was stopped: norm has NaN values/);
  const other = new TypeError('other');
  assert.throws(fail(other), other);
});
