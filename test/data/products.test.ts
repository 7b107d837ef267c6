import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allProducts, drawHeldOut, heldOutSplits, pairName, splitProducts } from '../../src/data/multiplication.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';

test('2..12 has 121 ordered problems', () => {
  const all = allProducts(2, 12);
  assert.equal(all.length, 121);
  assert.deepEqual(all[0], { a: 2, b: 2 });
  assert.deepEqual(all.at(-1), { a: 12, b: 12 });
});

test('the split of models/tiny: 11 pairs, 20 problems, 101 left', () => {
  const { train, heldOut } = splitProducts(2, 12, heldOutSplits.tiny);
  assert.deepEqual([train.length, heldOut.length, new Set(heldOut.map(pairName)).size], [101, 20, 11]);
  assert.equal(
    heldOut.map(({ a, b }) => `${a}×${b}`).join(' '),
    '6×7 6×9 6×12 7×6 7×7 7×8 7×11 8×7 8×9 8×12 9×6 9×8 9×11 11×7 11×9 11×12 12×6 12×8 12×11 12×12',
  );
});

test('the split of models/tiny-b: all other pairs of hard factors, none shared with tiny', () => {
  const { train, heldOut } = splitProducts(2, 12, heldOutSplits['tiny-b']);
  assert.deepEqual([train.length, heldOut.length, new Set(heldOut.map(pairName)).size], [105, 16, 10]);
  const hard = [6, 7, 8, 9, 11, 12];
  const pairs = hard.flatMap((a) => hard.filter((b) => a <= b).map((b) => pairName({ a, b })));
  const tiny = new Set(heldOutSplits.tiny.map(([a, b]) => pairName({ a, b })));
  assert.deepEqual([...new Set(heldOut.map(pairName))].sort(), pairs.filter((pair) => !tiny.has(pair)).sort());
});

test('in every held-out list each hard factor takes part in at least two pairs, and stays in at least two', () => {
  for (const list of Object.values(heldOutSplits)) {
    for (const factor of [6, 7, 8, 9, 11, 12]) {
      const held = list.filter((pair) => (pair as readonly number[]).includes(factor)).length;
      assert.ok(held >= 2 && held <= 4, `${factor} is in ${held}`);
    }
  }
});

test('a held-out pair leaves training in both orders', () => {
  const { train, heldOut } = splitProducts(2, 12, [[3, 5]]);
  assert.deepEqual(heldOut, [
    { a: 3, b: 5 },
    { a: 5, b: 3 },
  ]);
  assert.ok(!train.some((problem) => pairName(problem) === '3×5'));
  assert.equal(splitProducts(2, 4, [[3, 5]]).heldOut.length, 0);
});

test('a drawn held-out list is as long as asked, at most a quarter of the pairs, and a function of its key', () => {
  const held = drawHeldOut(10, 99, 50, keyedRandom(1));
  const problems = held.reduce((count, [a, b]) => count + (a === b ? 1 : 2), 0);
  assert.ok(problems >= 50 && problems <= 51);
  assert.deepEqual(drawHeldOut(10, 99, 50, keyedRandom(1)), held);
  assert.notDeepEqual(drawHeldOut(10, 99, 50, keyedRandom(2)), held);
  // 2..4 has 6 pairs; a quarter is 1.
  assert.equal(drawHeldOut(2, 4, 50, keyedRandom(1)).length, 1);
});

test('impossible ranges are rejected', () => {
  for (const [min, max] of [
    [5, 4],
    [-1, 4],
    [2.5, 4],
    [2, 1e6],
    [0, 5000],
    [Number.NaN, 4],
  ] as const) {
    assert.throws(() => allProducts(min, max), UserError);
  }
});
