/** The rules that end training early and choose a model: numbers derived by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestOf, flatAt, isFlat } from '../../src/stage2/step-metrics.js';

const history = (rewards: readonly number[]) => rewards.map((reward, i) => ({ step: i + 1, reward }));

test('flat: the later window is not above the earlier by more than a standard error', () => {
  const rule = { window: 2, after: 0 };
  assert.equal(isFlat(history([0, 0, 0]), rule), false, 'two windows are needed');
  assert.equal(isFlat(history([0.5, 0.5, 0.5, 0.5]), rule), true);
  assert.equal(isFlat(history([0.5, 0.5, 0.6, 0.6]), rule), false, 'no noise: any rise counts');
  assert.equal(isFlat(history([0.5, 0.5, 0.4, 0.4]), rule), true, 'a fall is no rise');
  // Variances 0.02 and 0.02, standard error sqrt(0.04 / 2) = 0.1414; means 0.5 and 0.6, or 0.5 and 0.65.
  assert.equal(isFlat(history([0.4, 0.6, 0.5, 0.7]), rule), true);
  assert.equal(isFlat(history([0.4, 0.6, 0.55, 0.75]), rule), false);
});

test('flat: not while the learning rate rises, and at the first such update', () => {
  const constant = history(Array.from({ length: 20 }, () => 0.5));
  assert.equal(flatAt(constant, { window: 2, after: 0 }), 4);
  assert.equal(flatAt(constant, { window: 3, after: 5 }), 11);
  const rising = history(Array.from({ length: 20 }, (_, i) => i / 20));
  assert.equal(flatAt(rising, { window: 3, after: 0 }), undefined);
});

test('best: the highest accuracy on the validation problems, of equal ones the last', () => {
  const looked = (accuracies: readonly (number | undefined)[]) =>
    accuracies.map((validationGreedy, i) => ({
      step: i + 1,
      reward: 0,
      ...(validationGreedy !== undefined && { validationGreedy }),
    }));
  assert.equal(bestOf(looked([undefined, undefined])), undefined);
  assert.deepEqual(bestOf(looked([undefined, 0.5, undefined, 0.75, 0.75, 0.5])), { step: 5, accuracy: 0.75 });
  assert.deepEqual(bestOf(looked([0, 0])), { step: 2, accuracy: 0 });
});
