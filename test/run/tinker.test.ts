/** Runs of `train --on tinker` on a server that computes with tinyzero's own engine. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type EvalSummary, evaluate, train } from '../../src/index.js';
import { tinyzero } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { stopAfter } from '../helpers/stopped.js';
import { startTinker } from '../helpers/tinker/server.js';

const folder = 'models/tiny';
const work = {
  model: folder,
  engine: 'wasm',
  install: false,
  numTrain: 6,
  numTest: 3,
  evalSamples: 2,
  evalEvery: 0,
  epochs: 2,
  batchSize: 4,
  numSamples: 2,
  maxNewTokens: 40,
  trainOn: 'all',
  saveEvery: 2,
  seed: 4,
  loraRank: 4,
  lr: 1e-3,
  force: true,
} as const;

/** Everything that a run computes. The rest names the server and its paths. */
const results = [
  'v_star_dict.json',
  'eval-before.json',
  'eval-after.json',
  'metrics.jsonl',
  'rollouts.jsonl',
  'final/adapter_model.safetensors',
];

test('a run that was stopped and resumes at another address, on a restarted server, ends as an uninterrupted one', async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  const kept = new Map();
  const options = { folder, engine: 'wasm', rank: 4, kept } as const;
  const server = await startTinker(t, options);
  const result = await train({ ...work, tinkerUrl: server.url, folder: whole });
  assert.equal(result.updates, 3);
  assert.equal(server.loadedModels() <= 2, true, 'at most the trained model and the reference');

  await stopAfter(2, { ...work, tinkerUrl: server.url, folder: stopped });
  await server.close();
  const other = await startTinker(t, options);
  await train({ folder: stopped, resume: true, tinkerUrl: other.url, engine: 'wasm', install: false });
  for (const name of results) {
    assert.equal(readFileSync(join(stopped, name), 'latin1'), readFileSync(join(whole, name), 'latin1'), name);
  }

  // The adapter that came from the server is the trained model on this machine too.
  const measured = await evaluate({
    ...work,
    loraRank: undefined,
    model: join(whole, 'final'),
    evalSamples: 0,
  });
  const greedy = ({ perProblem }: EvalSummary) => perProblem.map((problem) => problem.greedy.completion);
  assert.deepEqual(greedy(measured), greedy(result.after));
  const place = JSON.parse(readFileSync(join(whole, 'final', 'server.json'), 'utf8'));
  assert.deepEqual([place.url, place.baseModel], [server.url, folder]);
  assert.match(place.path, /^tinker:\/\/model_\d+\/weights\//);
  await other.close();

  // A server without the saved state cannot continue the run, and says so.
  const empty = await startTinker(t, { ...options, kept: new Map() });
  for (const name of ['final.json', 'eval-after.json']) rmSync(join(stopped, name));
  await assertUserRejection(
    train({ folder: stopped, resume: true, tinkerUrl: empty.url, engine: 'wasm', install: false }),
    /no longer has the state .*tinker:\/\/model_\d+\/weights\/.*checkpoints/,
  );
});

test('options that contradict a server are refused before it is asked', async () => {
  const refused = async (args: readonly string[], pattern: RegExp) => {
    const { code, stderr } = await tinyzero(['train', '--out', '/nonexistent/run', ...args]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
  };
  await refused(['--on', 'tinker'], /--on: tinker needs --tinker-url/);
  await refused(['--tinker-model', 'x'], /--tinker-model: needs --on tinker/);
  const server = ['--on', 'tinker', '--tinker-url', 'http://localhost:1'];
  await refused([...server, '--temperature', '0.7'], /--temperature: must be 1 with --on tinker/);
  await refused(
    [...server, '--lora-alpha', '8', '--precision', 'bf16'],
    /--lora-alpha: .*\n.*--precision: .*the server decides/s,
  );
});

test('a set of runs on a server needs no local engine', async (t) => {
  const set = join(temporaryFolder(t), 'set');
  const server = await startTinker(t, { folder, engine: 'wasm', rank: 4, kept: new Map() });
  const place = ['--model', folder, '--on', 'tinker', '--tinker-url', server.url, '--lora-rank', '4'];
  const size = ['--num-train', '2', '--num-test', '1', '--num-samples', '2', '--max-new-tokens', '8', '--epochs', '1'];
  const small = [...size, '--batch-size', '2', '--eval-samples', '0', '--train-on', 'all', '--force', '--seeds', '1,2'];
  // The test's server holds one gradient at a time.
  const { code, stderr } = await tinyzero(['train', ...place, ...small, '--parallel', '1', '--out', set]);
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /Engine:|installed/);
  assert.equal(JSON.parse(readFileSync(join(set, 'plan.json'), 'utf8')).engine, undefined);
  assert.equal(existsSync(join(set, 'seed-2', 'final', 'adapter_model.safetensors')), true);
});
