/** Checkpoints come back to the last bit, and files of a checkpoint or a run that were tampered with are refused. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createPolicy, type Policy } from '../../src/policy/policy.js';
import { createRunFolder } from '../../src/run/folder.js';
import { readRun } from '../../src/run/record.js';
import { policyGradient } from '../../src/stage2/loss.js';
import { loadCheckpoint, readCheckpointState, saveCheckpoint } from '../../src/stage2/resume.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';
import { assertUserError } from '../helpers/errors.js';
import { changeJson, fixture, temporaryFolder } from '../helpers/files.js';
import { damage, fuzz } from '../helpers/fuzz.js';

const progress = { step: 3, baseline: 0.25, sampledTokens: 77 };
const logs = { metrics: 12, rollouts: 34 };

async function smallPolicy(t: TestContext): Promise<Policy> {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const policy = createPolicy(await openEngine('wasm'), config, {
    sizes: { promptLengths: [4], maxNewTokens: 4, slots: 2 },
    training: {
      batchSize: 2,
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
      maxGradientNorm: 1,
      loss: policyGradient,
    },
  });
  policy.load(weights.read);
  weights.close();
  t.after(() => policy.dispose());
  return policy;
}

/** A checkpoint of a policy whose moments are random numbers. */
async function savedCheckpoint(t: TestContext): Promise<{ folder: string; policy: Policy }> {
  const policy = await smallPolicy(t);
  const specs = policy.momentSpecs;
  policy.loadMoments((name) => {
    const random = keyedRandom('moments', name);
    return Float32Array.from({ length: specs[name]!.reduce((a, b) => a * b, 1) }, random.normal);
  });
  const folder = join(temporaryFolder(t), 'step-000003');
  mkdirSync(folder);
  const { configRecord } = openPretrained(fixture('qwen2-tied-f32'));
  await saveCheckpoint(folder, policy, { configRecord, carryFrom: fixture('qwen2-tied-f32') }, progress, logs);
  return { folder, policy };
}

test('a checkpoint puts parameters, moments and progress back to the last bit', async (t) => {
  const { folder, policy } = await savedCheckpoint(t);
  assert.deepEqual(readCheckpointState(folder), { progress, logs });
  const other = await smallPolicy(t);
  loadCheckpoint(folder, other);
  for (const name of [...Object.keys(policy.specs), ...Object.keys(policy.momentSpecs)]) {
    assert.deepEqual(other.read(name), policy.read(name), name);
  }
});

test('a checkpoint of another model, or with other moments, is refused by the name of what is wrong', async (t) => {
  const { folder, policy } = await savedCheckpoint(t);
  changeJson(join(folder, 'config.json'), { rope_theta: 12345 });
  assertUserError(() => loadCheckpoint(folder, policy), /another model than this run's/);
  const { folder: second } = await savedCheckpoint(t);
  const path = join(second, 'optimizer.safetensors');
  const bytes = readFileSync(path);
  writeFileSync(path, Buffer.from(bytes.toString('latin1').replace('adamw.m.', 'adamw.x.'), 'latin1'));
  assertUserError(() => loadCheckpoint(second, policy), /adamw\.m\..* is wrong.*Found nothing/);
});

test('a hostile state.json is refused with the place of what is wrong', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'state.json');
  const good = { format: 'tinyzero-checkpoint-1', progress, logs };
  for (const [bad, message] of [
    [[], /a JSON object/],
    [{ ...good, format: 'x' }, /format/],
    [{ ...good, progress: null }, /progress/],
    [{ ...good, progress: { ...progress, step: -1 } }, /progress\.step/],
    [{ ...good, progress: { ...progress, step: 1e300 } }, /progress\.step/],
    [{ ...good, progress: { ...progress, baseline: 'NaN' } }, /progress\.baseline/],
    [{ ...good, progress: { ...progress, baseline: 2 } }, /progress\.baseline/],
    [{ ...good, logs: { metrics: 1.5, rollouts: 0 } }, /logs\.metrics/],
    [{ ...good, logs: { metrics: 0 } }, /logs\.rollouts/],
  ] as const) {
    writeFileSync(path, JSON.stringify(bad));
    assertUserError(() => readCheckpointState(folder), message, /Remove the checkpoint/);
  }
  writeFileSync(path, JSON.stringify(good).replace('"step"', '"__proto__"'));
  assertUserError(() => readCheckpointState(folder), /progress\.step/);
  writeFileSync(path, JSON.stringify(good));
  assert.deepEqual(readCheckpointState(folder), { progress, logs });
});

test('a damaged state.json or config.json is read as it stands or refused, never more', async (t) => {
  const root = temporaryFolder(t);
  const folder = createRunFolder(join(root, 'run'));
  t.after(() => folder.release());
  // What a run writes, with options as the option table has them.
  const options = { preset: 'default', numTrain: 24, numTest: 4, seed: 5, batchSize: 8, lr: 2e-4, force: false };
  const config = { format: 'tinyzero-run-1', engine: 'wasm', modelHash: 'abc', options };
  const files = [
    { path: join(root, 'state.json'), text: JSON.stringify({ format: 'tinyzero-checkpoint-1', progress, logs }) },
    { path: folder.file('config'), text: JSON.stringify(config) },
  ];
  const read = [() => readCheckpointState(root), () => readRun(folder.file('config'))];
  files.forEach(({ path, text }, i) => {
    writeFileSync(path, text);
    read[i]!();
    let refusals = 0;
    fuzz(300, (random) => {
      writeFileSync(path, damage(Buffer.from(text), random));
      try {
        read[i]!();
      } catch (error) {
        assert.ok(error instanceof UserError, `${error instanceof Error ? error.stack : error}`);
        refusals++;
      }
    });
    assert.ok(refusals > 150, `${refusals}`);
  });
});
