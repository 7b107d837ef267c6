/** The seconds of a run's parts, by hand for small cases. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { qwenHalfBillion } from '../../../bench/checkpoints.js';
import { parseModelConfig } from '../../../src/model/network/config.js';
import { builtinArchitecture } from '../../../src/pretrain/builtin.js';
import { likelyLengths, samplingSeconds, type TimedWork, updateSeconds } from '../../../src/run/time/plan.js';
import { measuredParts } from '../../../src/run/time/speed.js';
import { mean } from '../../../src/util/statistics.js';

const work: TimedWork = {
  speed: {
    openSampling: 0,
    openUpdates: 0,
    prefill: 100,
    admit: 1000,
    step: { fixed: 1, perRow: 0.25 },
    pass: 10,
    rest: 3,
  },
  caches: { slots: 8, positions: 64, prompts: 2, promptPositions: 16, chunk: 16, admissions: 4 },
  shape: { sequences: 1, length: 20, predictions: 20, rows: 8, recompute: { layers: false, logitRows: 20 } },
  maxNewTokens: 10,
};

test('sampling: full steps while completions wait, then smaller batches', () => {
  // 8 slots, 10 tokens each: two rounds of 10 steps of 1 + 8 * 0.25, 4 admissions of 4 slots, 3 prefills of 2 prompts.
  assert.equal(samplingSeconds(work, 16, 6), 20 * 3 + 4 * 1000 + 3 * 100);
  // 3 completions are decoded in a batch of 4.
  assert.equal(samplingSeconds(work, 3, 1), 10 * 2 + 1000 + 100);
  assert.equal(samplingSeconds(work, 0, 0), 0);
});

test('many more completions than are simulated take time in proportion', () => {
  const seconds = (count: number) => samplingSeconds(work, count, 1) - 100;
  assert.ok(Math.abs(seconds(8000) / seconds(80) - 100) < 1, `${seconds(8000)}, ${seconds(80)}`);
});

test('lengths are spread as observed; those that were cut short are not taken to have ended', () => {
  const ended = { ...work, lengths: { ended: [2, 2, 4, 4], running: [] } };
  assert.deepEqual([...likelyLengths(ended, 4)].sort(), [2, 2, 4, 4]);
  const running = { ...work, lengths: { ended: [2, 2], running: [3, 3] } };
  const lengths = likelyLengths(running, 100);
  assert.equal(lengths.filter((length) => length === 2).length, 50);
  assert.ok(lengths.every((length) => length === 2 || length > 3));
  assert.ok(mean(lengths) > 3.5);
  assert.deepEqual(likelyLengths(work, 2), [10, 10]);
});

test('an update is as many passes as its rows need', () => {
  const prompts = Array.from({ length: 4 }, () => [1, 2]);
  // Rows of 2 + 10 tokens, one to a sequence of 20; rows of 2 + 4 tokens, three to a sequence.
  assert.equal(updateSeconds(work, prompts), 3 + 4 * 10);
  assert.equal(updateSeconds({ ...work, lengths: { ended: [4], running: [] } }, prompts), 3 + 2 * 10);
});

test('a small model is measured whole, a large one by a few layers', () => {
  const small = builtinArchitecture();
  assert.deepEqual(measuredParts(small), { layers: small.layers, whole: true });
  assert.deepEqual(measuredParts(parseModelConfig(qwenHalfBillion, 'a test')), { layers: 2, whole: false });
});
