import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ComparableEvaluation, compareEvaluations } from '../../src/policy/eval-compare.js';
import { compareSeeds, spreadOf } from '../../src/policy/eval-seeds.js';
import { keyedRandom } from '../../src/util/random.js';

/** An evaluation of problems a, b, … in clusters of two, with these rates. */
function evaluation(rates: readonly number[], sampled = true, first = 0): ComparableEvaluation {
  return {
    model: 'demo',
    perProblem: rates.map((rate, i) => ({
      id: String.fromCharCode(97 + first + i),
      cluster: `${Math.floor((first + i) / 2)}`,
      greedy: { exact: rate > 0.5 },
      ...(sampled && { sampled: { exactRate: rate } }),
    })),
  };
}

test('the spread is of the runs: mean, sample standard deviation, least and greatest', () => {
  assert.deepEqual(spreadOf([1, 2, 4, 5]), { mean: 3, sd: Math.sqrt(10 / 3), min: 1, max: 5 });
  assert.deepEqual(spreadOf([0.5]), { mean: 0.5, sd: null, min: 0.5, max: 0.5 });
});

test('one seed gives what the comparison of its two evaluations gives', () => {
  const before = evaluation([0.2, 0.4, 0.1, 0.9, 0.3, 0.3]);
  const after = evaluation([0.9, 0.7, 0.8, 0.8, 0.6, 0.9]);
  const { sampled } = compareEvaluations(after, before);
  const { sampled: over, runs, problems, clusters } = compareSeeds([{ before, after }]);
  assert.deepEqual([runs, problems, clusters], [1, 6, 3]);
  assert.ok(Math.abs(over!.gain.mean - sampled!.difference) < 1e-12);
  assert.equal(over!.pValue, sampled!.pValue);
  assert.equal(over!.clusters, sampled!.clusters);
  for (const i of [0, 1] as const) assert.ok(Math.abs(over!.ci95![i] - sampled!.ci95![i]) < 1e-12);
});

test('more seeds on the same problems are no more evidence about problems', () => {
  const before = evaluation([0, 0, 0, 0, 0, 0]);
  const after = evaluation([1, 1, 1, 1, 1, 1]);
  const smallest = 2 / 2 ** 3; // three clusters: 0.25, however many seeds agree
  for (const seeds of [1, 5, 100]) {
    const { sampled, greedy, sameProblems } = compareSeeds(Array.from({ length: seeds }, () => ({ before, after })));
    assert.equal(sampled!.pValue, smallest);
    assert.equal(greedy.pValue, smallest);
    assert.equal(sameProblems, true);
    assert.deepEqual([sampled!.gained, sampled!.lost], [seeds, 0]);
  }
});

test('gains that cancel over the seeds are no evidence', () => {
  const low = evaluation([0.1, 0.1, 0.1, 0.1]);
  const high = evaluation([0.7, 0.7, 0.7, 0.7]);
  const { sampled } = compareSeeds([
    { before: low, after: high },
    { before: high, after: low },
  ]);
  assert.ok(Math.abs(sampled!.gain.mean) < 1e-12);
  assert.equal(sampled!.clusters, 0);
  assert.equal(sampled!.pValue, 1);
  assert.deepEqual([sampled!.gained, sampled!.lost], [1, 1]);
});

test('runs that hold out different problems: a problem counts with the runs that held it out', () => {
  const first = { before: evaluation([0, 0]), after: evaluation([1, 1]) };
  const second = { before: evaluation([0, 0], true, 1), after: evaluation([0.5, 1], true, 1) };
  const { sampled, problems, clusters, sameProblems } = compareSeeds([first, second]);
  // a: 1 and b: (1 + 0.5) / 2 are one cluster, c: 1 is another.
  assert.deepEqual([problems, clusters, sameProblems], [3, 2, false]);
  assert.equal(sampled!.clusters, 2);
  assert.equal(sampled!.pValue, 0.5);
  assert.equal(sampled!.gain.mean, (1 + 0.75) / 2, 'each run counts once');
});

test('without samples in every run there is only the greedy measure', () => {
  const sampled = { before: evaluation([0, 0]), after: evaluation([1, 1]) };
  const greedy = { before: evaluation([0, 0], false), after: evaluation([1, 1], false) };
  assert.equal(compareSeeds([sampled, greedy]).sampled, undefined);
  assert.ok(compareSeeds([sampled]).sampled);
  assert.throws(() => compareSeeds([]), RangeError);
  assert.throws(() => compareSeeds([{ before: evaluation([0]), after: evaluation([1, 1]) }]), RangeError);
});

test('where training does nothing, p below 0.05 is as rare as it should be, though five seeds share the problems', () => {
  // Problems differ in difficulty, and each seed sees the same difficulties: what a test over seeds would mistake for evidence.
  const random = keyedRandom('null');
  const trials = 400;
  let small = 0;
  for (let trial = 0; trial < trials; trial++) {
    // A shift of each problem that is common to all seeds, of either sign with equal probability.
    const shifts = Array.from({ length: 16 }, () => (random.uniform() - 0.5) * 0.4);
    const runs = Array.from({ length: 5 }, () => {
      const noise = () => (random.uniform() - 0.5) * 0.02;
      return {
        before: evaluation(shifts.map(() => 0.5 + noise())),
        after: evaluation(shifts.map((shift) => 0.5 + shift + noise())),
      };
    });
    if (compareSeeds(runs).sampled!.pValue < 0.05) small++;
  }
  // Binomial(400, 0.05): 20 expected, standard deviation 4.4; eight clusters give steps of 1/128, so slightly fewer.
  assert.ok(small > 5 && small < 36, `${small} of ${trials}`);
});
