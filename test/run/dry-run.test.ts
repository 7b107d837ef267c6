/** `train --dry-run` as a user runs it, and the arithmetic of its plan. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sizeOf } from '../../src/engine/shape.js';
import { parameterCount, trainedSpecs } from '../../src/model/network/params.js';
import { builtinArchitecture } from '../../src/pretrain/builtin.js';
import { planDisk } from '../../src/run/disk.js';
import type { DryRun } from '../../src/run/dry-run.js';
import { planMemory } from '../../src/run/needs.js';
import { writeVStarFile } from '../../src/stage1/v-star-file.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { changeJson, copyOfModel, temporaryFolder } from '../helpers/files.js';
import { startHub } from '../helpers/hub-server.js';
import { nativeTest } from '../helpers/native.js';

const weightless = ['train', '--preset', 'seed', '--dry-run'];

test('weights, reference and two moments are four times the parameters; the rest adds up', () => {
  const config = builtinArchitecture();
  const bytes = 4 * parameterCount(config);
  const [sampling, training] = planMemory(
    config,
    { promptLengths: [6, 8], maxNewTokens: 48, slots: 16 },
    {
      batchSize: 32,
      precision: 'f32',
    },
  );
  assert.equal(sampling?.parts.weights, bytes);
  assert.equal(training?.parts['reference weights'], bytes);
  assert.equal(training?.parts['moments of AdamW'], 2 * bytes);
  assert.equal(training?.parts.gradients, bytes);
  // 17 slots of 64 positions (8 + 48 - 1, rounded up to 16s), 8 prompts of 16: keys and values, 4 layers of 2 heads of 24.
  assert.equal(sampling?.parts.caches, 4 * 2 * 4 * 2 * 24 * (17 * 64 + 2 * 16));
  for (const stage of [sampling!, training!]) {
    assert.equal(
      stage.bytes,
      Object.values(stage.parts).reduce((sum, part) => sum + part, 0),
    );
  }
  assert.equal(planDisk(config, { keep: 2, download: 7 }).bytes, 7 + (3 * 3 + 1) * bytes);
});

test('checkpoints have moments of the trained weights alone, the best model none', () => {
  const config = builtinArchitecture();
  const bytes = 4 * parameterCount(config);
  const frozen = bytes - 4 * Object.values(trainedSpecs(config, 'embeddings')).reduce((sum, s) => sum + sizeOf(s), 0);
  assert.ok(frozen > 0);
  const work = { keep: 2, download: 0 };
  assert.equal(planDisk(config, { ...work, freeze: 'embeddings' }).bytes, (3 * 3 + 1) * bytes - 3 * 2 * frozen);
  assert.equal(planDisk(config, { ...work, best: true }).bytes, (3 * 3 + 2) * bytes);
  assert.equal(planDisk(config, { ...work, server: 'trains' }).bytes, (3 + 1) * bytes);
});

test('more completions than memory holds are refused before any of them', async () => {
  for (const [args, message] of [
    [
      ['eval', '--samples', '1000000', '--engine', 'wasm'],
      /1000000 samples of each of 20 held-out problems.*at most 2000000\. Found 20000000\. Use fewer samples/,
    ],
    [['train', '--dry-run', '--num-samples', '1000000'], /1000000 samples of each of 101 distinct problems/],
  ] as const) {
    const { code, stderr } = await tinyzero(args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});

test('--dry-run shows the work of the default run and writes nothing', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const { code, stdout } = await tinyzero(['train', '--dry-run', '--json', '--out', out]);
  assert.equal(code, 0);
  const plan: DryRun = lastLine(stdout);
  assert.deepEqual(plan.problems, { train: plan.problems.train, rows: 500, test: 20 });
  assert.equal(plan.rollouts.evaluation, 20 * 65);
  assert.equal(plan.rollouts.stage1, 8 * plan.problems.train);
  assert.equal(plan.updates, 47);
  assert.deepEqual(plan.shortfalls, []);
  assert.ok(!existsSync(out));
});

nativeTest('--dry-run measures the time of a run', async () => {
  const { stdout } = await tinyzero(['train', '--dry-run', '--json']);
  const plan: DryRun = lastLine(stdout);
  const { parts, seconds, secondsAtMost, probe } = plan.time!;
  for (const part of ['stage 1', 'stage 2: rollouts', 'stage 2: updates', 'evaluation after training']) {
    assert.ok(parts[part]! > 0, part);
  }
  assert.ok(seconds > 0 && seconds < secondsAtMost, `${seconds} and ${secondsAtMost}`);
  assert.ok(probe.completions > 0 && probe.meanTokens > 1 && probe.meanTokens < plan.maxNewTokens);
});

nativeTest('--dry-run times parts of a large model, even without its weights', async (t) => {
  const model = copyOfModel(t, 'llama');
  changeJson(join(model, 'config.json'), {
    hidden_size: 256,
    intermediate_size: 1024,
    num_hidden_layers: 30,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
  });
  for (const name of readdirSync(model)) if (name.includes('safetensors')) rmSync(join(model, name));
  const out = join(temporaryFolder(t), 'run');
  const { code, stdout, stderr } = await tinyzero([...weightless, '--model', model, '--out', out]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Time on this machine: about [\w ]+\n +[\w ]+ start, loading and compiling/);
  assert.match(stdout, /9 layers timed; every completion is taken to have 50 tokens, since the weights are not here/);
});

test('a hub model is planned without its weights, and rejected clearly if it does not fit', async (t) => {
  const model = copyOfModel(t, 'qwen2-untied-bf16');
  for (const name of readdirSync(model)) if (name.includes('safetensors')) rmSync(join(model, name));
  const hub = await startHub(t, model);
  const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: temporaryFolder(t), HF_TOKEN: undefined };
  const out = join(temporaryFolder(t), 'run');
  const fits = await tinyzero([...weightless, '--model', 'org/model', '--out', out], environment);
  assert.equal(fits.code, 0, fits.stderr);
  assert.match(fits.stdout, /download\n/);

  // The architecture of a 70B model: 141 GB in bfloat16, and 16 bytes a parameter to train.
  changeJson(join(model, 'config.json'), {
    hidden_size: 8192,
    intermediate_size: 28672,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    layer_types: undefined,
  });
  const huge = await tinyzero([...weightless, '--model', model, '--out', out]);
  assert.equal(huge.code, 1, huge.stderr);
  assert.match(huge.stdout, /reference weights/);
  assert.doesNotMatch(huge.stdout, /Time on this machine/, 'what does not fit is not timed');
  assert.match(huge.stderr, /does not fit on this machine\. .*memory for training: [\d.]+ TB needed, .* available/);
  assert.match(huge.stderr, /smaller model/);
  assert.ok(!existsSync(out));
});

test('the plan is that of the place: a Tinker server, a server that samples, workers', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const plan = async (...args: string[]): Promise<DryRun> => {
    const { code, stdout, stderr } = await tinyzero(['train', '--dry-run', '--json', '--out', out, ...args]);
    assert.equal(code, 0, stderr);
    return lastLine(stdout);
  };
  const parts = ({ memory }: DryRun, stage = 'training') => memory.find((each) => each.stage === stage)?.parts ?? {};
  const lora = ['--lora-rank', '8'];
  const here = await plan(...lora);
  assert.deepEqual(here.elsewhere, {});

  // Nothing listens at these addresses: a plan asks nobody.
  const tinker = await plan(...lora, '--on', 'tinker', '--tinker-url', 'http://127.0.0.1:9', '--engine', 'wasm');
  assert.deepEqual([tinker.elsewhere.tinkerUrl, tinker.device], ['http://127.0.0.1:9', 'cpu']);
  assert.equal(tinker.time, undefined);
  assert.deepEqual(Object.keys(parts(tinker)), ['Node', 'copies of the adapter']);
  assert.equal(tinker.disk.parts.checkpoints, here.disk.parts.checkpoints! / 3, 'the moments are on the server');

  const sampler = await plan(...lora, '--sampler-url', 'http://127.0.0.1:9/v1');
  assert.equal(sampler.elsewhere.samplerUrl, 'http://127.0.0.1:9/v1');
  assert.deepEqual(
    sampler.memory.map(({ stage }) => stage),
    ['training'],
  );
  assert.ok((parts(sampler).caches ?? 0) < parts(here).caches! / 8, 'nothing is sampled here');
  assert.equal(parts(sampler)['moments of AdamW'], parts(here)['moments of AdamW']);
  assert.equal(sampler.disk.parts['adapters for the server'], 3 * here.disk.parts['trained model']!);
});

nativeTest('each worker holds the model and its share of the moments', async (t) => {
  const dry = ['train', '--dry-run', '--out', join(temporaryFolder(t), 'run')];
  const alone: DryRun = lastLine((await tinyzero([...dry, '--json'])).stdout);
  const workers = ['--workers', '127.0.0.1:9,10.0.0.2:4001'];
  const together: DryRun = lastLine((await tinyzero([...dry, '--json', ...workers])).stdout);
  assert.equal(together.processes, 3);
  const [one, three] = [alone, together].map(({ memory }) => memory.at(-1)!.parts);
  assert.equal(three!.weights, one!.weights);
  const share = three!['moments of AdamW']! / one!['moments of AdamW']!;
  assert.ok(share > 1 / 3 && share < 0.36, `${share} of the moments`);
  const text = (await tinyzero([...dry, ...workers])).stdout;
  assert.match(text, /Computes here and in 2 workers: 127\.0\.0\.1:9, 10\.0\.0\.2:4001\./);
  assert.match(text, /Memory of each of 3 processes while training/);
});

test('on the wasm engine its heap is the limit', async (t) => {
  const model = copyOfModel(t, 'llama');
  changeJson(join(model, 'config.json'), { num_hidden_layers: 10000 });
  const { code, stderr } = await tinyzero([...weightless, '--model', model, '--engine', 'wasm']);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /4\.3 GB available/);
});

nativeTest('bf16 without instructions for it is noted', async () => {
  const { code, stderr } = await tinyzero([...weightless, '--precision', 'bf16'], { TINYZERO_CPU: 'baseline' });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Note: this processor has no bfloat16 instructions/);
});

test('whatever a run would reject is rejected: bf16 on wasm, and V* for other settings', async (t) => {
  const bf16 = await tinyzero([...weightless, '--engine', 'wasm', '--precision', 'bf16']);
  assert.equal(bf16.code, 2, bf16.stderr);
  assert.match(bf16.stderr, /bf16 needs the tensorflow or webgpu engine/);
  const vStar = join(temporaryFolder(t), 'v.json');
  const fingerprint = { model: 'm', tokenizer: 't', problems: 'p', prompt: 'raw', sampling: 's', reward: 'r' };
  writeVStarFile(vStar, { createdBy: 'test', fingerprint, beta1: 0.5, samples: 8, entries: new Map() });
  const other = await tinyzero([...weightless, '--v-star', vStar]);
  assert.equal(other.code, 1, other.stderr);
  // The weights may not be there, so the model's hash is not compared.
  assert.match(
    other.stderr,
    /V\* for other settings: tokenizer and problems and prompt and sampling and reward differ/,
  );
  const adapter = join(temporaryFolder(t), 'adapter');
  mkdirSync(adapter);
  const config = { peft_type: 'LORA', base_model_name_or_path: 'models/tiny', r: 4, lora_alpha: 8 };
  writeFileSync(join(adapter, 'adapter_config.json'), JSON.stringify(config));
  const twice = await tinyzero([...weightless, '--model', adapter, '--lora-rank', '4']);
  assert.match(twice.stderr, /is an adapter, and --lora-rank would train another adapter on top of it/);
  const onServer = ['--on', 'tinker', '--tinker-url', 'http://127.0.0.1:9'];
  for (const dry of [['--dry-run'], []]) {
    const out = ['--out', join(temporaryFolder(t), 'run')];
    const refused = await tinyzero(['train', ...dry, ...out, '--model', adapter, ...onServer]);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, /--on tinker trains an adapter of a base model, but .*adapter is itself an adapter/);
  }
  for (const dry of [['--dry-run'], []]) {
    const idle = await tinyzero(['train', ...dry, ...onServer, '--workers', '127.0.0.1:9']);
    assert.equal(idle.code, 2, idle.stderr);
    assert.match(idle.stderr, /--workers: with --on tinker, the server computes everything/);
  }
  const missing = await tinyzero([...weightless, '--v-star', `${vStar}.none`]);
  assert.match(missing.stderr, /Cannot read .*v\.json\.none/);
});
