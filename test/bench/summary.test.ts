/**
 * @file What the benchmarks make of measured runs, on numbers worked by hand, and that unequal work is noticed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobResult } from '../../bench/jobs.js';
import type { PartResult } from '../../bench/parts.js';
import type { SideRun } from '../../bench/side.js';
import { jobFaults, jobFigures, partFaults, partFigures, ratios, spreads } from '../../bench/summary.js';

const sequences = { evalBefore: 1300, stage1: 4000, stage2: 1500, evalAfter: 1300 };
const result: JobResult = {
  phases: { load: 2, evalBefore: 1.3, stage1: 4, stage2: 3, evalAfter: 1.3, save: 0.1 },
  sequences,
  tokens: Object.fromEntries(Object.entries(sequences).map(([phase, count]) => [phase, 32 * count])),
  rewards: { evalBefore: 0.2, stage1: 0.1, stage2: 0.1, evalAfter: 0.3 },
  updates: 47,
};

function run<Result>(of: Result, seconds = 12): SideRun<Result> {
  return { seconds, cpuSeconds: 20, peakMegabytes: 500, anonMegabytes: 300, load: 0.1, result: of };
}

test('a whole job: its time is that of the process, the time of a sequence that of the phases that draw any', () => {
  const figures = jobFigures(run(result), result);
  assert.equal(figures.seconds, 12);
  assert.equal(figures.stage1, 4);
  assert.equal(figures.msPerSequence, (1000 * (1.3 + 4 + 3 + 1.3)) / 8100);
});

test('a side that did less is extrapolated by phase, and loading and saving are not', () => {
  const less: JobResult = {
    ...result,
    phases: { load: 3, evalBefore: 10, stage1: 20, stage2: 15, evalAfter: 10, save: 0.5 },
    sequences: { evalBefore: 130, stage1: 200, stage2: 75, evalAfter: 65 },
  };
  const figures = jobFigures(run(less), result);
  assert.equal(figures.evalBefore, 100); // ten times the sequences
  assert.equal(figures.stage1, 400); // twenty times
  assert.equal(figures.evalAfter, 200);
  assert.equal(figures.seconds, 3 + 100 + 400 + 300 + 200 + 0.5);
  assert.ok(Number.isNaN(figures.cpuSeconds)); // not known by phase
});

test('a side without stage 1 is not extrapolated, and its other phases are compared', () => {
  const { stage1: _, ...others } = sequences;
  const side = run({ ...result, sequences: others });
  const figures = jobFigures(side, result);
  assert.deepEqual([figures.seconds, figures.cpuSeconds], [12, 20]);
  assert.deepEqual(jobFaults({ ours: [run(result)], other: [side] }, 32, true), []);
  const shifted = run({ ...result, sequences: { ...others, stage2: 1501, evalAfter: 1299 } });
  assert.equal(jobFaults({ ours: [run(result)], other: [shifted] }, 32, false).length, 2);
});

test('equal work is accepted; other tokens, completions or rewards are faults', () => {
  const faultsOf = (change: Partial<JobResult>, forced = true) =>
    jobFaults({ ours: [run(result)], other: [run(result), run({ ...result, ...change })] }, 32, forced);
  assert.deepEqual(faultsOf({}), []);
  const fewerTokens = { ...result.tokens, stage2: 1500 * 32 - 1 };
  assert.match(faultsOf({ tokens: fewerTokens }).join(), /^other: 47999 tokens in stage2 instead of 1500 x 32$/);
  assert.deepEqual(faultsOf({ tokens: fewerTokens }, false), []);
  const shifted = { ...sequences, stage1: 4001, stage2: 1499 };
  assert.equal(faultsOf({ sequences: shifted }, false).length, 2);
  assert.match(faultsOf({ rewards: { ...result.rewards, stage1: 0.16 } }).join(), /mean reward 0.16 in stage1/);
  // After training the sides may differ.
  assert.deepEqual(faultsOf({ rewards: { ...result.rewards, evalAfter: 0.9, stage2: 0.9 } }), []);
});

test('parts: the median of the counted runs; values that differ by more than rounding are faults', () => {
  const part: PartResult = { loadSeconds: 1, firstSeconds: 5, seconds: [0.3, 0.1, 0.2], values: [0.5, 0.4] };
  const figures = partFigures(run(part), 100);
  assert.equal(figures.seconds, 0.2);
  assert.equal(figures.tokensPerSecond, 500);
  assert.equal(figures.first, 5);
  const other = (values: number[]) => partFaults({ ours: [run(part)], other: [run({ ...part, values })] });
  assert.deepEqual(other([0.5001, 0.4]), []);
  assert.deepEqual(other([0.5, 0.41]), ['other: 0.5, 0.41 instead of 0.5, 0.4']);
});

test('spreads are by figure, ratios by round', () => {
  assert.deepEqual(spreads([{ a: 1 }, { a: 4 }, { a: 2 }]), { a: { median: 2, min: 1, max: 4 } });
  assert.deepEqual(ratios([1, 2, 4], [3, 2, 8]), { median: 2, min: 1, max: 3 });
});
