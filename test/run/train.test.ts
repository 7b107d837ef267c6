/**
 * Whole runs as real processes: the same seed gives the same bytes, on both engines, interrupted or not; a run that
 * cannot learn says so.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readEvaluation } from '../../src/policy/eval-compare.js';
import { readLog } from '../../src/run/logs.js';
import { keyedRandom } from '../../src/util/random.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { beginOrResume, runBytes, runUntil, shortRun } from '../helpers/runs.js';

for (const engine of ['tensorflow', 'wasm'] as const) {
  const check = engine === 'tensorflow' ? nativeTest : test;

  check(
    `a run killed at any moment, or stopped by Ctrl-C, ends with the bytes of one that was not (${engine})`,
    async (t) => {
      const root = temporaryFolder(t);
      const whole = join(root, 'whole');
      const start = performance.now();
      const first = await tinyzero(beginOrResume(whole, engine));
      const elapsedMs = performance.now() - start;
      assert.equal(first.code, 0, first.stderr);
      checkRun(whole);
      // Asked of the run folder, eval repeats what the run measured: seed, problems and sampling are the run's.
      const again = await tinyzero(['eval', '--model', whole, '--samples', '2', '--engine', engine, '--json']);
      assert.equal(again.code, 0, again.stderr);
      const {
        compare: _,
        model: __,
        checksum: ____,
        ...after
      } = JSON.parse(readFileSync(join(whole, 'eval-after.json'), 'utf8'));
      const { event: _____, model: ___, ...measured } = lastLine(again.stdout);
      assert.deepEqual(measured, after);

      const stopped = join(root, 'stopped');
      const midway = /Update 3 of/;
      const interrupted = await runUntil(beginOrResume(stopped, engine), 'SIGINT', (_, output) => midway.test(output));
      assert.equal(interrupted.code, 130, interrupted.stderr);
      assert.match(interrupted.stderr, /Resume with `.*train --resume .*stopped`/);
      const resumed = await tinyzero(beginOrResume(stopped, engine));
      assert.equal(resumed.code, 0, resumed.stderr);
      assert.match(resumed.stderr, /Resuming after update/);
      assert.deepEqual(runBytes(stopped), runBytes(whole));

      // One or two kills here; train-kill.slow.ts does twenty. Killed runs are resumed until one comes through.
      const killed = join(root, 'killed');
      const random = keyedRandom('kill', engine);
      const shares = [0.3 + 0.3 * random.uniform(), 0.3 + 0.6 * random.uniform()];
      for (const share of engine === 'tensorflow' ? shares : shares.slice(1)) {
        await runUntil(beginOrResume(killed, engine), 'SIGKILL', (passedMs) => passedMs > share * elapsedMs);
      }
      const last = await tinyzero(beginOrResume(killed, engine));
      assert.equal(last.code, 0, last.stderr);
      assert.deepEqual(runBytes(killed), runBytes(whole));
    },
  );
}

/** What every finished short run has. */
function checkRun(folder: string): void {
  const steps = [...readLog(join(folder, 'metrics.jsonl'))];
  assert.deepEqual(
    steps.map(({ step }) => step),
    [1, 2, 3, 4, 5],
  );
  // Before the first update policy and reference are one.
  assert.equal(steps[0]?.kl, 0);
  assert.ok((steps[0]?.samplerDifference as number) < 1e-4);
  assert.ok(steps.slice(1).some(({ kl }) => kl !== 0));
  const before = readEvaluation(join(folder, 'eval-before.json'));
  assert.equal(before.problems, 4);
  assert.equal(readEvaluation(join(folder, 'eval-after.json')).sampled?.samplesPerProblem, 2);
  const config = JSON.parse(readFileSync(join(folder, 'final', 'config.json'), 'utf8'));
  assert.equal(config.torch_dtype, 'float32');
}

const small = ['--engine', 'wasm', '--no-install'];

test('equal rewards stop the run with exit code 3 and advice; --resume --force continues', async (t) => {
  const root = temporaryFolder(t);
  const task = join(root, 'never.mjs');
  writeFileSync(
    task,
    `import { defineTask } from 'tinyzero';
    export default defineTask({
      name: 'never right',
      problems: (random, n) => Array.from({ length: n }, () => random.int(2, 12)),
      prompt: (a) => \`What is \${a} × 2?\\n\`,
      reward: () => 0,
    });`,
  );
  const out = join(root, 'run');
  const stopped = await tinyzero([
    'train',
    ...shortRun.filter((flag) => flag !== '--train-on' && flag !== 'all'),
    '--task',
    task,
    '--out',
    out,
    ...small,
  ]);
  assert.equal(stopped.code, 3, stopped.stderr);
  assert.match(
    stopped.stderr,
    /nothing that reinforcement learning could learn from\. No sample of any problem is correct/,
  );
  // Forced, nothing is solved, so nothing is left to train on: that is told too.
  const forced = await tinyzero(['train', '--resume', out, '--force', ...small]);
  assert.equal(forced.code, 1, forced.stderr);
  assert.match(forced.stderr, /--train-on all/);
});

test('V* of another seed is rejected by the field that differs; of the same settings it replaces sampling', async (t) => {
  const root = temporaryFolder(t);
  const sampling = ['--num-train', '6', '--num-test', '2', '--num-samples', '4', '--max-new-tokens', '40', ...small];
  const parts = ['1/2', '2/2'].map((shard, i) => ({ shard, path: join(root, `part-${i}.json`) }));
  for (const { shard, path } of parts) {
    const { code, stderr } = await tinyzero(['estimate-vstar', ...sampling, '--shard', shard, '--out', path]);
    assert.equal(code, 0, stderr);
  }
  const alone = await tinyzero(['merge-vstar', parts[0]!.path, '--out', join(root, 'alone.json')]);
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, /Shard 2 of 2 is missing.*--partial/);
  const whole = join(root, 'whole.json');
  const merged = await tinyzero(['merge-vstar', ...parts.map(({ path }) => path), '--out', whole]);
  assert.equal(merged.code, 0, merged.stderr);
  const derived = join(root, 'derived.json');
  const { code } = await tinyzero([
    'estimate-vstar',
    '--from',
    whole,
    '--beta1',
    '5',
    '--num-samples',
    '2',
    '--out',
    derived,
  ]);
  assert.equal(code, 0);
  const { beta1, shards, entries } = JSON.parse(readFileSync(derived, 'utf8'));
  assert.equal(beta1, 5);
  assert.deepEqual(shards, { of: 1, have: [1], problems: Object.keys(entries).length });

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
    whole,
  ];
  const other = await tinyzero([...training, '--seed', '1', '--out', join(root, 'other')]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /holds V\* for other settings: .*sampling.* differ/);
  assert.ok(!existsSync(join(root, 'other')), 'refused before there is a folder');
  const same = await tinyzero([...training, '--out', join(root, 'same')]);
  assert.equal(same.code, 0, same.stderr);
  const phases = [...readLog(join(root, 'same', 'timings.jsonl'))].flatMap(({ phase }) => phase ?? []);
  assert.deepEqual(
    phases,
    ['first-token', 'eval-before', 'stage2', 'eval-after', 'process'],
    'nothing was sampled in stage 1',
  );
});

test('contradictory options are rejected before any work', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const grpo = ['train', '--algo', 'grpo', '--batch-size', '12', '--num-samples', '8', '--temperature', '0'];
  const { code, stderr } = await tinyzero([...grpo, '--out', out, ...small]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /--temperature: .*\n--batch-size: GRPO compares 8/);
});
