/** Checkpoints come back to the last bit, and files of a checkpoint or a run that were tampered with are refused. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createPolicy, type Policy } from '../../src/policy/policy.js';
import { createRunFolder } from '../../src/run/folder.js';
import { readRun } from '../../src/run/record.js';
import { loadCheckpoint, readCheckpointState, requireWhole, saveCheckpoint } from '../../src/stage2/checkpoint.js';
import { policyGradient } from '../../src/stage2/loss.js';
import { sealJson } from '../../src/util/checksum.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';
import { assertUserError } from '../helpers/errors.js';
import { changeJson, fixture, temporaryFolder } from '../helpers/files.js';
import { damage, flipBit, fuzz, pick } from '../helpers/fuzz.js';

const progress = { step: 3, baseline: 0.25, sampledTokens: 77 };
const mark = (bytes: number) => ({ bytes, crc32: '0123abcd' });
const logs = { metrics: mark(12), rollouts: mark(34) };
const files = { 'config.json': mark(7) };
/** The text of a state.json. */
const stateText = (state: unknown) => sealJson(`${JSON.stringify(state, null, 2)}\n`);

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

test('a checkpoint restores parameters, moments and progress exactly', async (t) => {
  const { folder, policy } = await savedCheckpoint(t);
  const { files: written, ...state } = readCheckpointState(folder);
  assert.deepEqual(state, { progress, logs });
  assert.deepEqual(
    Object.keys(written).sort(),
    readdirSync(folder)
      .filter((name) => name !== 'state.json')
      .sort(),
  );
  requireWhole(folder, written);
  const other = await smallPolicy(t);
  loadCheckpoint(folder, other);
  for (const name of [...Object.keys(policy.specs), ...Object.keys(policy.momentSpecs)]) {
    assert.deepEqual(other.read(name), policy.read(name), name);
  }
});

test('a checkpoint of another model, or with other moments, is rejected by the name of what differs', async (t) => {
  const { folder, policy } = await savedCheckpoint(t);
  changeJson(join(folder, 'config.json'), { rope_theta: 12345 });
  assertUserError(() => loadCheckpoint(folder, policy), /differs from that of this run/);
  const { folder: second } = await savedCheckpoint(t);
  const path = join(second, 'optimizer.safetensors');
  const bytes = readFileSync(path);
  writeFileSync(path, Buffer.from(bytes.toString('latin1').replace('adamw.m.', 'adamw.x.'), 'latin1'));
  assertUserError(() => loadCheckpoint(second, policy), /adamw\.m\..* differs.*Found nothing/);
});

test('one flipped bit in any file of a checkpoint is detected, and the file is named', async (t) => {
  const { folder } = await savedCheckpoint(t);
  const state = readCheckpointState(folder);
  fuzz(60, (random) => {
    const name = pick(Object.keys(state.files), random);
    const path = join(folder, name);
    const bytes = readFileSync(path);
    writeFileSync(path, flipBit(bytes, random));
    assertUserError(() => requireWhole(folder, state.files), new RegExp(`${name.replace('.', '\\.')} is damaged`));
    writeFileSync(path, bytes);
  });
  requireWhole(folder, state.files);
  rmSync(join(folder, 'tokenizer.json'));
  assertUserError(() => requireWhole(folder, state.files), /tokenizer\.json is damaged.*Found no file/);
});

test('a hostile state.json is rejected with the location of the error', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'state.json');
  const good = { format: 'tinyzero-checkpoint-2', progress, logs, files };
  for (const [bad, message] of [
    [[], /a JSON object/],
    [{ ...good, format: 'x' }, /format/],
    [{ ...good, progress: null }, /progress/],
    [{ ...good, progress: { ...progress, step: -1 } }, /progress\.step/],
    [{ ...good, progress: { ...progress, step: 1e300 } }, /progress\.step/],
    [{ ...good, progress: { ...progress, baseline: 'NaN' } }, /progress\.baseline/],
    [{ ...good, progress: { ...progress, baseline: 2 } }, /progress\.baseline/],
    [{ ...good, logs: { ...logs, metrics: mark(1.5) } }, /logs\.metrics\.bytes/],
    [{ ...good, logs: { metrics: mark(0) } }, /logs\.rollouts/],
    [{ ...good, files: undefined }, /files/],
    [{ ...good, files: { a: { bytes: 1 } } }, /files\["a"\]\.crc32/],
  ] as const) {
    writeFileSync(path, Array.isArray(bad) ? '[]' : stateText(bad));
    assertUserError(() => readCheckpointState(folder), message);
  }
  writeFileSync(path, stateText(JSON.parse(JSON.stringify(good).replace('"step"', '"__proto__"'))));
  assertUserError(() => readCheckpointState(folder), /progress\.step/);
  writeFileSync(path, stateText(good));
  assert.deepEqual(readCheckpointState(folder), { progress, logs, files });
  writeFileSync(path, `${JSON.stringify(good, null, 2)}\n`);
  assertUserError(() => readCheckpointState(folder), /is damaged.*no checksum at its end/);
});

test('a damaged state.json or config.json is rejected, whatever was damaged', async (t) => {
  const root = temporaryFolder(t);
  const folder = createRunFolder(join(root, 'run'));
  t.after(() => folder.release());
  // What a run writes, with options as the option table has them.
  const options = { preset: 'default', numTrain: 24, numTest: 4, seed: 5, batchSize: 8, lr: 2e-4, force: false };
  const config = { format: 'tinyzero-run-2', engine: 'wasm', modelHash: 'abc', problemsChecksum: '0', options };
  const damaged = [
    { path: join(root, 'state.json'), text: stateText({ format: 'tinyzero-checkpoint-2', progress, logs, files }) },
    { path: folder.file('config'), text: stateText(config) },
  ];
  const read = [() => readCheckpointState(root), () => readRun(folder.file('config'))];
  damaged.forEach(({ path, text }, i) => {
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
    assert.ok(refusals >= 290, `${refusals}`); // a damage may be none
    for (let bit = 0; bit < 8 * Buffer.byteLength(text); bit += 5) {
      const flipped = Buffer.from(text);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(path, flipped);
      assert.throws(() => read[i]!(), UserError, `bit ${bit}`);
    }
  });
});
