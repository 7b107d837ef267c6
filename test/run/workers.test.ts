/**
 * `train --workers`: a run whose worker dies ends with its name, and goes on with another number of workers. Its samples are
 * those of a run in one process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cliPath, merge, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { startWorkers } from '../helpers/workers.js';

const options = [
  ...[
    '--num-train',
    '12',
    '--num-test',
    '4',
    '--num-samples',
    '2',
    '--train-on',
    'all',
    '--force',
    '--batch-size',
    '4',
  ],
  ...['--max-steps', '5', '--max-new-tokens', '24', '--eval-samples', '0', '--eval-every', '0', '--save-every', '1'],
];

nativeTest('a worker that dies ends the run with its name; the run resumes with other workers', async (t) => {
  const folder = temporaryFolder(t);
  const [alone, together] = ['alone', 'together'].map((name) => join(folder, name)) as [string, string];
  const [doomed, first, second] = await startWorkers(t, 3);
  const text = (run: string, name: string) => readFileSync(join(run, name), 'utf8');
  const steps = (run: string) =>
    text(run, 'metrics.jsonl')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));

  const child = spawn(
    process.execPath,
    [cliPath, 'train', ...options, '--out', together, '--json', '--workers', doomed!.address],
    { env: merge({}), stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
    if (stdout.includes('"event":"step"')) doomed!.process.kill('SIGKILL');
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(code, 1, stderr);
  assert.match(stderr.replace(/\s+/g, ' '), new RegExp(`The worker ${doomed!.address} was lost.*--resume`));
  const before = steps(together).length;
  assert.ok(before >= 1 && before < 5, `${before} updates before the end`);

  const workers = [first!.address, second!.address].join();
  const resumed = await tinyzero(['train', '--resume', together, '--workers', workers]);
  assert.equal(resumed.code, 0, resumed.stderr);
  const own = await tinyzero(['train', ...options, '--out', alone]);
  assert.equal(own.code, 0, own.stderr);
  assert.equal(text(together, 'v_star_dict.json'), text(alone, 'v_star_dict.json'), 'the samples are the same');
  const [ours, theirs] = [steps(together), steps(alone)];
  assert.deepEqual(
    ours.map(({ step }) => step),
    theirs.map(({ step }) => step),
  );
  // Before the weights differ by rounding, which may one day choose another token.
  assert.equal(ours[0].reward, theirs[0].reward);
  for (const name of ['loss', 'gradientNorm', 'entropy']) {
    assert.ok(Math.abs(ours[0][name] / theirs[0][name] - 1) < 1e-4, `${name}: ${ours[0][name]}, ${theirs[0][name]}`);
  }
});

test('workers that do not answer, and runs that cannot have any, are explained before anything is written', async () => {
  const refused = await tinyzero(['train', '--seeds', '1,2', '--workers', '127.0.0.1:1']);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /--workers: a worker computes for one run at a time/);
  const wasm = await tinyzero(['worker', '--listen', 'everywhere']);
  assert.notEqual(wasm.code, 0);
});
