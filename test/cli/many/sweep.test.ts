import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SetSummary } from '../../../src/run/many/summary.js';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { runUntil } from '../../helpers/runs.js';

const file = `[options]
lr = [1e-4, 1e-3]
beta2 = [1e-3, 1e-2]
num-train = 16
num-test = 4
epochs = 1
batch-size = 8
num-samples = 2
eval-samples = 0
max-new-tokens = 24
train-on = "all"
`;

test('sweep: tries every setting, ranks by training reward, resumes after a stop, and draws parallel coordinates', async (t) => {
  const root = temporaryFolder(t);
  const path = join(root, 'rates.toml');
  writeFileSync(path, file);
  const folder = join(root, 'sweep');
  const plan = await tinyzero(['sweep', path, '--dry-run', '--no-install', '--out', folder]);
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout, /4 runs of .*train.*\n {2}trial-1: lr 0\.0001, beta2 0\.001, seed 0\n/);

  const start = ['sweep', path, '--no-install', '--out', folder, '--parallel', '2'];
  const stopped = await runUntil(start, 'SIGTERM', (_, output) => /trial-\d finished/.test(output));
  if (stopped.code !== 0) {
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /sweep --resume/);
  }
  const { code, stdout, stderr } = await tinyzero(['sweep', '--resume', folder, '--json']);
  assert.equal(code, 0, stderr);
  const { ranking = [], rankBy, finished, runs } = lastLine(stdout) as SetSummary;
  assert.deepEqual([rankBy, finished, ranking.length], ['train-reward', 4, 4]);
  const scores = ranking.map(({ score }) => score!.mean);
  assert.deepEqual(
    scores,
    [...scores].sort((a, b) => b - a),
  );
  for (const { name, score } of ranking) assert.equal(score!.mean, runs.find((run) => run.name === name)!.trainReward);
  const page = readFileSync(join(folder, 'report.html'), 'utf8');
  assert.match(page, /Values and results/);
  assert.match(page, /4 settings by lr, beta2, mean training reward/);
  assert.match(page, /would be selection/);
  assert.match(
    readFileSync(join(folder, 'table.md'), 'utf8'),
    /^\| rank \| setting \| lr \| beta2 \| training reward \|/,
  );
});
