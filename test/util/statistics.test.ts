import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyedRandom } from '../../src/util/random.js';
import {
  clusterBootstrap,
  mcnemarExact,
  mean,
  passAtK,
  quantile,
  signFlipTest,
  wilsonInterval,
} from '../../src/util/statistics.js';

const near = (actual: number, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

test('mean and quantile', () => {
  near(mean([1, 2, 6]), 3);
  assert.throws(() => mean([]), RangeError);
  // Four values: position 0.25·3 = 0.75, three quarters of the way from 10 to 20.
  near(quantile([40, 10, 30, 20], 0.25), 17.5);
  near(quantile([40, 10, 30, 20], 0), 10);
  near(quantile([40, 10, 30, 20], 1), 40);
  near(quantile([7], 0.3), 7);
  assert.throws(() => quantile([1], 1.1), RangeError);
});

test('Wilson: the ends solve |rate - p| = z·sqrt(p(1-p)/n)', () => {
  for (const [correct, total] of [
    [1, 2],
    [7, 20],
    [19, 20],
    [430, 1280],
  ] as const) {
    for (const end of wilsonInterval(correct, total)) {
      near(Math.abs(correct / total - end), 1.959963984540054 * Math.sqrt((end * (1 - end)) / total), 1e-12);
    }
  }
});

test('Wilson at the ends: 0 of n is [0, z²/(n+z²)], n of n its mirror', () => {
  const z2 = 1.959963984540054 ** 2;
  const [low, high] = wilsonInterval(0, 20);
  assert.equal(low, 0);
  near(high, z2 / (20 + z2));
  const [mirrorLow, mirrorHigh] = wilsonInterval(20, 20);
  near(mirrorLow, 1 - high);
  assert.equal(mirrorHigh, 1);
  assert.throws(() => wilsonInterval(0, 0), RangeError);
  assert.throws(() => wilsonInterval(3, 2), RangeError);
});

test('pass@k equals counting the subsets', () => {
  // 5 samples, 2 right: of the C(5,2) = 10 pairs, C(3,2) = 3 are all wrong.
  near(passAtK(5, 2, 2), 0.7);
  near(passAtK(5, 2, 1), 0.4);
  assert.equal(passAtK(5, 2, 4), 1); // only 3 are wrong
  assert.equal(passAtK(5, 0, 5), 0);
  assert.equal(passAtK(5, 5, 1), 1);
  near(passAtK(1000, 1, 500), 0.5); // the one right sample is among half of them
  assert.throws(() => passAtK(5, 2, 6), RangeError);
  assert.throws(() => passAtK(5, 6, 1), RangeError);
});

test('bootstrap over clusters: none without variation, bounded, wide when clusters differ, and a function of its key', () => {
  const same = Array.from({ length: 5 }, () => ({ sum: 3, count: 4 }));
  assert.equal(clusterBootstrap(same, keyedRandom(1), 100), null);
  assert.equal(clusterBootstrap([{ sum: 1, count: 4 }], keyedRandom(1), 100), null);
  // Two clusters, all right and all wrong, equally large: a replicate is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
  assert.deepEqual(
    clusterBootstrap(
      [
        { sum: 8, count: 8 },
        { sum: 0, count: 8 },
      ],
      keyedRandom(1),
      2000,
    ),
    [0, 1],
  );
  const mixed = Array.from({ length: 40 }, (_, i) => ({ sum: i % 2, count: 1 }));
  const [low, high] = clusterBootstrap(mixed, keyedRandom(2))!;
  // The mean of 40 draws of 0 or 1 has standard error sqrt(0.25/40) = 0.079: 0.5 ± 0.155, on a grid of 1/40.
  near(low, 0.345, 0.026);
  near(high, 0.655, 0.026);
  assert.deepEqual(clusterBootstrap(mixed, keyedRandom(2)), [low, high]);
});

test('sign flips by hand', () => {
  const flip = (...differences: number[]) => signFlipTest(differences, keyedRandom(1));
  // All n differences of one sign: only that assignment and its opposite are as extreme, 2/2^n.
  assert.deepEqual(flip(1, 1, 1), { pValue: 2 / 8, method: 'exact', assignments: 8 });
  near(flip(...Array.from({ length: 11 }, (_, i) => 0.1 + i / 7)).pValue, 2 / 2048);
  // (3, -1): sums ±2 and ±4; at least 2 in all four.
  assert.equal(flip(3, -1).pValue, 1);
  // (3, 1, -1): |3±1±1| is 5, 3, 3, 1; the observed 3 or more in 3 of 4.
  assert.equal(flip(3, 1, -1).pValue, 6 / 8);
  // Zeros do not count; no difference at all is no evidence.
  assert.equal(flip(1, 1, 1, 0, 0).pValue, 2 / 8);
  assert.equal(flip(0, 0).pValue, 1);
  assert.equal(flip().pValue, 1);
  // 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last bit; they are one value here.
  assert.equal(flip(-0.1, -0.2, -0.3).pValue, flip(0.3, 0.2, 0.1).pValue);
});

test('sign flips beyond 20 clusters are drawn, say so and agree with the binomial', () => {
  // 22 unit differences, 16 up and 6 down: P(|sum| >= 10) = 2·P(Binomial(22, 1/2) <= 6) = 0.0525.
  const differences = Array.from({ length: 22 }, (_, i) => (i < 16 ? 1 : -1));
  const result = signFlipTest(differences, keyedRandom(3));
  assert.equal(result.method, 'monte-carlo');
  near(result.pValue, mcnemarExact(16, 6), 0.003); // four standard errors of 100,000 draws
  assert.ok(signFlipTest(new Array(40).fill(1), keyedRandom(3), 50).pValue >= 1 / 51);
});

test('McNemar by hand', () => {
  near(mcnemarExact(5, 0), 2 / 32);
  near(mcnemarExact(0, 5), 2 / 32);
  near(mcnemarExact(8, 1), (2 * (1 + 9)) / 512);
  assert.equal(mcnemarExact(0, 0), 1);
  assert.equal(mcnemarExact(3, 3), 1);
  // Beyond the range of 2^n: 1500 against 1500 changes nothing.
  assert.equal(mcnemarExact(1500, 1500), 1);
  // 1600 to 1400 is 200/sqrt(3000) = 3.65 standard deviations: with continuity correction, two-sided normal 2.8e-4.
  near(mcnemarExact(1600, 1400), 2.8e-4, 2e-5);
});
