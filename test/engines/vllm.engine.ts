/** The real vLLM (CPU build, `npm run test:engines`) serves the built-in model: V*, an evaluation, and stage 2 with adapters. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { estimateVStar, evaluate, train } from '../../src/index.js';
import { readLog } from '../../src/run/logs.js';
import { readVStarFile } from '../../src/stage1/v-star-file.js';
import { temporaryFolder as folderForAll } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { type RealServer, startServer } from '../helpers/real-server.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';
import { widenHeads } from '../helpers/widened.js';

const python = process.env.TINYZERO_VLLM_PYTHON;
assert.ok(python, 'TINYZERO_VLLM_PYTHON names no Python; use `npm run test:engines -- vllm`');

let vllm: RealServer | undefined;
let samplerUrl: string;
let model: string;

before(async () => {
  const folder = folderForAll('vllm');
  model = join(folder, 'wide');
  await widenHeads('models/tiny', model);
  vllm = await startServer({
    command: python,
    args: (port) => [
      ...['-m', 'vllm.entrypoints.openai.api_server', '--model', model, '--served-model-name', 'pol'],
      ...['--host', '127.0.0.1', '--port', String(port), '--dtype', 'float32', '--max-model-len', '256'],
      ...['--enforce-eager', '--enable-lora', '--max-lora-rank', '8', '--max-loras', '2'],
    ],
    env: {
      VLLM_CPU_KVCACHE_SPACE: '1',
      VLLM_ALLOW_RUNTIME_LORA_UPDATING: 'True',
      VLLM_NO_USAGE_STATS: '1',
      DO_NOT_TRACK: '1',
      HF_HUB_OFFLINE: '1',
      OMP_NUM_THREADS: '1',
      // The first request compiles for minutes on a busy machine.
      VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS: '3000',
    },
    health: '/health',
    // An import of torch, and the warm-up of the model.
    startSeconds: 2400,
  });
  samplerUrl = `${vllm.url}/v1`;
});

after(async () => await vllm?.stop());

const small = {
  install: false,
  numTrain: 16,
  numTest: 4,
  numSamples: 4,
  evalSamples: 2,
  maxNewTokens: 40,
  seed: 3,
} as const;

test('V* is the same file at any concurrency, and train accepts it', async (t) => {
  const folder = temporaryFolder(t);
  const [one, many] = [join(folder, 'one.json'), join(folder, 'many.json')];
  const lines: string[] = [];
  const reporter = { line: (text: string) => void lines.push(text), transfer: quiet, work: quiet };
  const call = { ...small, model, samplerUrl };
  await estimateVStar({ ...call, out: one, concurrency: 1, reporter } as never);
  await estimateVStar({ ...call, out: many, concurrency: 48 });
  assert.equal(readFileSync(many, 'utf8'), readFileSync(one, 'utf8'));
  const file = readVStarFile(one);
  assert.match(file.fingerprint.sampling, /, drawn by vllm 0\.32\.0\S* serving pol$/);
  const difference = lines
    .map((line) => /differ from those of --model by (\S+) on average/.exec(line)?.[1])
    .find(Boolean);
  assert.ok(Number(difference) < 1e-4, `${difference}`);
  const run = join(folder, 'run');
  const work = {
    ...small,
    model,
    vStar: one,
    epochs: 1,
    batchSize: 8,
    maxSteps: 1,
    trainOn: 'all',
    force: true,
  } as const;
  await train({ ...work, folder: run });
  assert.deepEqual(readVStarFile(join(run, 'v_star_dict.json')).entries, file.entries);
});

const quiet = () => ({ update() {}, hide() {}, end() {} });

test('greedy answers are those of this program', async () => {
  const here = await evaluate({ ...small, model });
  const there = await evaluate({ ...small, model, samplerUrl });
  assert.deepEqual(
    there.perProblem.map(({ greedy }) => greedy.completion),
    here.perProblem.map(({ greedy }) => greedy.completion),
  );
});

test('another model, raw log-probs at another temperature: refused', async (t) => {
  await assertUserRejection(estimateVStar({ ...small, model: 'builtin-b', samplerUrl }), /serves a different model/);
  const folder = join(temporaryFolder(t), 'run');
  const call = { ...small, model, samplerUrl, folder, algo: 'oapl', loraRank: 4, temperature: 0.7 } as const;
  await assertUserRejection(train({ ...call, batchSize: 4 }), /its log-probs are always those of temperature 1/);
});

for (const [algo, refreshEvery] of [
  ['apo', 1],
  ['oapl', 2],
] as const) {
  test(`stage 2 with ${algo}, refreshed every ${refreshEvery} updates: vLLM draws from the policy of the refresh`, async (t) => {
    const root = temporaryFolder(t);
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    const call = {
      ...{ ...small, model, samplerUrl, algo, refreshEvery, loraRank: 4, lr: 2e-3, force: true },
      trainOn: 'all',
      // One checkpoint: a run that is stopped saves another one.
      ...{ epochs: 2, batchSize: 8, maxSteps: 4, evalEvery: 2, saveEvery: 2, keep: 1 },
    } as const;
    await train({ ...call, folder: whole });
    const metrics = [...readLog(join(whole, 'metrics.jsonl'))] as { step: number; samplerDifference: number }[];
    assert.equal(metrics.length, 4);
    for (const { step, samplerDifference } of metrics) {
      const isCurrent = (step - 1) % refreshEvery === 0;
      assert.equal(samplerDifference < 1e-3, isCurrent, `update ${step}: ${samplerDifference}`);
    }
    assert.ok(!existsSync(join(whole, 'sampler')));
    await stopAfter(3, { ...call, folder: stopped });
    await train({ ...call, folder: stopped, resume: true });
    assert.deepEqual(runBytes(stopped), runBytes(whole));
  });
}
