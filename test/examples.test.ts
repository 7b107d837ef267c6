/** The tasks in examples/, as a user runs them. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import countdown, { evaluate } from '../examples/countdown.js';
import { scoreCompletion } from '../src/data/task.js';
import { loadTaskFile } from '../src/data/task-file.js';
import { defineTask, parseAnswer } from '../src/index.js';
import { readLog } from '../src/run/logs.js';
import { keyedRandom } from '../src/util/random.js';
import { lastLine, tinyzero } from './helpers/cli.js';
import { fixture, temporaryFolder } from './helpers/files.js';

const quick = ['--engine', 'auto', '--no-install'];

test('equations are read exactly, and nothing else is', () => {
  const value = (equation: string) => {
    const result = evaluate(equation);
    return result && Number(result.value.top) / Number(result.value.bottom);
  };
  const good: [equation: string, value: number][] = [
    ['7', 7],
    [' (1 + 2) / 3 ', 1],
    ['2 + 3 * 4', 14],
    ['20 - 5 - 3', 12],
    ['24 / 4 / 2', 3],
    ['((1+2)*(3+4))', 21],
    ['1 / 3 * 3', 1],
    ['6 × 7 = 42', 42],
    ['8 ÷ 2 − 1', 3],
    ['10 - 2 * (3 - 4)', 12],
  ];
  for (const [equation, expected] of good) assert.equal(value(equation), expected, equation);
  const bad = [
    ...[
      '',
      '()',
      '1 +',
      '+ 1',
      '-1',
      '1 2',
      '(1',
      '1)',
      '1 / 0',
      '1 / (2 - 2)',
      '1 ** 2',
      '1 // 2',
      '2^3',
      '1.5',
      '1,5',
    ],
    'process.exit()',
    'a + 1',
    '1 + x',
    '0x10',
    '1e3',
    '1; 2',
    '(1)(2)',
    '= 24',
    '1'.repeat(10),
    '('.repeat(500),
  ];
  for (const equation of bad) assert.equal(value(equation), undefined, equation);
  assert.deepEqual(evaluate('(25 - 5) * 5')?.numbers, [25, 5, 5]);
});

test('countdown: every problem has a solution; each number must be used once', () => {
  const problems = countdown.problems(keyedRandom('countdown'), 60);
  for (const problem of problems) {
    const { numbers, target } = problem;
    assert.ok(numbers.length >= 3 && numbers.length <= 4 && target >= 10 && target <= 100);
    const score = scoreCompletion(countdown, countdown.solution!(problem), problem, { finished: true });
    assert.deepEqual(score, { reward: 1, exact: true, parsed: true, parts: { equation: 1, numbers: 1 } });
  }
  const problem = { numbers: [2, 3, 7], target: 42 };
  const reward = (answer: string) => {
    return scoreCompletion(countdown, `<think>…</think> <answer>${answer}</answer>`, problem, { finished: true })
      .reward;
  };
  assert.equal(reward('2 * 3 * 7'), 1);
  assert.equal(reward('7 * (3 * 2) = 42'), 1);
  assert.equal(reward('2 + 3 + 7'), 0.1, 'the right numbers');
  assert.equal(reward('6 * 7'), 0, 'other numbers');
  assert.equal(reward('2 * 3 * 7 * 7 / 7'), 0, 'one of them more than once');
  assert.equal(reward('42'), 0);
  assert.equal(reward('2 * 3 * 7; process.exit(1)'), 0);
  const cut = scoreCompletion(countdown, '<answer>2 * 3 * 7</answer>', problem, { finished: false });
  assert.ok(!cut.exact && cut.reward === 0.1);
});

test('both examples load as task files, wherever they are', async (t) => {
  for (const name of ['addition', 'countdown']) {
    const elsewhere = join(temporaryFolder(t), `${name}.ts`);
    writeFileSync(elsewhere, readFileSync(join('examples', `${name}.ts`)));
    const { task } = await loadTaskFile(elsewhere, { defineTask, parseAnswer });
    assert.equal(task.name, name);
  }
});

test('addition trains the built-in model', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const sizes = ['--num-train', '16', '--num-test', '4', '--epochs', '1', '--batch-size', '8', '--num-samples', '4'];
  const args = ['train', '--task', 'examples/addition.ts', ...sizes, '--eval-samples', '2', '--out', out, '--json'];
  const { code, stdout, stderr } = await tinyzero([...args, ...quick]);
  assert.equal(code, 0, stderr);
  const { before } = lastLine(stdout);
  assert.equal(before.task, 'addition');
  assert.ok(before.greedy.formatRate === 1, 'the model knows this form');
  assert.ok([...readLog(join(out, 'metrics.jsonl'))].length >= 1);
});

test('countdown with a model that cannot spell it: reported before anything is sampled, nothing is left behind', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const { code, stderr } = await tinyzero(['train', '--task', 'examples/countdown.ts', '--out', out, ...quick]);
  assert.equal(code, 1);
  assert.match(stderr, /^tinyzero: The model cannot read the prompts of task "countdown"\. .* cannot spell "U"/);
  assert.match(stderr, /or choose another --model\.$/m);
  assert.equal(existsSync(out), false);
});

test('countdown with a model that can spell it: it runs, and stage 1 stops a model that solves nothing', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const sizes = ['--num-train', '4', '--num-test', '2', '--num-samples', '2', '--max-new-tokens', '4'];
  const args = ['train', '--task', 'examples/countdown.ts', '--model', fixture('qwen2-tied-f32'), ...sizes];
  const { code, stderr } = await tinyzero([...args, '--eval-samples', '0', '--out', out, ...quick]);
  assert.equal(code, 3, stderr);
  assert.match(stderr, /No sample of any problem is correct/);
});

test('a problems file: trained on, evaluated on its own test problems, and V* is bound to its content', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'sums.jsonl');
  const lines = [5, 10, 15, 20, 25, 30, 35, 40].map((x) => ({ prompt: `What is ${x} + 7?\n`, answer: x + 7 }));
  const write = (more: object[] = []) =>
    writeFileSync(
      path,
      [...lines, { prompt: 'What is 45 + 9?\n', answer: 54, split: 'test' }, ...more]
        .map((line) => JSON.stringify(line))
        .join('\n'),
    );
  write();
  const sampling = ['--problems', path, '--num-train', '8', '--num-samples', '4', ...quick];
  const vStar = join(folder, 'v.json');
  const estimated = await tinyzero(['estimate-vstar', ...sampling, '--out', vStar]);
  assert.equal(estimated.code, 0, estimated.stderr);
  const training = [
    'train',
    ...sampling,
    '--epochs',
    '1',
    '--batch-size',
    '4',
    '--eval-samples',
    '0',
    '--v-star',
    vStar,
  ];
  const trained = await tinyzero([...training, '--out', join(folder, 'run'), '--json']);
  assert.equal(trained.code, 0, trained.stderr);
  const { before } = lastLine(trained.stdout);
  assert.deepEqual(
    before.perProblem.map(({ id }: { id: string }) => id),
    ['What is 45 + 9?\n'],
  );
  const evaluated = await tinyzero(['eval', '--problems', path, '--samples', '1', '--json', ...quick]);
  assert.deepEqual(lastLine(evaluated.stdout).perProblem.length, 1);

  // One more test problem changes nothing that is trained on, but it is another file.
  write([{ prompt: 'What is 50 + 9?\n', answer: 59, split: 'test' }]);
  const other = await tinyzero([...training, '--out', join(folder, 'other')]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /holds V\* for other settings: reward differs/);
  const both = await tinyzero(['eval', '--problems', path, '--task', 'examples/addition.ts', ...quick]);
  assert.equal(both.code, 2);
  assert.match(both.stderr, /--problems: --task already provides the problems/);
});
