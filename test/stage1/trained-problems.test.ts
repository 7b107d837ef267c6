import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawInProportion, isTrained, trainedRows } from '../../src/stage1/trained-problems.js';
import type { VStarEntry } from '../../src/stage1/v-star-file.js';
import { keyedRandom } from '../../src/util/random.js';

const entry = (...rewards: number[]): VStarEntry => ({
  rewards,
  exact: rewards.map((reward) => reward === 1),
  parsed: rewards.map(() => true),
  truncated: rewards.map(() => false),
  lengths: rewards.map(() => 3),
  texts: rewards.map((_, i) => i),
});
const random = () => keyedRandom('curriculum test');
const counts = (indices: readonly number[], length: number) =>
  Array.from({ length }, (_, i) => indices.filter((index) => index === i).length);

test('a problem is trained on when its rewards differ, when it was solved, or always', () => {
  for (const [samples, varied, solved] of [
    [entry(0, 0), false, false],
    [entry(1, 1), false, true],
    [entry(1, 0), true, true],
    [entry(0.3, 0), true, false], // a near miss is a signal without a solution
  ] as const) {
    assert.equal(isTrained(samples, 'varied'), varied, `${samples.rewards}`);
    assert.equal(isTrained(samples, 'solved'), solved, `${samples.rewards}`);
    assert.equal(isTrained(samples, 'all'), true);
  }
});

test('without a curriculum the rows keep their order and number', () => {
  const entries = [entry(0, 0), entry(1, 0), entry(1, 1)];
  const rows = [2, 1, 0, 1, 2, 0];
  const choose = (trainOn: 'varied' | 'solved' | 'all') =>
    trainedRows(rows, (i) => entries[i], { trainOn, curriculum: 'none', random });
  assert.deepEqual(choose('varied'), [1, 1]);
  assert.deepEqual(choose('solved'), [2, 1, 1, 2]);
  assert.deepEqual(choose('all'), rows);
  const withoutStage1 = { trainOn: 'varied', curriculum: 'none', random } as const;
  assert.deepEqual(
    trainedRows(rows, () => undefined, withoutStage1),
    rows,
  );
});

test('curriculum mixed keeps the number of rows and draws by the variance of the rewards', () => {
  // Of four samples and the two imagined ones: 3 of 6 right, variance 1/4; 2 of 6, 2/9; 5 of 6, 5/36. In 36ths 9, 8, 5.
  const entries = [entry(1, 1, 0, 0), entry(1, 0, 0, 0), entry(1, 1, 1, 1)];
  const rows = [...new Array(10).fill(0), ...new Array(10).fill(1), 2, 2];
  const choice = { trainOn: 'solved', curriculum: 'mixed', random } as const;
  const drawn = trainedRows(rows, (i) => entries[i], choice);
  assert.deepEqual(counts(drawn, 3), [9, 8, 5]);
  assert.deepEqual(
    drawn,
    trainedRows(rows, (i) => entries[i], choice),
    'the same seed draws the same',
  );
});

test('systematic sampling rounds every share down or up and draws exactly as many as requested', () => {
  for (const start of [0, 0.25, 0.5, 0.999]) {
    const weights = [0.5, 3, 1.25, 0.01, 2];
    const total = 6.76;
    const drawn = counts(drawInProportion(weights, 40, start), weights.length);
    assert.equal(
      drawn.reduce((sum, count) => sum + count, 0),
      40,
    );
    for (const [i, weight] of weights.entries()) {
      const share = (40 * weight) / total;
      assert.ok(drawn[i] === Math.floor(share) || drawn[i] === Math.ceil(share), `${share} became ${drawn[i]}`);
    }
  }
});
