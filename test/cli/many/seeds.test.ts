import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunEntry } from '../../../src/run/listing/list.js';
import { lockHolder } from '../../../src/run/lock.js';
import type { SetSummary } from '../../../src/run/many/summary.js';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { runBytes, runUntil } from '../../helpers/runs.js';

/** Two updates of eight rollouts. */
const tiny = [
  ...['--num-train', '16', '--num-test', '4', '--epochs', '1', '--batch-size', '8', '--num-samples', '2'],
  ...['--eval-samples', '2', '--max-new-tokens', '24', '--train-on', 'all', '--save-every', '1', '--no-install'],
];
const seeds = (folder: string, which = '1..3') => [
  ...['train', ...tiny, '--seeds', which, '--parallel', '2', '--out', folder],
];

test('train --seeds: every run is what train --seed makes; the summary, the table, the report; runs lists them', async (t) => {
  const folder = join(temporaryFolder(t), 'set');
  const { code, stdout, stderr } = await tinyzero([...seeds(folder), '--json', '--name', 'three', '--note', 'A try.']);
  assert.equal(code, 0, stderr);
  const summary = lastLine(stdout) as SetSummary & { report: string };
  assert.deepEqual([summary.finished, summary.planned, summary.overSeeds?.runs], [3, 3, 3]);
  assert.deepEqual(
    summary.runs.map(({ name, state, updates }) => [name, state, updates]),
    [1, 2, 3].map((seed) => [`seed-${seed}`, 'finished', 2]),
  );
  assert.match(stderr, /3 runs into .*, 2 at a time \(as requested\)/);
  assert.match(stderr, /seed-2 finished: held out .* -> .* \(\d of 3\)/);
  const single = join(folder, '..', 'single');
  const alone = ['train', ...tiny, '--seed', '2', '--out', single, '--quiet', '--name', 'three', '--note', 'A try.'];
  assert.equal((await tinyzero(alone)).code, 0);
  assert.deepEqual(runBytes(join(folder, 'seed-2')), runBytes(single));
  assert.match(readFileSync(join(folder, 'table.md'), 'utf8'), /^\| seed \| greedy before \| sampled before \|/);
  assert.match(readFileSync(join(folder, 'table.md'), 'utf8'), /^\| mean \|/m);
  assert.match(readFileSync(join(folder, 'logs', 'seed-3.log'), 'utf8'), /Update 2 of 2/);
  const page = readFileSync(summary.report, 'utf8');
  assert.match(page, /three: builtin/);
  assert.match(page, /A try\./);
  assert.match(page, /href="seed-1\/report\.html"/);

  const { runs: _, report: __, ...first } = summary;
  const again = await tinyzero(['train', '--resume', folder, '--json']);
  assert.equal(again.code, 0, again.stderr);
  const { runs: ___, report: ____, ...second } = lastLine(again.stdout) as typeof summary;
  assert.deepEqual(second, first, 'nothing is left to do');
  assert.match(again.stderr, /All 3 runs are finished/);
  const taken = await tinyzero(seeds(folder));
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /already contains a set of runs\. Resume it with --resume/);

  const report = await tinyzero(['report', folder, '--json', '--out', join(folder, '..', 'other.html')]);
  assert.equal(report.code, 0, report.stderr);
  assert.equal(typeof lastLine(report.stdout).verdict.sentence, 'string');
  const listed = await tinyzero([
    'runs',
    join(folder, '..'),
    '--json',
    '--sort',
    'seed:desc',
    '--filter',
    'seed > 1 and name = three',
  ]);
  const entries = lastLine(listed.stdout).runs as RunEntry[];
  assert.deepEqual(
    entries.map(({ folder: path, task, note }) => [path.split('/').at(-1), task, note]),
    [
      ['seed-3', 'multiplication', 'A try.'],
      ['single', 'multiplication', 'A try.'], // the newer one
      ['seed-2', 'multiplication', 'A try.'],
    ],
  );
});

test('killed or stopped at any moment, --resume finishes the set with the same bytes', async (t) => {
  const root = temporaryFolder(t);
  const [whole, killed] = [join(root, 'whole'), join(root, 'killed')];
  assert.equal((await tinyzero([...seeds(whole, '1..2'), '--quiet'])).code, 0);
  const began = (path: string) => existsSync(join(path, 'seed-1', 'eval-before.json'));
  const first = await runUntil([...seeds(killed, '1..2'), '--quiet'], 'SIGKILL', () => began(killed));
  assert.equal(first.signal, 'SIGKILL');
  // Its runs notice that it ended, save and stop.
  for (let waited = 0; ['seed-1', 'seed-2'].some((name) => lockHolder(join(killed, name))); waited++) {
    assert.ok(waited < 600, 'the runs of a killed set stop');
    await sleep(100);
  }
  const stopped = await runUntil(['train', '--resume', killed], 'SIGINT', (_, output) =>
    output.includes('seed-1 finished'),
  );
  if (stopped.code !== 0) {
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /Stopped; all runs are saved\. Resume with `.*train --resume .*killed`/);
  }
  const { code, stderr } = await tinyzero(['train', '--resume', killed, '--quiet']);
  assert.equal(code, 0, stderr);
  for (const name of ['seed-1', 'seed-2']) {
    assert.deepEqual(runBytes(join(killed, name)), runBytes(join(whole, name)), name);
  }
  assert.equal(readFileSync(join(killed, 'table.md'), 'utf8'), readFileSync(join(whole, 'table.md'), 'utf8'));
});

test('a run that fails does not keep the others from running, and says why', async (t) => {
  const folder = join(temporaryFolder(t), 'set');
  const task = join(folder, '..', 'task.mjs');
  // Its reward breaks for one of the seeds' problems only.
  writeFileSync(
    task,
    `export default {
  name: 'fragile',
  problems: (random, n) => Array.from({ length: n }, () => { const a = random.int(2, 9), b = random.int(2, 9); return { a, b }; }),
  prompt: ({ a, b }) => 'What is ' + a + ' × ' + b + '?\\n',
  reward: () => { if (process.argv.some((arg) => arg === '--seed=2')) throw new Error('broken on purpose'); return 0.5; },
};\n`,
  );
  const flags = ['--task', task, '--seeds', '1..2', '--out', folder, '--force', '--json'];
  const { code, stdout, stderr } = await tinyzero(['train', ...tiny, ...flags]);
  assert.notEqual(code, 0);
  const { finished, failed } = lastLine(stdout);
  assert.equal(finished, 1, stderr);
  assert.equal(failed[0].name, 'seed-2');
  assert.match(stderr, /seed-2 failed with exit code \d+: .*broken on purpose/);
});

test('wrong seeds, and options that conflict with them, are refused before anything starts', async (t) => {
  const folder = join(temporaryFolder(t), 'set');
  const fails = async (args: readonly string[], pattern: RegExp) => {
    const { code, stderr } = await tinyzero([...args, '--out', folder]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.ok(!existsSync(folder));
  };
  await fails(['train', '--seeds', '5..1'], /--seeds: expected seeds such as 1\.\.5 or 1,3,7, found '5\.\.1'/);
  await fails(['train', '--seeds', '1..2', '--seed', '7'], /--seed: --seeds gives the seed of each run; use only one/);
  await fails(['train', '--seeds', '1..2', '--v-star', 'x.json'], /--v-star: the file has the samples of one seed/);
  await fails(['train', '--parallel', '2'], /--parallel: there is only one run\./);
  await fails(['train', '--seeds', '1..2', '--parallel', 'all'], /--parallel: expected auto or a whole number/);
  await fails(['train', '--seeds', '1..2', '--temperature', '0'], /seed-1: --temperature: must be above 0/);
  await fails(['sft', '--seeds', '1..2', '--data', '-'], /--data: several runs cannot read standard input/);
  await fails(['sweep'], /'sweep' needs a file of options/);
});

test('sft --seeds: mean and spread of the held-out loss, and no test', async (t) => {
  const folder = join(temporaryFolder(t), 'set');
  const lines = Array.from({ length: 24 }, (_, i) => {
    const [a, b] = [2 + (i % 8), 2 + (i % 3)];
    return JSON.stringify({ prompt: `What is ${a} × ${b}?\n`, completion: `answer: ${a * b}` });
  });
  const data = join(folder, '..', 'lines.jsonl');
  writeFileSync(data, lines.join('\n'));
  const flags = [
    '--data',
    data,
    '--seeds',
    '1,2',
    '--epochs',
    '1',
    '--held-out',
    '0.2',
    '--no-install',
    '--out',
    folder,
  ];
  const { code, stdout, stderr } = await tinyzero(['sft', ...flags]);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /Over 2 seeds, the held-out loss went from \d\.\d{3} to \d\.\d{3} nats per token on average; it fell in \d of 2/,
  );
  assert.match(stdout, /no test treats the runs as independent/);
  assert.match(stdout, /seed +loss before +loss after +training loss/);
});
