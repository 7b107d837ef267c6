import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type FileProblem, fileSource, type LoadedProblems, loadProblems } from '../../src/data/problems-file.js';
import { scoreCompletion } from '../../src/data/task.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';
import { temporaryFolder } from '../helpers/files.js';

function load(t: TestContext, lines: readonly unknown[]) {
  const path = join(temporaryFolder(t), 'problems.jsonl');
  writeFileSync(path, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return loadProblems(fileSource(path));
}

const refused = (t: TestContext, lines: readonly unknown[], message: RegExp) =>
  assert.rejects(
    () => load(t, lines),
    (error) => {
      assert.ok(error instanceof UserError, `${error}`);
      assert.match(error.message, message);
      return true;
    },
  );

const many = (n: number) => Array.from({ length: n }, (_, i) => ({ prompt: `What is ${i} + 1?`, answer: i + 1 }));
const all = (task: LoadedProblems['task'], what: 'problems' | 'heldOut', n: number) =>
  (what === 'heldOut' ? task.heldOut! : task.problems)(keyedRandom('test'), n).map(({ prompt }) => prompt);

test('training problems are dealt: each once before any is repeated, in an order that the seed decides', async (t) => {
  const { task, hash } = await load(t, many(50));
  assert.equal(task.name, 'problems of problems.jsonl');
  assert.match(hash, /^[0-9a-f]{64}$/);
  const train = new Set(all(task, 'problems', 1000));
  const dealt = all(task, 'problems', train.size * 2);
  assert.equal(new Set(dealt.slice(0, train.size)).size, train.size);
  assert.equal(new Set(dealt.slice(train.size)).size, train.size);
  assert.deepEqual(all(task, 'problems', 5), dealt.slice(0, 5));
  assert.notDeepEqual(
    task.problems(keyedRandom('other'), train.size).map(({ prompt }) => prompt),
    dealt.slice(0, train.size),
  );
});

test('without a split about a fifth is held out, independent of the other lines', async (t) => {
  const { task } = await load(t, many(300));
  const test = new Set(all(task, 'heldOut', 300));
  const train = new Set(all(task, 'problems', 1000));
  assert.equal(test.size + train.size, 300);
  assert.ok(test.size > 30 && test.size < 90, `${test.size}`);
  assert.deepEqual(
    [...test].filter((prompt) => train.has(prompt)),
    [],
  );
  const fewer = new Set(all((await load(t, many(200))).task, 'heldOut', 300));
  for (const prompt of fewer) assert.ok(test.has(prompt));
  assert.equal(all(task, 'heldOut', 7).length, 7);
});

test('split and cluster', async (t) => {
  const { task } = await load(t, [
    { prompt: 'a', answer: 1, split: 'train', cluster: 'x', source: 'fields of others are no matter' },
    { prompt: 'b', answer: 2, cluster: 'x' },
    { prompt: 'c', answer: 3, split: 'test' },
  ]);
  assert.deepEqual(new Set(all(task, 'problems', 10)), new Set(['a', 'b']));
  assert.deepEqual(all(task, 'heldOut', 10), ['c']);
  const problem = (prompt: string) => ({ prompt, answer: '1' });
  assert.deepEqual(
    ['a', 'b', 'c'].map((prompt) => task.cluster!(problem(prompt))),
    ['x', 'x', 'c'],
  );
});

test('answers: whole numbers in the forms that models use, texts by the last line that states one', async (t) => {
  const { task } = await load(t, [...many(20), { prompt: 'a', answer: 1, split: 'test' }]);
  const score = (completion: string, answer: string, finished = true) => {
    const { reward, exact, parsed } = scoreCompletion(task, completion, { prompt: 'p', answer } as FileProblem, {
      finished,
    });
    assert.equal(reward, Number(exact));
    return exact ? 'exact' : parsed ? 'wrong' : 'unread';
  };
  const table: [completion: string, answer: string, result: string][] = [
    ['answer: 84', '84', 'exact'],
    ['so \\boxed{84}', '84', 'exact'],
    ['<answer>84</answer>', '84', 'exact'],
    ['answer: 1,084', '1084', 'exact'],
    ['answer: −7', '-7', 'exact'],
    ['answer: 85', '84', 'wrong'],
    ['answer: 84.5', '84', 'unread'],
    ['it is 84', '84', 'exact'],
    ['84', '84', 'exact'],
    ['84 or 85', '84', 'unread'],
    ['answer: Paris', 'Paris', 'exact'],
    ['Think.\nAnswer:   the  Red House. ', 'the red house', 'exact'],
    ['answer: Rome\nNo. answer: Paris', 'Paris', 'exact'],
    ['answer: Paris\nanswer: Rome', 'Paris', 'wrong'],
    ['answer: Paris, France', 'Paris', 'wrong'],
    ['answer:\nParis', 'Paris', 'unread'],
    ['Paris', 'Paris', 'unread'],
    ['', 'Paris', 'unread'],
    ['myanswer: Paris', 'Paris', 'unread'],
    ['answer: 3.5', '3.5', 'exact'],
  ];
  for (const [completion, answer, result] of table) assert.equal(score(completion, answer), result, completion);
  assert.equal(score('answer: 84', '84', false), 'wrong', 'a completion that was cut off');
  for (const problem of task.problems(keyedRandom(1), 20)) {
    assert.equal(scoreCompletion(task, task.solution!(problem), problem, { finished: true }).exact, true);
  }
});

test('answers of the file are read as those of a completion are', async (t) => {
  const { task } = await load(t, [
    { prompt: 'a', answer: '1,234' },
    { prompt: 'b', answer: ' +84 ' },
    { prompt: 'c', answer: -7 },
    { prompt: 'd', answer: ' two words ' },
    { prompt: 'e', answer: 1, split: 'test' },
  ]);
  const answers = new Map(task.problems(keyedRandom(1), 4).map(({ prompt, answer }) => [prompt, answer]));
  assert.deepEqual([...answers].sort(), [
    ['a', '1234'],
    ['b', '84'],
    ['c', '-7'],
    ['d', 'two words'],
  ]);
});

test('errors name the line', async (t) => {
  const good = { prompt: 'a', answer: 1 };
  await refused(t, [good, '{'], /Line 2 of .*problems\.jsonl is not JSON/);
  await refused(t, [good, '[1]'], /Line 2 of .* is not a JSON object/);
  await refused(t, [], /is empty.*Example of a line: \{"prompt"/s);
  await refused(t, [good, '', { answer: 2 }], /Line 3 of .*`prompt` must be a nonempty string, not nothing/);
  await refused(t, [{ prompt: ' ', answer: 2 }], /Line 1 of .*`prompt` must be a nonempty string/);
  await refused(
    t,
    [{ prompt: 'b', anwser: 2 }],
    /Line 1 of .*`answer` must be a string or a whole number, not nothing/,
  );
  await refused(t, [{ prompt: 'b', answer: 2.5 }], /`answer` must be .*not 2\.5/);
  await refused(t, [{ prompt: 'b', answer: '' }], /`answer` must be/);
  await refused(t, [{ prompt: 'b', answer: 1, split: 'dev' }], /`split` must be "train" or "test", not "dev"/);
  await refused(t, [{ prompt: 'b', answer: 1, cluster: 3 }], /`cluster` must be a nonempty string/);
  await refused(t, [good, { prompt: 'b', answer: 2 }, good], /Line 3 of .* it repeats the prompt of line 1 of .*, "a"/);
  await refused(
    t,
    [good, { prompt: 'b', answer: 2, split: 'train' }].slice(0, 1),
    /too few problems.*holds out about one line in 5/s,
  );
  await refused(t, [{ ...good, split: 'test' }], /too few problems.*Found 0 and 1 in 1 lines/s);
  await refused(
    t,
    [
      { ...good, cluster: 'x' },
      { prompt: 'b', answer: 2, cluster: 'x', split: 'test' },
    ],
    /cluster "x" both for training and for testing/,
  );
  await assert.rejects(loadProblems(fileSource('/nowhere.jsonl')), /Cannot read \/nowhere\.jsonl: no such file/);
  const path = join(temporaryFolder(t), 'latin1.jsonl');
  writeFileSync(path, Buffer.from([0x7b, 0xe9, 0x7d]));
  await assert.rejects(loadProblems(fileSource(path)), /latin1\.jsonl is not UTF-8 text/);
});
