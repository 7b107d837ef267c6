import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { heldOutSplits, multiplicationTask, type Product, pairName } from '../../src/data/multiplication.js';
import type { Problem } from '../../src/data/problem.js';
import { scoreCompletion } from '../../src/data/task.js';
import {
  type ComparableEvaluation,
  compareEvaluations,
  outcomeOf,
  readEvaluation,
} from '../../src/policy/eval-compare.js';
import { bestConstantAnswer, type ProblemOutcomes, summarizeEvaluation } from '../../src/policy/eval-summary.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';
import { wilsonInterval } from '../../src/util/statistics.js';
import { assertUserError } from '../helpers/errors.js';

const task = multiplicationTask({
  min: 2,
  max: 12,
  heldOut: heldOutSplits.tiny,
  wording: 'builtin',
  reward: { kind: 'graded', read: 'stated' },
});
const heldOut = task.heldOut!(keyedRandom(1), 20) as Product[];
const near = (actual: number | undefined, expected: number) =>
  assert.ok(Math.abs(actual! - expected) < 1e-12, `${actual} is not ${expected}`);

const asProblem = (value: Product): Problem<Product> => ({ id: task.prompt(value), cluster: pairName(value), value });
const outcome = (problem: Product, text: string, { finished = true, tokens = 5 } = {}) => ({
  text,
  finished,
  tokens,
  score: scoreCompletion(task, text, problem, { finished }),
});
/** Outcomes in which `right` of the `samples` samples of each problem are right, the others off by one. */
const outcomes = (right: (problem: Product, i: number) => number, samples = 4): ProblemOutcomes<Product>[] =>
  heldOut.map((value, i) => {
    const texts = Array.from(
      { length: samples },
      (_, j) => `answer: ${value.a * value.b + (j < right(value, i) ? 0 : 1)}`,
    );
    return {
      problem: asProblem(value),
      greedy: outcome(value, texts[0] ?? 'answer: 0'),
      samples: texts.map((text) => outcome(value, text)),
    };
  });
const summarize = (results: readonly ProblemOutcomes<Product>[], model = 'demo') =>
  summarizeEvaluation(results, { model, task, temperature: 1 });

test('three problems by hand', () => {
  const [p, q, r] = [
    { a: 7, b: 12 },
    { a: 12, b: 7 },
    { a: 7, b: 7 },
  ] as const;
  const summary = summarize([
    {
      problem: asProblem(p),
      greedy: outcome(p, 'answer: 84'),
      samples: [outcome(p, 'answer: 84'), outcome(p, 'answer: 80', { tokens: 7 })],
    },
    {
      problem: asProblem(q),
      greedy: outcome(q, 'think: 12×5', { finished: false, tokens: 48 }),
      samples: [outcome(q, 'answer: 84'), outcome(q, 'answer: 84')],
    },
    {
      problem: asProblem(r),
      greedy: outcome(r, 'answer: 50'),
      samples: [outcome(r, 'answer: 4', { finished: false }), outcome(r, 'x')],
    },
  ]);
  assert.deepEqual([summary.model, summary.problems, summary.clusters], ['demo', 3, 2]);
  assert.deepEqual(summary.greedy.exact, { correct: 1, total: 3, rate: 1 / 3, ci95: wilsonInterval(1, 3) });
  near(summary.greedy.meanReward, 1.3 / 3);
  near(summary.greedy.formatRate, 2 / 3);
  near(summary.greedy.truncatedRate, 1 / 3);
  near(summary.greedy.meanTokens, 58 / 3);
  const sampled = summary.sampled!;
  assert.deepEqual([sampled.exact.correct, sampled.exact.total, sampled.exact.rate], [3, 6, 0.5]);
  near(sampled.meanReward, 3.3 / 6);
  // pass@2 by problem: 1, 1, 0.
  near(sampled.passAt['1'], 0.5);
  near(sampled.passAt['2'], 2 / 3);
  assert.deepEqual(Object.keys(sampled.passAt), ['1', '2']);
  near(sampled.formatRate, 5 / 6);
  near(sampled.truncatedRate, 1 / 6);
  // 84 for all: right twice, and |84 - 49| is more than half of 49.
  near(summary.constantAnswer!.meanReward, 2 / 3);
  assert.equal(summary.constantAnswer!.answer, 84);
  assert.deepEqual(summary.perProblem[1]!.greedy, {
    completion: 'think: 12×5',
    reward: 0,
    exact: false,
    parsed: false,
    truncated: true,
    tokens: 48,
  });
  assert.equal(summary.perProblem[0]!.sampled!.exact, 1);
});

test('the best constant answer on the held-out twenty is 72, worth 0.395', () => {
  const best = bestConstantAnswer(task, heldOut)!;
  assert.equal(best.answer, 72);
  near(best.meanReward, 0.395);
  const { solution: _, ...unsolved } = task;
  assert.equal(bestConstantAnswer(unsolved, heldOut), null);
});

test('the sampled interval is wider than one that treats samples as independent', () => {
  // All samples of a pair agree: 20 problems of 64 samples are 11 observations, not 1280.
  const summary = summarize(outcomes(({ a, b }) => ((a + b) % 2 === 0 ? 64 : 0), 64));
  const { rate } = summary.sampled!.exact;
  const ci95 = summary.sampled!.exact.ci95!;
  const [low, high] = wilsonInterval(Math.round(rate * 1280), 1280);
  assert.ok(ci95[0] < rate && rate < ci95[1]);
  assert.ok(ci95[1] - ci95[0] > 5 * (high - low));
});

test('without samples there is no sampled part, and greedy alone is compared', () => {
  const summary = summarize(outcomes(() => 0, 0));
  assert.ok(!('sampled' in summary) && !('sampled' in summary.perProblem[0]!));
  const comparison = compareEvaluations(summary, summarize(outcomes(() => 4)));
  assert.equal(comparison.pValue, comparison.greedy.pValue);
});

test('better on all 11 pairs: p = 2/2^11 sampled, and McNemar over the greedy answers', () => {
  const before = summarize(
    outcomes(() => 0),
    'before',
  );
  const after = summarize(
    outcomes((_, i) => 1 + (i % 3)),
    'after',
  );
  const comparison = compareEvaluations(after, before);
  assert.equal(comparison.model, 'before');
  near(comparison.pValue, 2 / 2 ** 11);
  assert.deepEqual([comparison.sampled!.test, comparison.sampled!.clusters], ['sign-flip-exact', 11]);
  near(comparison.sampled!.difference, after.sampled!.exact.rate);
  assert.ok(comparison.sampled!.ci95![0] > 0);
  assert.deepEqual([comparison.greedy.gained, comparison.greedy.lost, comparison.greedy.difference], [20, 0, 1]);
  near(comparison.greedy.pValue, 2 / 2 ** 20);
  // The other way round it is the same evidence for a loss.
  const reversed = compareEvaluations(before, after);
  near(reversed.sampled!.difference, -comparison.sampled!.difference);
  near(reversed.pValue, comparison.pValue);
});

test('beyond 20 clusters p is that of random draws, and their number is given', () => {
  const evaluated = (rate: number): ComparableEvaluation => ({
    model: `${rate}`,
    perProblem: Array.from({ length: 30 }, (_, i) => ({
      id: `${i}`,
      cluster: `${i}`,
      greedy: { exact: rate > 0.5 },
      sampled: { exactRate: rate },
    })),
  });
  const { sampled } = compareEvaluations(evaluated(1), evaluated(0));
  assert.deepEqual([sampled!.test, sampled!.draws], ['sign-flip-monte-carlo', 100_000]);
  assert.equal(sampled!.pValue, 1 / 100_001);
  // All clusters differ alike, so resampling them gives no interval.
  assert.equal(sampled!.ci95, null);
});

test('the outcome considers greedy and sampled accuracy', () => {
  const greedy = (difference: number, pValue: number) => ({
    gained: 0,
    lost: 0,
    difference,
    test: 'mcnemar-exact' as const,
    pValue,
  });
  const sampled = (difference: number, pValue: number) => ({
    difference,
    ci95: null,
    test: 'sign-flip-exact' as const,
    clusters: 11,
    pValue,
  });
  for (const [outcome, ofGreedy, ofSampled] of [
    ['learned', [0.6, 0.001], [0.4, 0.001]],
    ['learned', [0, 1], [0.4, 0.001]],
    ['learned', [-0.05, 1], [0.4, 0.001]], // one problem of 20 against 40 points
    ['small', [0.05, 1], [0.04, 0.03]],
    ['mixed', [-0.15, 0.25], [0.04, 0.03]], // 30 % -> 15 % greedy, 4 points more sampled
    ['mixed', [-0.1, 0.01], [0.4, 0.001]],
    ['mixed', [0.4, 0.01], [0.01, 0.6]],
    ['mixed', [0.2, 0.1], [-0.2, 0.01]],
    ['unproven', [0.1, 0.5], [0.04, 0.2]],
    ['none', [0, 1], [0, 1]],
    ['worse', [-0.3, 0.03], [-0.2, 0.001]],
    ['worse', [0, 1], [-0.01, 0.001]],
    ['learned', [0.5, 0.002], undefined],
    ['unproven', [0.5, 0.2], undefined],
    ['worse', [-0.5, 0.002], undefined],
  ] as const) {
    const comparison = {
      greedy: greedy(ofGreedy[0], ofGreedy[1]),
      ...(ofSampled && { sampled: sampled(ofSampled[0], ofSampled[1]) }),
    };
    assert.equal(outcomeOf(comparison), outcome, JSON.stringify(comparison));
  }
});

test('no difference is no evidence', () => {
  const summary = summarize(outcomes((_, i) => i % 5));
  const comparison = compareEvaluations(summary, summary);
  assert.deepEqual([comparison.pValue, comparison.greedy.pValue, comparison.sampled!.clusters], [1, 1, 0]);
});

test('other problems cannot be compared', () => {
  const all = outcomes(() => 1);
  for (const [a, b] of [
    [all, all.slice(1)],
    [all.slice(1), all],
  ] as const) {
    assert.throws(
      () => compareEvaluations(summarize(a), summarize(b)),
      (error) =>
        error instanceof UserError && /not evaluated on the same problems.*6 × 7.*in only one/.test(error.message),
    );
  }
});

test('an evaluation survives its file, and a hostile file is rejected', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'tinyzero-eval-')), 'eval.json');
  const summary = summarize(outcomes((_, i) => i % 5));
  const plain = JSON.parse(JSON.stringify(summary));
  writeFileSync(path, JSON.stringify(summary));
  assert.deepEqual(readEvaluation(path), plain);
  for (const [bad, message] of [
    [{ ...plain, model: 3 }, /`model` must be a string, not 3/],
    [{ ...plain, greedy: null }, /`greedy` must be an object/],
    [{ ...plain, greedy: { ...plain.greedy, formatRate: 7 } }, /greedy\.formatRate/],
    [
      { ...plain, greedy: { ...plain.greedy, exact: { ...plain.greedy.exact, ci95: [0] } } },
      /`greedy\.exact\.ci95\[1\]` must be a number/,
    ],
    [{ ...plain, perProblem: {} }, /`perProblem` must be a list/],
    [
      { ...plain, perProblem: [{ ...plain.perProblem[0], greedy: { exact: 'yes' } }] },
      /perProblem\[0\]\.greedy\.exact/,
    ],
    [{ ...plain, perProblem: [{ ...plain.perProblem[0], sampled: undefined }] }, /perProblem\[0\]\.sampled/],
  ] as const) {
    writeFileSync(path, JSON.stringify(bad));
    assert.throws(
      () => readEvaluation(path),
      (error) => error instanceof UserError && message.test(error.message),
      String(message),
    );
  }
});

test('tokens of the first sample are kept, and inconsistent ones are rejected', () => {
  const [first, ...rest] = outcomes(() => 4);
  const drawn = { pieces: ['answer: ', '42', ''], logProbs: [-0.5, -0.25, 0] };
  const samples = first!.samples.map((sample, i) => ({ ...sample, ...(i < 2 && { drawn }) }));
  const summary = summarize([{ ...first!, samples }, ...rest]);
  const { text, tokens } = samples[0]!;
  assert.deepEqual(summary.perProblem[0]!.firstSample, {
    completion: text,
    reward: 1,
    exact: true,
    parsed: true,
    truncated: false,
    tokens,
    ...drawn,
  });
  assert.equal(summary.perProblem[1]!.firstSample, undefined, 'nobody kept its tokens');

  const path = join(mkdtempSync(join(tmpdir(), 'tinyzero-eval-')), 'eval.json');
  const stored = JSON.parse(JSON.stringify(summary));
  for (const [change, message] of [
    [{}, undefined],
    [{ logProbs: [-0.5, 0] }, /firstSample\.logProbs.*as long as pieces, 3/],
    [{ logProbs: [-0.5, 0.25, 0] }, /firstSample\.logProbs\[1\].*at most 0/],
    [{ pieces: ['answer: ', 42, ''] }, /firstSample\.pieces\[1\].*a string/],
    [{ completion: null }, /firstSample\.completion/],
  ] as const) {
    const [problem, ...others] = stored.perProblem;
    const changed = { ...problem, firstSample: { ...problem.firstSample, ...change } };
    writeFileSync(path, JSON.stringify({ ...stored, perProblem: [changed, ...others] }));
    if (message === undefined) assert.deepEqual(readEvaluation(path), stored);
    else assertUserError(() => readEvaluation(path), message);
  }
  const { sampled: _, ...unsampled } = stored;
  writeFileSync(path, JSON.stringify(unsampled));
  assertUserError(() => readEvaluation(path), /perProblem\[0\]\.sampled` must be absent, as `sampled` is/);
});
