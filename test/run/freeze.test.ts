/** Runs that freeze weights: resumed to the same bytes, saved as whole models, and refused where nothing would be frozen. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { train } from '../../src/index.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { embeddingName, parameterSpecs } from '../../src/model/network/params.js';
import { completeSettings, defaultOptions } from '../../src/options/settings.js';
import { temporaryFolder } from '../helpers/files.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

const work = {
  engine: 'wasm',
  install: false,
  numTrain: 6,
  numTest: 1,
  evalSamples: 1,
  evalEvery: 0,
  epochs: 2,
  batchSize: 4,
  numSamples: 2,
  maxNewTokens: 24,
  trainOn: 'all',
  saveEvery: 2,
  seed: 4,
  freeze: 'embeddings',
} as const;

test('an interrupted run with frozen embeddings ends with the bytes of an uninterrupted one, and only they are the model’s', async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  const result = await train({ ...work, folder: whole });
  assert.equal(result.updates, 3);
  await stopAfter(2, { ...work, folder: stopped });
  await train({ ...work, folder: stopped, resume: true });
  assert.deepEqual(runBytes(stopped), runBytes(whole));

  const [base, final] = [openPretrained('models/tiny'), openPretrained(join(whole, 'final'))];
  t.after(() => {
    base.weights.close();
    final.weights.close();
  });
  const unchanged = Object.keys(parameterSpecs(base.config)).filter((name) => {
    const before = base.weights.read(name).slice();
    return final.weights.read(name).every((value, i) => value === before[i]);
  });
  assert.deepEqual(unchanged, [embeddingName]);
});

test('checkpoints freeze embeddings and MLPs; adapters and another reference leave nothing to freeze', () => {
  const facts = { heldOut: undefined, hasChatTemplate: true, parameters: 135e6 };
  const settings = (given: Parameters<typeof defaultOptions>[0]) => completeSettings(defaultOptions(given), facts);
  assert.equal(settings({ model: 'a' }).freeze, 'mlp');
  assert.equal(settings({ model: 'a', freeze: 'none' }).freeze, 'none');
  assert.equal(settings({ model: 'a', loraRank: 4 }).freeze, 'none');
  assert.equal(settings({ model: 'a', reference: 'b' }).freeze, 'none');
  assert.equal(settings({ model: 'a', preset: 'seed' }).freeze, 'none');
  assert.equal(completeSettings(defaultOptions(), { ...facts, heldOut: 'tiny' as never }).freeze, 'none');
  // Attention alone takes twice the learning rate, and adapters ten times.
  assert.deepEqual(
    [{}, { freeze: 'embeddings' as const }, { freeze: 'none' as const }, { loraRank: 4 }].map(
      (more) => settings({ model: 'a', ...more }).lr,
    ),
    [6e-5, 3e-5, 3e-5, 3e-4],
  );
  for (const more of [{ loraRank: 4 }, { reference: 'b' }]) {
    assert.throws(() => settings({ model: 'a', freeze: 'embeddings', ...more }), /--freeze: /);
  }
});
