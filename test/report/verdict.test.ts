import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../../src/report/verdict.js';
import { UserError } from '../../src/util/errors.js';
import { runRecord } from '../helpers/run-record.js';

test('better on all 11 pairs: learned, with the numbers of the tests', () => {
  const { kind, sentence, notes } = judge(runRecord({ before: () => 2, after: () => 6 }));
  assert.equal(kind, 'learned');
  // All eleven clusters changed the same way: p = 2 / 2^11. All problems are alike, so there is no interval.
  assert.equal(
    sentence,
    'It learned: held-out accuracy 25.0 % → 75.0 % over 20 unseen problems (no 95 % interval: only one cluster, or all clusters have the same result, p = 0.00098).',
  );
  assert.match(notes[0]!, /^Greedy accuracy: 0\.0 % → 100\.0 %, 20 problems gained, 0 lost/);
  assert.match(notes[1]!, /8 samples of each problem at temperature 1.*bootstrap over 11 clusters/);
  assert.equal(notes.length, 2);
});

test('the same the other way round: worse', () => {
  const { kind, sentence } = judge(runRecord({ before: () => 6, after: () => 2 }));
  assert.equal(kind, 'worse');
  assert.match(sentence, /^It got worse: held-out accuracy 75\.0 % → 25\.0 % .*p = 0\.00098\)\.$/);
});

test('a difference that chance can explain, and none at all: not proven', () => {
  const luck = judge(runRecord({ before: () => 6, after: ({ a }) => (a % 2 === 0 ? 8 : 5) }));
  const none = judge(runRecord({ before: () => 4, after: () => 4 }));
  for (const { notes } of [luck, none]) assert.match(notes[0]!, /below 0\.05 it would count/);
  assert.equal(luck.kind, 'unproven');
  assert.match(luck.sentence, /^No learning is proven: held-out accuracy/);
  assert.equal(none.kind, 'none');
  assert.match(none.sentence, /^Nothing changed: held-out accuracy/);
  assert.match(none.sentence, /50\.0 % → 50\.0 % .*p = 1\.0\)/);
});

test('sampled accuracy up and greedy accuracy down: mixed, with both numbers', () => {
  // The greedy answer is right with more than 4 of 8: some problems fall to 4, all others rise to 4.
  const { kind, label, sentence } = judge(runRecord({ before: ({ a }) => (a === 7 ? 5 : 2), after: () => 4 }));
  assert.deepEqual([kind, label], ['mixed', 'Mixed'], sentence);
  assert.match(
    sentence,
    /^The result is mixed: held-out accuracy sampled [\d.]+ % → 50\.0 %, greedy [\d.]+ % → 0\.0 %, over 20 unseen problems \(sampled no 95 % interval.*p = 0\.0\d+; greedy p = /,
  );
});

test('a leaking split shows memory, whatever the numbers are', () => {
  const run = runRecord({ options: { overlap: 'seed', numTrain: 2000 }, before: () => 2, after: () => 8 });
  const { problems } = run.before!;
  const { kind, sentence } = judge(run);
  assert.equal(kind, 'memory');
  const claim = `This shows memorisation, not learning: accuracy 25.0 % → 100.0 % over ${problems} problems, `;
  assert.ok(sentence.startsWith(`${claim}all of them also training problems (no 95 %`), sentence);
  assert.doesNotMatch(sentence, /unseen|held-out/);
  const elsewhere = judge({ ...run, problems: { ...run.problems, train: [] } });
  assert.ok(elsewhere.sentence.startsWith(`${claim}0 of them`), elsewhere.sentence);
});

test('greedy answers alone are labelled and tested as such', () => {
  const { kind, sentence, notes } = judge(
    runRecord({ samples: 0, before: () => -1, after: (_, i) => (i < 10 ? 1 : -1) }),
  );
  assert.equal(kind, 'learned');
  // Ten gained, none lost: McNemar's exact p = 2 / 2^10.
  assert.match(sentence, /0\.0 % → 50\.0 % over 20 unseen problems \(greedy answers only, .*p = 0\.0020\)/);
  assert.match(notes[0]!, /--eval-samples 0.*McNemar/);
});

test('too few problems for any test are pointed out', () => {
  const run = runRecord({ options: { numTest: 3 }, before: () => 0, after: () => 8 });
  const { kind, notes } = judge(run);
  assert.equal(kind, 'unproven');
  assert.ok(
    notes.some((note) => /With [23] independent groups .*--num-test/.test(note)),
    notes.join('\n'),
  );
});

test('a run that is not finished claims nothing, wherever it stopped', () => {
  const all = runRecord();
  const { stage1, before, ...nothing } = runRecord({ steps: 0 });
  const sentence = (run: typeof all) => {
    const { kind, sentence: text, notes } = judge(run);
    assert.equal(kind, 'unfinished');
    assert.match(notes.at(-1)!, /train --resume/);
    return text;
  };
  assert.match(sentence(all), /after update 12 \(epoch 2\)/);
  assert.ok(
    judge(all).notes.some((note) =>
      /After update 10, 50\.0 % of the greedy answers to the held-out problems were correct/.test(note),
    ),
  );
  assert.match(sentence(nothing), /nothing has been measured/);
  assert.match(sentence({ ...nothing, before: before! }), /training has not begun/);
  const { preflight: _, ...sampling } = stage1!;
  assert.match(
    sentence({ ...nothing, before: before!, stage1: { ...sampling, done: 7 } }),
    /sampled 7 of \d+ problems/,
  );
});

test('a run that the preflight stopped says so, with its advice; forced on, it is unfinished', () => {
  const run = runRecord({ steps: 0 });
  const stop = { ...run.stage1!.preflight!, verdict: 'stop', advice: ['Take easier problems.'] } as const;
  const stopped = { ...run, stage1: { ...run.stage1!, preflight: stop } };
  const { kind, notes } = judge(stopped);
  assert.deepEqual([kind, notes], ['stopped', ['Take easier problems.']]);
  const options = { ...run.stored.options, force: true };
  assert.equal(judge({ ...stopped, stored: { ...run.stored, options } }).kind, 'unfinished');
});

test('evaluations of different problems are no evidence of anything', () => {
  const run = runRecord({ after: () => 8 });
  const { perProblem, ...rest } = run.after!;
  assert.throws(() => judge({ ...run, after: { ...rest, perProblem: perProblem.slice(1) } }), UserError);
});
