/**
 * @file Folders saved here, loaded by Hugging Face transformers. Skipped where no Python has it: set TINYZERO_PYTHON to
 * one that has `torch` and `transformers` (5 or later).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { savePretrained } from '../../src/model/checkpoint/save.js';
import { parameterSpecs } from '../../src/model/network/params.js';
import { fixture, fixtureModels, readFixture, temporaryFolder } from '../helpers/files.js';

const python = process.env.TINYZERO_PYTHON ?? 'python3';
const script = fileURLToPath(new URL('../../../test/helpers/reference.py', import.meta.url));
const versions = spawnSync(python, ['-c', 'import torch, transformers; print(transformers.__version__)'], {
  encoding: 'utf8',
});
const skip = versions.status === 0 ? false : `${python} has no torch and transformers`;

test('transformers gives saved folders the same logits to the last bit', { skip }, async (t) => {
  const cases: object[] = [];
  for (const source of fixtureModels) {
    const { config, configRecord, weights } = openPretrained(fixture(source));
    t.after(() => weights.close());
    const model = { configRecord, specs: parameterSpecs(config), carryFrom: fixture(source), dtype: weights.dtype };
    const prompts = readFixture(source, 'expected.json').prompts.map((prompt: { ids: number[] }) => prompt.ids);
    for (const maxShardBytes of [5e9, 50_000]) {
      const saved = join(temporaryFolder(t), 'saved');
      await savePretrained(saved, { ...model, maxShardBytes, read: (name) => weights.read(name) });
      cases.push({ original: fixture(source), saved, prompts, text: 'What is 7 × 8? <think>' });
    }
  }
  const run = spawnSync(python, [script], { input: JSON.stringify(cases), encoding: 'utf8' });
  assert.equal(run.status, 0, run.stderr);
  const verdicts = JSON.parse(run.stdout);
  assert.equal(verdicts.length, cases.length);
  for (const verdict of verdicts) {
    assert.deepEqual(verdict, { same_logits: true, complaints: {}, same_ids: true, same_end: true });
  }
});
