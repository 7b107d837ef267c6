import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PreflightOptions, preflight } from '../../src/stage1/preflight.js';
import type { VStarEntry } from '../../src/stage1/v-star-file.js';
import { keyedRandom } from '../../src/util/random.js';

const entry = (rewards: readonly number[], more: Partial<VStarEntry> = {}): VStarEntry => ({
  rewards,
  exact: rewards.map((reward) => reward === 1),
  parsed: rewards.map(() => true),
  truncated: rewards.map(() => false),
  lengths: rewards.map(() => 10),
  texts: rewards.map((_, i) => i),
  ...more,
});
const run = (entries: readonly VStarEntry[], options: Partial<PreflightOptions> = {}) =>
  preflight(entries, { beta1: 0.5, trainOn: 'solved', ...options });

test('the figures of four problems by hand', () => {
  const result = run([
    entry([1, 1]),
    entry([1, 0], { truncated: [false, true], lengths: [10, 20] }),
    entry([0, 0], { parsed: [false, true] }),
    entry([0.3, 1]),
  ]);
  assert.equal(result.passAt1, 0.5); // 4 of 8
  assert.equal(result.passAtN, 0.75);
  assert.equal(result.ceiling, 0.75);
  assert.deepEqual(result.histogram, [1, 2, 1]);
  assert.deepEqual([result.allWrong, result.mixed, result.allRight], [0.25, 0.5, 0.25]);
  assert.equal(result.truncatedRate, 1 / 8);
  assert.equal(result.parseFailRate, 1 / 8);
  assert.equal(result.meanTokens, 90 / 8); // one of the eight has 20 tokens
  assert.equal(result.trainable, 3);
  // V*(1, 0) = 1 + 0.5·log((1 + e^-2)/2) = 0.716890: |r - V*| is 0.283110 and 0.716890, together 1 whatever V* is.
  // (0.3, 1) likewise sums to 0.7, and (1, 1) to 0: (1 + 0.7) / 6.
  assert.ok(Math.abs(result.meanAbsAdvantage - 1.7 / 6) < 1e-12);
  assert.equal(result.signalShare, 4 / 6);
});

test('mixed outcomes and readable answers: go', () => {
  const result = run([entry([1, 0, 0, 0]), entry([1, 1, 0, 0]), entry([1, 1, 1, 1])]);
  assert.deepEqual([result.verdict, result.advice], ['go', []]);
});

test('nothing to learn from: stop, with the reason', () => {
  for (const [entries, options, reason] of [
    [
      [entry([0, 0]), entry([0, 0])],
      {},
      /No sample of any problem is correct.*--num-samples, now 2.*--train-on varied/,
    ],
    [[entry([0, 0])], { trainOn: 'all' }, /No sample of any problem is correct/],
    [[entry([1, 1]), entry([1, 1])], {}, /Every sample is correct/],
    [[entry([1, 1]), entry([0, 0])], {}, /have the same reward.*--temperature/],
    // Partial credit without an exact sample is dropped from training by default ...
    [[entry([0.3, 0])], {}, /No sample of any problem is correct/],
  ] as const) {
    const result = run(entries, options);
    assert.equal(result.verdict, 'stop');
    assert.match(result.advice.join(' '), reason);
  }
  // ... and is a signal when such problems are kept.
  const kept = run([entry([0.3, 0])], { trainOn: 'all' });
  assert.notEqual(kept.verdict, 'stop');
  assert.ok(kept.meanAbsAdvantage > 0);
  assert.equal(run([entry([0, 0])]).meanAbsAdvantage, 0);
});

test('nearly all samples cut off: stop, whatever their rewards', () => {
  const cutOff = (count: number) =>
    run([entry([1, ...new Array(19).fill(0)], { truncated: Array.from({ length: 20 }, (_, i) => i < count) })]);
  assert.equal(cutOff(18).verdict, 'warn'); // 90 %
  const { verdict, advice } = cutOff(19);
  assert.equal(verdict, 'stop');
  assert.match(advice[0]!, /95 % of the samples were cut off: raise --max-new-tokens/);
});

test('truncation and unread answers are reported before all else', () => {
  const [first, second] = run([
    entry([1, 0, 0, 0], { truncated: [false, true, false, false], parsed: [true, false, false, false] }),
  ]).advice;
  assert.match(first!, /25 % of the samples were cut off: raise --max-new-tokens/);
  assert.match(second!, /75 % of the samples have no answer/);
  // Answers that were cut off could not be read: the limit is the only advice.
  const cutOff = run([entry([1, 0], { truncated: [false, true], parsed: [true, false] })]).advice;
  assert.match(cutOff.join(), /50 % of the samples were cut off/);
  assert.doesNotMatch(cutOff.join(), /have no answer/);
});

test('few mixed problems, or a model that already solves them: warn', () => {
  const wrong = Array.from({ length: 30 }, () => entry([0, 0]));
  const right = Array.from({ length: 30 }, () => entry([1, 1]));
  assert.match(run([...wrong, entry([1, 0])]).advice.join(), /Only 1 of 31.*easier problems/);
  assert.match(run([...right, entry([1, 0])]).advice.join(), /Only 1 of 31.*harder problems/);
  const nearly = Array.from({ length: 10 }, (_, i) =>
    entry(i < 2 ? [...new Array(19).fill(1), 0] : new Array(20).fill(1)),
  );
  const result = run(nearly);
  assert.equal(result.verdict, 'warn');
  assert.match(result.advice.join(), /already correct in 99 %/);
});

test('incomplete input is a bug in the caller', () => {
  assert.throws(() => run([]), RangeError);
  assert.throws(() => run([entry([1]), entry([1, 0])]), RangeError);
});

test('success that looks random warns; where problems or lengths tell right from wrong, it does not', () => {
  const random = keyedRandom('dice');
  /** 60 problems with 8 samples each, right with the chance of their problem; `length` of a right and of a wrong sample. */
  const tossed = (chance: (problem: number) => number, length = (_: boolean) => 10) =>
    Array.from({ length: 60 }, (_, problem) => {
      const rewards = Array.from({ length: 8 }, () => Number(random.uniform() < chance(problem)));
      return entry(rewards, { lengths: rewards.map((reward) => length(reward === 1) + random.int(0, 2)) });
    });
  const third = run(tossed(() => 1 / 3));
  assert.equal(third.verdict, 'warn');
  assert.match(third.advice[0]!, /looks random: 3\d % .* one of about 3 possibilities/);
  assert.equal(run(tossed((problem) => (problem % 2 === 0 ? 0.1 : 0.6))).verdict, 'go');
  assert.equal(
    run(
      tossed(
        () => 1 / 3,
        (isRight) => (isRight ? 20 : 10),
      ),
    ).verdict,
    'go',
  );
  // Too few problems or samples to say so, and samples whose length is unknown.
  assert.equal(run(tossed(() => 1 / 3).slice(0, 20)).verdict, 'go');
  assert.equal(run(tossed(() => 1 / 3).map((each) => ({ ...each, lengths: [] }))).verdict, 'go');
});

test('preferring some answers, but not the right ones, looks random too; knowledge does not', () => {
  const random = keyedRandom('arms');
  /** 80 problems with 8 samples each among three answers, the first preferred; `right` of each problem. */
  const chosen = (right: () => number) =>
    Array.from({ length: 80 }, () => {
      const answer = right();
      const texts = Array.from({ length: 8 }, () => {
        const drawn = random.uniform();
        return drawn < 0.6 ? 0 : drawn < 0.9 ? 1 : 2;
      });
      return entry(
        texts.map((text) => Number(text === answer)),
        { texts },
      );
    });
  const guessing = chosen(() => random.int(0, 2));
  const { verdict, advice } = run(guessing);
  assert.equal(verdict, 'warn');
  assert.match(advice[0]!, /looks random: 3\d % .* prefers one answer, but not more often the right one/);
  assert.equal(run(guessing.map((each) => ({ ...each, texts: [] }))).verdict, 'go', 'texts are unknown');
  assert.equal(
    run(guessing.map((each) => ({ ...each, texts: each.texts.map((_, i) => i) }))).verdict,
    'go',
    'all differ',
  );
  const knowing = chosen(() => (random.uniform() < 0.5 ? 0 : random.int(0, 2)));
  assert.equal(run(knowing).verdict, 'go');
  const mistaken = chosen(() => (random.uniform() < 0.6 ? 1 : random.int(0, 2)));
  assert.equal(run(mistaken).verdict, 'go', 'wrong answers are preferred, but it is not chance');
});
