import assert from 'node:assert/strict';
import { test } from 'node:test';
import { multiplicationReward } from '../../src/reward/multiplication.js';

const graded = { kind: 'graded', read: 'stated' } as const;
const exact = { kind: 'exact', read: 'stated' } as const;
const seed = { kind: 'graded', read: 'last-integer' } as const;
const ended = { finished: true };
const cut = { finished: false };

test('right, near and wrong under each kind', () => {
  // The answer is 84, so near is 42 < value < 126, both ends excluded.
  for (const [value, gradedReward, exactReward] of [
    [84, 1, 1],
    [83, 0.3, 0],
    [43, 0.3, 0],
    [42, 0, 0],
    [125, 0.3, 0],
    [126, 0, 0],
    [0, 0, 0],
    [-84, 0, 0],
  ] as const) {
    assert.equal(multiplicationReward(`answer: ${value}`, 84, ended, graded).reward, gradedReward, `graded ${value}`);
    assert.equal(multiplicationReward(`answer: ${value}`, 84, ended, exact).reward, exactReward, `exact ${value}`);
  }
});

test('the parts describe the outcome', () => {
  assert.deepEqual(multiplicationReward('answer: 84', 84), {
    reward: 1,
    exact: true,
    parsed: true,
    parts: { exact: 1, near: 0, stated: 1 },
  });
  assert.deepEqual(multiplicationReward('answer: 80', 84).parts, { exact: 0, near: 1, stated: 1 });
  assert.deepEqual(multiplicationReward('I pass', 84), {
    reward: 0,
    exact: false,
    parsed: false,
    parts: { exact: 0, near: 0, stated: 0 },
  });
});

test('a completion that was cut off is never exact, and its right number is worth no more than a near one', () => {
  assert.deepEqual(multiplicationReward('answer: 84', 84, cut, graded), {
    reward: 0.3,
    exact: false,
    parsed: true,
    parts: { exact: 0, near: 1, stated: 1 },
  });
  assert.equal(multiplicationReward('answer: 84', 84, cut, exact).reward, 0);
});

test('the original reward: the last integer, ended or not; accuracy still requires an end', () => {
  const score = multiplicationReward('7 × 12 is 84', 84, cut, seed);
  assert.equal(score.reward, 1);
  assert.equal(score.exact, false);
  assert.equal(multiplicationReward('7 × 12 is 84', 84, ended, seed).exact, true);
  assert.equal(multiplicationReward('think: 7×10=70', 84, cut, seed).reward, 0.3);
  assert.equal(multiplicationReward('no idea', 84, ended, seed).reward, 0);
});

test('a product of zero is right only as zero', () => {
  assert.equal(multiplicationReward('answer: 0', 0).reward, 1);
  assert.equal(multiplicationReward('answer: 1', 0).reward, 0);
});

test('always answering 40 earns 0.169 over all 121 problems; always 72 earns 0.395 on the held-out twenty', async () => {
  const { allProducts, heldOutSplits, splitProducts } = await import('../../src/data/multiplication.js');
  const meanReward = (problems: readonly { a: number; b: number }[], constant: number) =>
    problems.reduce((sum, { a, b }) => sum + multiplicationReward(`answer: ${constant}`, a * b).reward, 0) /
    problems.length;
  // 40 is 4×10, 10×4, 5×8 and 8×5: 4 right, and 55 within half: (4 + 0.3·55)/121 = 0.1694.
  assert.equal(meanReward(allProducts(2, 12), 40).toFixed(4), '0.1694');
  // 72 is 6×12, 12×6, 8×9 and 9×8: 4 right, and 13 within half: (4 + 0.3·13)/20 = 0.395.
  assert.equal(meanReward(splitProducts(2, 12, heldOutSplits.tiny).heldOut, 72).toFixed(4), '0.3950');
});
