/** `--max-steps`, `--stop-when-flat` and `--keep best`: stopped and resumed, such runs end with the bytes of one that was not. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLog } from '../../src/run/logs.js';
import { readProblems } from '../../src/run/record.js';
import { bestOf } from '../../src/stage2/step-metrics.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { runBytes, runUntil, shortRun } from '../helpers/runs.js';

const engine = ['--engine', 'wasm', '--no-install'];

/** Runs `options` to the end, and once more with Ctrl-C after update `midway`; returns both folders and the result. */
async function wholeAndResumed(root: string, options: readonly string[], midway: number) {
  const [whole, resumed] = [join(root, 'whole'), join(root, 'resumed')];
  const first = await tinyzero(['train', ...options, ...engine, '--json', '--out', whole]);
  assert.equal(first.code, 0, first.stderr);
  const stopped = await runUntil(
    ['train', ...options, ...engine, '--json', '--out', resumed],
    'SIGINT',
    () => [...readLog(join(resumed, 'metrics.jsonl'))].length >= midway,
  );
  assert.equal(stopped.code, 130, stopped.stderr);
  const force = options.includes('--force') ? ['--force'] : [];
  const second = await tinyzero(['train', '--resume', resumed, ...force, ...engine, '--json']);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(runBytes(resumed), runBytes(whole));
  const result = lastLine(first.stdout);
  for (const name of ['updates', 'stopped', 'best']) assert.deepEqual(lastLine(second.stdout)[name], result[name]);
  return { whole, result };
}

test('--max-steps ends a run, and the learning rate follows the shorter run', async (t) => {
  const { whole, result } = await wholeAndResumed(temporaryFolder(t), [...shortRun, '--max-steps', '3'], 1);
  assert.equal(result.updates, 3);
  assert.equal(result.stopped, undefined);
  const steps = [...readLog(join(whole, 'metrics.jsonl'))];
  assert.equal(steps.length, 3);
  // A cosine down to a tenth at the last update.
  assert.ok(Math.abs((steps[2]!.learningRate as number) - 4e-5) < 1e-9, `${steps[2]!.learningRate}`);
  const plan = await tinyzero(['train', ...shortRun, '--max-steps', '3', ...engine, '--dry-run', '--json']);
  assert.equal(lastLine(plan.stdout).updates, 3);
});

test('--stop-when-flat ends a run whose training reward no longer rises', async (t) => {
  const root = temporaryFolder(t);
  const task = join(root, 'same.mjs');
  writeFileSync(
    task,
    `import { defineTask } from 'tinyzero';
    export default defineTask({
      name: 'always the same',
      problems: (random, n) => Array.from({ length: n }, () => random.int(2, 12)),
      prompt: (a) => \`What is \${a} × 2?\\n\`,
      reward: () => 0.5,
    });`,
  );
  const options = ['--task', task, ...shortRun, '--epochs', '4', '--warmup', '1', '--stop-when-flat', '2', '--force'];
  const { whole, result } = await wholeAndResumed(root, options, 3);
  assert.equal(result.updates, 5, 'one update of warm-up and two windows of two');
  assert.equal(result.stopped, 'flat');
  // Ten updates were planned. Asked once more, the finished run makes no more of them.
  const again = await tinyzero(['train', '--resume', whole, '--force', ...engine, '--json']);
  assert.equal(lastLine(again.stdout).updates, 5);
  assert.match(readFileSync(join(whole, 'report.html'), 'utf8'), /after update 5: the training reward no longer rose/);
});

test('--keep best ends with the model that answered problems of a third split best', async (t) => {
  const root = temporaryFolder(t);
  const options = [
    ...shortRun,
    '--epochs',
    '4',
    '--eval-every',
    '2',
    '--num-validation',
    '4',
    '--keep',
    'best',
    '--max-steps',
    '7',
  ];
  const { whole, result } = await wholeAndResumed(root, options, 4);
  const { train, test: held, validation = [] } = readProblems(join(whole, 'problems.json'));
  assert.equal(validation.length, 4);
  const others = new Set([...train, ...held].map(({ cluster }) => cluster));
  assert.ok(validation.every(({ cluster }) => !others.has(cluster)));
  const steps = [...readLog(join(whole, 'metrics.jsonl'))] as never[];
  const measured = steps.filter(({ validationGreedy }) => validationGreedy !== undefined).map(({ step }) => step);
  assert.deepEqual(measured, [2, 4, 6, 7]);
  assert.deepEqual(result.best, bestOf(steps));
  const model = (folder: string) => readFileSync(join(whole, folder, 'model.safetensors'));
  assert.deepEqual(model('final'), model('best'));

  // Without its best model, a run that has to write the trained one again begins again, and ends with the same bytes.
  const copy = join(root, 'copy');
  cpSync(whole, copy, { recursive: true });
  for (const name of ['final.json', 'best.json']) rmSync(join(copy, name));
  const again = await tinyzero(['train', '--resume', copy, ...engine]);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /best\.json: no such file\. Training starts from the beginning/);
  assert.deepEqual(readFileSync(join(copy, 'final', 'model.safetensors')), model('final'));

  const wrong = await tinyzero(['train', '--keep', 'best', ...engine]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--keep: best needs validation problems \(--num-validation\)/);
});
