/** Sampling on an OpenAI-compatible server: V*, evaluation, generation, stage 2 with adapters, and what can go wrong. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { estimateVStar, evaluate, train } from '../../src/index.js';
import { readLog } from '../../src/run/logs.js';
import { readVStarFile, writeVStarFile } from '../../src/stage1/v-star-file.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { startServer } from '../helpers/openai-server.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

const small = {
  engine: 'wasm',
  install: false,
  numTrain: 4,
  numTest: 2,
  numSamples: 2,
  evalSamples: 2,
  maxNewTokens: 40,
  seed: 3,
} as const;

test('V* from a server: the same file in any order of answers and despite faults; train accepts it', async (t) => {
  const { url: samplerUrl, faults, counts } = await startServer(t);
  const folder = temporaryFolder(t);
  const [calm, rough] = [join(folder, 'calm.json'), join(folder, 'rough.json')];
  writeVStarFile(calm, await estimateVStar({ ...small, samplerUrl, concurrency: 1 }));
  assert.equal(counts.most, 1);
  // One of each: their pauses double from half a second.
  Object.assign(faults, { busy: 1, cut: 1, garbled: 1 });
  writeVStarFile(rough, await estimateVStar({ ...small, samplerUrl, concurrency: 16 }));
  assert.ok(counts.most > 1);
  assert.deepEqual(faults, { busy: 0, cut: 0, garbled: 0 });
  assert.equal(readFileSync(rough, 'utf8'), readFileSync(calm, 'utf8'));

  const file = readVStarFile(calm);
  assert.equal(file.fingerprint.sampling, 'temperature 1, 40 tokens, seed 3, f32, drawn by loopback 1.0 serving pol');
  assert.ok([...file.entries.values()].every(({ rewards }) => rewards.length === 2));
  const local = await estimateVStar(small);
  assert.deepEqual({ ...local.fingerprint, sampling: '' }, { ...file.fingerprint, sampling: '' });

  const work = { ...small, epochs: 1, batchSize: 4, maxSteps: 1, evalEvery: 0, trainOn: 'all', force: true } as const;
  const run = join(folder, 'run');
  await train({ ...work, folder: run, vStar: calm });
  assert.deepEqual(readVStarFile(join(run, 'v_star_dict.json')).entries, file.entries);

  // More samples must come from the same program.
  await assertUserRejection(
    estimateVStar({ ...small, out: calm, numSamples: 3 }),
    /holds V\* for other settings: sampling differs/,
    /drawn by loopback 1\.0 serving pol/,
  );
});

test('an estimation that the server ended resumes where it stopped and ends with the same bytes', async (t) => {
  const { url: samplerUrl, faults, counts } = await startServer(t);
  const folder = temporaryFolder(t);
  const [whole, stopped] = [join(folder, 'whole.json'), join(folder, 'stopped.json')];
  // A group has at most 256 samples, so one problem each.
  const call = { ...small, max: 3, numTrain: 8, numTest: 1, numSamples: 129, maxNewTokens: 1, samplerUrl };
  await estimateVStar({ ...call, out: whole });
  Object.assign(faults, { status: 400, statusAfter: counts.completions + 200 });
  await assertUserRejection(estimateVStar({ ...call, out: stopped }), /refuses completions \(400\): out of order\./);
  const done = readVStarFile(stopped).entries.size;
  assert.ok(done > 0 && done < readVStarFile(whole).entries.size, `${done} problems`);
  Object.assign(faults, { status: undefined });
  await estimateVStar({ ...call, out: stopped });
  assert.equal(readFileSync(stopped, 'utf8'), readFileSync(whole, 'utf8'));
});

test('a server that does not fit is refused, and says why', async (t) => {
  const { url: samplerUrl, faults } = await startServer(t);
  const call = { ...small, samplerUrl };
  const refused = async (fault: typeof faults, ...patterns: RegExp[]) => {
    Object.assign(faults, fault);
    await assertUserRejection(estimateVStar(call), ...patterns);
    for (const name of Object.keys(fault)) delete faults[name as keyof typeof faults];
  };
  await refused({ shift: 0.5 }, /serves a different model than --model/, /differ by 0\.50 on average/);
  await refused({ otherTokenizer: true }, /a different tokenizer than --model/);
  await refused({ textPrompts: true }, /does not accept prompts as token ids: prompt must be a string\./);
  await refused({ models: ['a', 'b'] }, /has several models\. Found "a", "b"\. Choose one with --sampler-model/);
  await refused({ room: 20 }, /accepts at most 20 tokens/, /--max-model-len/);
  await refused({ key: 'secret' }, /\(401\): Unauthorized\./, /--api-key-env/);
  process.env.TINYZERO_TEST_KEY = 'secret';
  Object.assign(faults, { key: 'secret' });
  assert.equal((await estimateVStar({ ...call, numSamples: 1, apiKeyEnv: 'TINYZERO_TEST_KEY' })).samples, 1);
  await assertUserRejection(
    estimateVStar({ ...call, apiKeyEnv: 'NO_SUCH_KEY' }),
    /variable NO_SUCH_KEY contains no key/,
  );
  await assertUserRejection(estimateVStar({ ...call, samplerUrl: 'localhost:8000' }), /--sampler-url: expected/);
  await assertUserRejection(estimateVStar({ ...small, samplerModel: 'pol' }), /--sampler-model: .* --sampler-url/);
});

test('an evaluation on a server, with and without token ids and seeds', async (t) => {
  const { url: samplerUrl, faults } = await startServer(t);
  const lines: string[] = [];
  const reporter = { line: (text: string) => void lines.push(text), transfer: quiet, work: quiet };
  const here = await evaluate(small);
  const there = await evaluate({ ...small, samplerUrl, reporter } as never);
  // Greedy answers need no random numbers.
  assert.deepEqual(
    there.perProblem.map(({ greedy }) => greedy),
    here.perProblem.map(({ greedy }) => greedy),
  );
  assert.ok(lines.some((line) => /Its log-probs differ from those of --model by (0|\d\S*) on average/.test(line)));
  Object.assign(faults, { withoutIds: true, unseeded: true });
  lines.length = 0;
  const texts = await evaluate({ ...small, samplerUrl, reporter } as never);
  assert.deepEqual(
    texts.perProblem.map(({ greedy }) => greedy.tokens),
    here.perProblem.map(({ greedy }) => greedy.tokens),
  );
  assert.ok(lines.some((line) => /cannot be repeated exactly/.test(line)));
  assert.ok(lines.some((line) => /were not compared/.test(line)));
});

const quiet = () => ({ update() {}, hide() {}, end() {} });

test('generate on a server', async (t) => {
  const { url } = await startServer(t);
  const prompt = 'What is 7 × 3?\n';
  const args = ['generate', '--prompt', prompt, '--sampler-url', url, '--samples', '2', '--temperature', '1', '--json'];
  const result = await tinyzero([...args, '--engine', 'wasm']);
  assert.equal(result.code, 0, result.stderr);
  const { completions } = lastLine(result.stdout);
  assert.equal(completions.length, 2);
  assert.match(completions[0].text, /answer: \d+/);
  assert.equal(completions[0].ids.length, completions[0].logProbs.length);
});

const work = {
  ...small,
  algo: 'oapl',
  loraRank: 4,
  lr: 1e-3,
  epochs: 4,
  batchSize: 4,
  maxSteps: 5,
  evalEvery: 2,
  saveEvery: 2,
  refreshEvery: 2,
} as const;

test('stage 2 on a server: adapters at every refresh, the same bytes after an interruption and a restart of the server', async (t) => {
  const { url: samplerUrl, faults, counts } = await startServer(t);
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  const result = await train({ ...work, samplerUrl, folder: whole });
  assert.equal(result.updates, 5);
  // Of updates 0, 2, 4 and 5, each once, and each is unloaded.
  assert.equal(counts.loaded.length, 4);
  assert.deepEqual([...counts.unloaded].sort(), [...counts.loaded].sort());
  assert.ok(!existsSync(join(whole, 'sampler')));
  const metrics = [...readLog(join(whole, 'metrics.jsonl'))] as { step: number; samplerDifference: number }[];
  for (const { step, samplerDifference } of metrics) {
    assert.equal(samplerDifference < 1e-3, step % 2 === 1, `update ${step}: ${samplerDifference}`);
  }

  Object.assign(faults, { forgetAfter: 6, busy: 1 });
  await stopAfter(3, { ...work, samplerUrl, folder: stopped });
  assert.ok(faults.forgetAfter! < 0);
  await train({ ...work, folder: stopped, resume: true });
  assert.deepEqual(runBytes(stopped), runBytes(whole));
});

test('a server that cannot draw the rollouts of stage 2 is refused before anything is sampled', async (t) => {
  const { url: samplerUrl, faults } = await startServer(t);
  const folder = join(temporaryFolder(t), 'run');
  const call = { ...work, samplerUrl, folder };
  await assertUserRejection(train({ ...call, loraRank: undefined }), /training needs --lora-rank too/);
  Object.assign(faults, { withoutAdapters: true });
  await assertUserRejection(train(call), /did not load an adapter \(500\): LoRA is not enabled\./, /--max-lora-rank 4/);
  Object.assign(faults, { withoutAdapters: false, raw: true });
  const raw = { ...call, folder: `${folder}-raw`, temperature: 0.7 };
  await assertUserRejection(
    train(raw),
    /its log-probs are always those of temperature 1/,
    /--logprobs-mode processed_logprobs/,
  );
});
