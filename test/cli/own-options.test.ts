import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withOwnOptions } from '../../src/cli/own-options.js';
import type { OptionName } from '../../src/options/table.js';

const values = { seed: 0, maxNewTokens: 9, temperature: 1 };
const own = { seed: 3, maxNewTokens: 48, temperature: 0.7, task: 'sums.js', problems: undefined };
const merged = (given: readonly OptionName[], more = {}) => withOwnOptions({ ...values, ...more }, own, new Set(given));

test("a given option counts, then the run's own, then the default", () => {
  assert.deepEqual(merged([]), own);
  assert.deepEqual(merged(['maxNewTokens']), { ...own, maxNewTokens: 9 });
  assert.deepEqual(withOwnOptions(values, undefined, new Set()), values);
});

test("a given task or file of problems replaces the run's, a given preset all of its options", () => {
  const problems = ['sums.jsonl'];
  const { task: _, ...rest } = own;
  assert.deepEqual(merged(['problems'], { problems }), { ...rest, problems });
  assert.deepEqual(merged(['preset'], { preset: 'seed' }), { ...values, preset: 'seed' });
});
