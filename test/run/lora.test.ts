/** Runs that train adapters: resumed to the same bytes, opened as models, merged, and refused where they cannot be right. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { loadModel, sample, train } from '../../src/index.js';
import { openAdapter, saveAdapter } from '../../src/model/checkpoint/adapter.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { closeSafetensors } from '../../src/model/checkpoint/safetensors.js';
import { type LoraOptions, loraTargets, mergedWeight } from '../../src/model/network/params.js';
import { openModel } from '../../src/model/open.js';
import { createPolicy } from '../../src/policy/policy.js';
import { policyGradient } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { silentReporter } from '../../src/util/reporter.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { changeJson, fixture, temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

const never = new AbortController().signal;
const work = {
  engine: 'wasm',
  install: false,
  numTrain: 10,
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
  loraTargets: 'q_proj,up_proj',
  lr: 1e-3,
} as const;

test('an interrupted run with adapters ends with the bytes of an uninterrupted one; its model is the adapted base', async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  const result = await train({ ...work, folder: whole });
  assert.equal(result.updates, 5);
  await stopAfter(3, { ...work, folder: stopped });
  await train({ ...work, folder: stopped, resume: true });
  assert.deepEqual(runBytes(stopped), runBytes(whole));

  const final = join(whole, 'final');
  const base = openPretrained('models/tiny');
  const { pretrained } = await openModel(final, silentReporter, never);
  const { file, specs, read } = openAdapter(final, base.config, 4);
  t.after(() => {
    closeSafetensors(file);
    base.weights.close();
    pretrained.weights.close();
  });
  assert.deepEqual(Object.keys(specs).slice(0, 2), [
    'model.layers.0.self_attn.q_proj.lora_A.weight',
    'model.layers.0.self_attn.q_proj.lora_B.weight',
  ]);
  const [q, k] = ['model.layers.0.self_attn.q_proj.weight', 'model.layers.0.self_attn.k_proj.weight'];
  assert.deepEqual(pretrained.weights.read(k), base.weights.read(k));
  const [a, b] = Object.keys(specs).map(read) as [Float32Array, Float32Array];
  assert.ok(
    b.some((value) => value !== 0),
    'the adapter was trained',
  );
  // alpha is twice the rank: W + 2 B A.
  const [width, weight] = [a.length / 4, base.weights.read(q)];
  const merged = pretrained.weights.read(q);
  for (const i of [0, 5, weight.length - 1]) {
    const [row, column] = [Math.floor(i / width), i % width];
    let sum = weight[i]!;
    for (let r = 0; r < 4; r += 1) sum += 2 * b[row * 4 + r]! * a[r * width + column]!;
    assert.ok(Math.abs(merged[i]! - sum) < 1e-6);
  }

  const out = join(root, 'merged');
  const command = await tinyzero(['merge', whole, '--out', out, '--json']);
  assert.equal(command.code, 0, command.stderr);
  assert.deepEqual(lastLine(command.stdout), { event: 'result', folder: out, adapter: final });
  const full = openPretrained(out);
  t.after(() => full.weights.close());
  assert.deepEqual(full.weights.read(q), merged);
  const drawn = await Promise.all(
    [final, out].map(async (folder) => {
      const model = await loadModel(folder, { engine: 'wasm', install: false });
      try {
        return await sample(model, ['What is 7 × 3?\n'], { samples: 2, maxNewTokens: 40, seed: 3 });
      } finally {
        model.close();
      }
    }),
  );
  assert.deepEqual(drawn[0], drawn[1]);
});

const lora: LoraOptions = { rank: 4, alpha: 6, targets: loraTargets };

for (const engineName of ['tensorflow', 'wasm'] as const) {
  const check = engineName === 'tensorflow' ? nativeTest : test;
  check(`what a policy with adapters samples from merged weights is what it scores (${engineName})`, async () => {
    const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
    const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
    const training = { batchSize: 3, lora, loss: policyGradient, optimizer, maxGradientNorm: 1 };
    const sizes = { promptLengths: [3], maxNewTokens: 6, slots: 3 };
    const policy = createPolicy(await openEngine(engineName), config, { sizes, training });
    try {
      policy.load(weights.read);
      policy.loadMoments();
      const draw = async () => {
        const rollouts = Array.from({ length: 3 }, (_, i) => ({
          promptIds: [5, 9, 12],
          uniform: keyedRandom('lora', i).uniform,
          maxNewTokens: 6,
        }));
        return await policy.sample(rollouts, { temperature: 1, endIds: new Set([1]) });
      };
      const before = await draw();
      policy.loadTrained((name) => {
        const random = keyedRandom('adapter', name);
        return Float32Array.from({ length: policy.specs[name]!.reduce((a, b) => a * b) }, () => 0.2 * random.normal());
      });
      const completions = await draw();
      assert.notDeepEqual(completions, before);
      const { logProbs, refLogProbs } = await policy.update({
        rows: completions.map(({ ids }) => ({ promptIds: [5, 9, 12], completionIds: ids })),
        temperature: 1,
        advantages: [1, -1, 0.5],
        step: 1,
        learningRate: 1e-3,
      });
      completions.forEach((completion, row) => {
        completion.logProbs.forEach((logProb, i) => {
          assert.ok(Math.abs(logProb - logProbs[row]![i]!) < 1e-5, `${logProb} and ${logProbs[row]![i]}`);
          assert.notEqual(refLogProbs[row]![i], logProbs[row]![i]);
        });
      });
    } finally {
      policy.dispose();
      weights.close();
    }
  });
}

async function savedAdapter(t: TestContext): Promise<string> {
  const root = temporaryFolder(t);
  const base = join(root, 'base');
  cpSync('models/tiny', base, { recursive: true });
  const folder = join(root, 'adapter');
  mkdirSync(folder);
  const { config, configRecord, weights } = openPretrained(base);
  const { adapterSpecs } = await import('../../src/model/network/lora.js');
  const specs = adapterSpecs(config, lora);
  const read = (name: string) => new Float32Array(specs[name]!.reduce((a, b) => a * b)).fill(0.01);
  await saveAdapter(folder, { lora, specs, base, configRecord, carryFrom: base, read });
  weights.close();
  return folder;
}

test('unsupported adapters, and those of another model, are rejected by name', async (t) => {
  const folder = await savedAdapter(t);
  const config = join(folder, 'adapter_config.json');
  const good = JSON.parse(readFileSync(config, 'utf8'));
  const open = () => openModel(folder, silentReporter, never);
  (await open()).pretrained.weights.close();
  for (const [change, message] of [
    [{ use_dora: true }, /use_dora, which tinyzero does not support/],
    [{ modules_to_save: ['lm_head'] }, /modules_to_save/],
    [{ rank_pattern: { q_proj: 2 } }, /rank_pattern/],
    [{ peft_type: 'IA3' }, /`peft_type` must be "LORA"/],
    [{ r: 3 }, /does not fit its base model: .*lora_A.weight is F32 \[4, \d+\], not \[3, /],
    [{ base_model_name_or_path: join(folder, 'gone') }, /needs its base model.*gone.*base_model_name_or_path/],
  ] as const) {
    changeJson(config, { ...good, ...change });
    await assertUserRejection(open(), message);
  }
});

test('adapter options without adapters, and adapters over adapters, are rejected', async (t) => {
  const adapter = await savedAdapter(t);
  const folder = join(temporaryFolder(t), 'run');
  const call = { folder, engine: 'wasm', install: false } as const;
  await assertUserRejection(train({ ...call, loraAlpha: 3 }), /--lora-alpha: needs --lora-rank, which trains adapters/);
  await assertUserRejection(train({ ...call, loraRank: 2, loraTargets: 'q_proj,x' }), /--lora-targets: .* found x/);
  await assertUserRejection(train({ ...call, loraRank: 2, reference: 'builtin' }), /--reference/);
  await assertUserRejection(train({ ...call, model: adapter, loraRank: 2 }), /is an adapter.*tinyzero merge/);
});

test('merging by hand: W + alpha/r B A', () => {
  // W [2, 3], A [1, 3], B [2, 1], alpha 2: row 1 + 2·1·(1, 2, 3), row 2 + 2·(-1)·(1, 2, 3).
  const merged = mergedWeight(Float32Array.of(1, 1, 1, 0, 0, 0), Float32Array.of(1, 2, 3), Float32Array.of(1, -1), {
    rank: 1,
    alpha: 2,
  });
  assert.deepEqual([...merged], [3, 5, 7, -2, -4, -6]);
});
