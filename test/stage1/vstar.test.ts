import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { vStar } from '../../src/stage1/vstar.js';

interface Row {
  readonly rewards: number[];
  readonly beta1: number;
  readonly v_star: number;
}
const { rows } = JSON.parse(readFileSync('test/fixtures/vstar.json', 'utf8')) as { rows: Row[] };

test('every row of the 60-digit table, beta1 from 1e-8 to 1e8', () => {
  assert.ok(rows.length > 300, `${rows.length}`);
  const worst = Math.max(...rows.map((row) => Math.abs(vStar(row.rewards, row.beta1) - row.v_star)));
  assert.ok(worst <= 1e-14, `worst error ${worst}`); // the rewards are of order 1: a few units in the last place
});

test('by hand: beta1 0.1, one right of two is 1 + 0.1·log((1 + e^-10) / 2) = 0.9307', () => {
  assert.equal(vStar([1, 0], 0.1).toFixed(4), '0.9307');
  assert.equal(vStar([0, 1], 0.1), vStar([1, 0], 0.1));
});

test('extremes: tiny beta1 is the maximum less beta1·log n, huge and infinite the mean, zero the mean by convention', () => {
  const rewards = [1, 0.3, 0, 0];
  assert.ok(Math.abs(vStar(rewards, 1e-6) - (1 - 1e-6 * Math.log(4))) < 1e-15);
  assert.ok(Math.abs(vStar(rewards, 1e6) - 0.325) < 1e-6);
  assert.equal(vStar(rewards, Number.POSITIVE_INFINITY), 0.325);
  assert.equal(vStar(rewards, 0), 0.325);
  assert.equal(vStar(rewards, Number.MIN_VALUE), 1);
  assert.ok(Math.abs(vStar(rewards, Number.MAX_VALUE) - 0.325) < 1e-12); // (r - m)/beta1 is subnormal there
});

test('one reward, or equal ones, are their own value at any beta1', () => {
  for (const beta1 of [0, 1e-300, 1e-6, 0.5, 1e6, 1e300, Number.POSITIVE_INFINITY]) {
    assert.equal(vStar([0.3], beta1), 0.3);
    assert.equal(vStar([0.25, 0.25, 0.25, 0.25], beta1), 0.25);
  }
});

test('between mean and maximum, and falling as beta1 grows', () => {
  const rewards = [1, 0.3, 0.3, 0, 0.7];
  let previous = 1;
  for (let exponent = -12; exponent <= 12; exponent += 0.25) {
    const value = vStar(rewards, 10 ** exponent);
    assert.ok(value <= previous && value >= 0.46 - 1e-16, `10^${exponent}: ${value} after ${previous}`);
    previous = value;
  }
});

test('invalid arguments are rejected', () => {
  assert.throws(() => vStar([], 0.5), RangeError);
  assert.throws(() => vStar([1], -0.5), /beta1/);
  assert.throws(() => vStar([1], Number.NaN), /beta1/);
  assert.throws(() => vStar([1, Number.NaN], 0.5), /NaN/);
  assert.throws(() => vStar([Number.POSITIVE_INFINITY], 0.5), RangeError);
});
