import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  describePretrained,
  fingerprintModel,
  openPretrained,
  type Pretrained,
} from '../../../src/model/checkpoint/pretrained.js';
import type { TensorToWrite } from '../../../src/model/checkpoint/safetensors.js';
import { writeSafetensors } from '../../../src/model/checkpoint/safetensors.js';
import { carriedFiles, savePretrained } from '../../../src/model/checkpoint/save.js';
import { embeddingName, headName, parameterSpecs } from '../../../src/model/network/params.js';
import { assertUserError, assertUserRejection } from '../../helpers/errors.js';
import {
  changeJson,
  copyOfModel,
  type FixtureModel,
  fixture,
  fixtureModels,
  readFixture,
  temporaryFolder,
} from '../../helpers/files.js';

function open(t: TestContext, folder: string): Pretrained {
  const model = openPretrained(folder);
  t.after(() => model.weights.close());
  return model;
}

/** Writes the weights of `folder` anew after `change` had its way with the list of tensors. */
async function rewrite(
  folder: string,
  change: (tensors: Map<string, { values: Float32Array; shape: readonly number[] }>) => void,
  file = 'model.safetensors',
): Promise<void> {
  const { weights, config } = openPretrained(folder);
  const tensors = new Map(
    Object.entries(parameterSpecs(config)).map(([name, shape]) => [name, { shape, values: weights.read(name) }]),
  );
  weights.close();
  change(tensors);
  const list: TensorToWrite[] = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'float32' }));
  await writeSafetensors(join(folder, file), list, (name) => tensors.get(name)!.values);
}

test('the fixtures open, from a single file and from shards', (t) => {
  for (const name of fixtureModels) {
    const { config, weights } = open(t, fixture(name));
    for (const [parameter, shape] of Object.entries(parameterSpecs(config))) {
      const values = weights.read(parameter);
      assert.equal(
        values.length,
        shape.reduce((a, b) => a * b, 1),
      );
      assert.ok(values.every(Number.isFinite));
      assert.equal(weights.dtypeOf(parameter), weights.dtype);
    }
    assert.equal(weights.dtype, name === 'qwen2-untied-bf16' ? 'bfloat16' : 'float32');
  }
});

test('end ids come from generation_config.json, otherwise from config.json', (t) => {
  assert.deepEqual(open(t, fixture('qwen2-tied-f32')).generation, {
    eosTokenIds: [491, 489],
    doSample: true,
    temperature: 0.7,
    topP: 0.8,
    topK: 20,
    unsupported: ['repetition_penalty'],
  });
  assert.deepEqual(open(t, fixture('llama')).generation.eosTokenIds, [395]);
  const folder = copyOfModel(t, 'llama');
  rmSync(join(folder, 'generation_config.json'));
  assert.deepEqual(open(t, folder).generation.eosTokenIds, [395]);
  writeFileSync(join(folder, 'generation_config.json'), '{"eos_token_id": [416], "top_p": 0}');
  assertUserError(() => openPretrained(folder), /generation_config\.json/, /416/, /`top_p`/);
});

test('a folder without a model is explained', (t) => {
  const folder = temporaryFolder(t);
  assertUserError(() => openPretrained(join(folder, 'none')), /no model folder/);
  assertUserError(() => openPretrained(folder), /no config\.json/);
  writeFileSync(join(folder, 'config.json'), '{"model_type": ');
  assertUserError(() => openPretrained(folder), /config\.json is not valid JSON/);
  cpSync(fixture('llama', 'config.json'), join(folder, 'config.json'));
  assertUserError(() => openPretrained(folder), /no weights/);
  writeFileSync(join(folder, 'pytorch_model.bin'), '');
  assertUserError(() => openPretrained(folder), /pytorch_model\.bin, a pickle/, /Convert it/);
});

test('missing, unknown and misshapen tensors are rejected by name', async (t) => {
  const folder = copyOfModel(t, 'qwen3-tied');
  const norm = 'model.layers.1.self_attn.q_norm.weight';
  await rewrite(folder, (tensors) => {
    tensors.delete(norm);
    tensors.set('model.layers.1.self_attn.q_norm.wait', { shape: [1], values: Float32Array.of(1) });
    tensors.set('model.norm.weight', { shape: [47], values: new Float32Array(47) });
  });
  assertUserError(
    () => openPretrained(folder),
    /`model\.layers\.1\.self_attn\.q_norm\.weight` is missing/,
    /`model\.layers\.1\.self_attn\.q_norm\.wait` is unknown/,
    /`model\.norm\.weight` is \[47\] where the config needs \[48\]/,
  );
  changeJson(join(folder, 'config.json'), { num_hidden_layers: 30, layer_types: null });
  assertUserError(() => openPretrained(folder), /and \d+ more problems/);
});

test('a tensor in an unsupported format is rejected by name', (t) => {
  const folder = copyOfModel(t, 'llama');
  const path = join(folder, 'model.safetensors');
  const bytes = readFileSync(path);
  // I32 has as many bytes as F32, so only the type of every tensor changes.
  writeFileSync(path, Buffer.from(bytes.toString('latin1').replaceAll('"F32"', '"I32"'), 'latin1'));
  assertUserError(() => openPretrained(folder), /has the unsupported type I32/);
});

test('old checkpoints may hold rotary constants', async (t) => {
  const folder = copyOfModel(t, 'llama');
  await rewrite(folder, (tensors) => {
    tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', { shape: [8], values: new Float32Array(8) });
  });
  open(t, folder);
});

test('a tied checkpoint may hold an equal head, not a different one', async (t) => {
  const folder = copyOfModel(t, 'llama');
  await rewrite(folder, (tensors) => tensors.set(headName, tensors.get(embeddingName)!));
  const { weights } = open(t, folder);
  assert.throws(() => weights.read(headName), /no parameter lm_head\.weight/);

  await rewrite(folder, (tensors) => {
    const { shape, values } = tensors.get(embeddingName)!;
    tensors.set(headName, { shape, values: values.map((value) => value + 1) });
  });
  assertUserError(() => openPretrained(folder), /`tie_word_embeddings`.*lm_head\.weight differs/);
  changeJson(join(folder, 'config.json'), { tie_word_embeddings: false });
  assert.equal(open(t, folder).config.tied, false);
});

test('an untied checkpoint without a head is rejected', (t) => {
  const folder = copyOfModel(t, 'llama');
  changeJson(join(folder, 'config.json'), { tie_word_embeddings: false });
  assertUserError(() => openPretrained(folder), /`lm_head\.weight` is missing/);
});

test('sizes that the weights contradict are rejected before anything of that size is allocated', (t) => {
  const folder = copyOfModel(t, 'llama');
  const config = join(folder, 'config.json');
  const layers = JSON.parse(readFileSync(config, 'utf8')).num_hidden_layers;
  for (const count of [1_000_000, 2_000_000_000]) {
    changeJson(config, { num_hidden_layers: count });
    assertUserError(() => describePretrained(folder), /`num_hidden_layers` must be an integer from 1 to 10000/);
  }
  changeJson(config, { num_hidden_layers: 9000 });
  assertUserError(() => openPretrained(folder), /which states 9000 layers\. Found \d+ tensors in all/);
  changeJson(config, { num_hidden_layers: layers, intermediate_size: 2 ** 31 - 1, vocab_size: 2 ** 31 - 1 });
  assertUserError(() => openPretrained(folder), /is \[\d+,\d+\] where the config needs \[2147483647,\d+\]/);
});

test('only regular files are opened', { skip: process.platform === 'win32' && 'no named pipes' }, (t) => {
  for (const name of ['model.safetensors', 'config.json', 'generation_config.json']) {
    const folder = copyOfModel(t, 'llama');
    rmSync(join(folder, name));
    execFileSync('mkfifo', [join(folder, name)]);
    assertUserError(() => openPretrained(folder), new RegExp(`${name}: it is not a regular file`));
    rmSync(join(folder, name));
    symlinkSync('/dev/zero', join(folder, name));
    assertUserError(() => openPretrained(folder), new RegExp(`${name}: it is not a regular file`));
  }
});

test('shards: a missing one, a tensor in two, paths that leave the folder', async (t) => {
  const folder = copyOfModel(t, 'qwen2-untied-bf16');
  const index = join(folder, 'model.safetensors.index.json');
  const map = JSON.parse(readFileSync(index, 'utf8')).weight_map;
  for (const path of ['../secret.safetensors', '/etc/passwd', 'a/../../b', '..', 'C:\\x', '..\\x', '']) {
    changeJson(index, { weight_map: { ...map, 'model.norm.weight': path } });
    assertUserError(() => openPretrained(folder), /places tensor "model\.norm\.weight" in/, /inside the model folder/);
  }
  for (const bad of [{ weight_map: {} }, { weight_map: [] }, { weight_map: null }, { weight_map: { a: 7 } }]) {
    changeJson(index, bad);
    assertUserError(() => openPretrained(folder), /`weight_map/);
  }
  changeJson(index, { weight_map: { ...map, extra: 'more/extra.safetensors' } });
  assertUserError(() => openPretrained(folder), /extra\.safetensors: no such file/);
  mkdirSync(join(folder, 'more'));
  const again = [{ name: 'model.norm.weight', shape: [48], dtype: 'float32' }] as const;
  await writeSafetensors(join(folder, 'more', 'extra.safetensors'), again, () => new Float32Array(48));
  assertUserError(() => openPretrained(folder), /`model\.norm\.weight` is in two files/);
});

test('files may be links to elsewhere, as in the Hugging Face cache', (t) => {
  const folder = temporaryFolder(t);
  for (const name of readdirSync(fixture('qwen2-untied-bf16'))) {
    symlinkSync(fixture('qwen2-untied-bf16', name), join(folder, name));
  }
  open(t, folder);
});

async function save(t: TestContext, source: FixtureModel, options: object = {}): Promise<string> {
  const folder = join(temporaryFolder(t), 'saved');
  const { config, configRecord, weights } = open(t, fixture(source));
  const specs = parameterSpecs(config);
  const base = { configRecord, specs, dtype: weights.dtype, carryFrom: fixture(source) };
  await savePretrained(folder, { ...base, read: (name) => weights.read(name), ...options });
  return folder;
}

test('a saved model has the same weights bit by bit, the same config and its other files unchanged', async (t) => {
  for (const source of fixtureModels) {
    const folder = await save(t, source);
    const before = open(t, fixture(source));
    const after = open(t, folder);
    assert.deepEqual(after.config, before.config);
    assert.deepEqual(after.configRecord, before.configRecord);
    assert.deepEqual(after.generation, before.generation);
    for (const name of Object.keys(parameterSpecs(before.config))) {
      assert.equal(after.weights.dtypeOf(name), before.weights.dtypeOf(name));
      assert.deepEqual(after.weights.read(name), before.weights.read(name), `${source} ${name}`);
    }
    for (const name of carriedFiles.filter((file) => existsSync(fixture(source, file)))) {
      assert.deepEqual(readFileSync(join(folder, name)), readFileSync(fixture(source, name)), name);
    }
    assert.equal(fingerprintModel(after), fingerprintModel(before), 'however it is sharded');
  }
});

test('another dtype is written and named in the config', async (t) => {
  const folder = await save(t, 'qwen3-tied', { dtype: 'bfloat16' });
  const { config, configRecord, weights } = open(t, folder);
  assert.deepEqual([config.dtype, weights.dtype, configRecord.dtype], ['bfloat16', 'bfloat16', 'bfloat16']);
  assert.equal(configRecord.torch_dtype, undefined);
  const older = open(t, await save(t, 'llama', { dtype: 'float16' }));
  assert.deepEqual([older.configRecord.torch_dtype, older.configRecord.dtype], ['float16', undefined]);
});

test('a large model is split into shards that an index joins', async (t) => {
  const folder = await save(t, 'qwen2-tied-f32', { maxShardBytes: 200_000 });
  const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  assert.ok(files.length > 2 && files.every((name) => /^model-0000\d-of-0000\d\.safetensors$/.test(name)), `${files}`);
  const index = JSON.parse(readFileSync(join(folder, 'model.safetensors.index.json'), 'utf8'));
  const { weights } = open(t, folder);
  assert.equal(index.metadata.total_size, weights.byteLength);
  assert.deepEqual(weights.read(embeddingName), open(t, fixture('qwen2-tied-f32')).weights.read(embeddingName));
});

test('saving again replaces the old model, and a save cut short does not load', async (t) => {
  const folder = await save(t, 'qwen2-tied-f32', { maxShardBytes: 200_000 });
  const { config, configRecord, weights } = open(t, fixture('llama'));
  const model = { configRecord, specs: parameterSpecs(config), dtype: 'float32', carryFrom: fixture('llama') } as const;
  const broken = savePretrained(folder, {
    ...model,
    read: () => {
      throw new Error('lost');
    },
  });
  await assert.rejects(broken, /lost/);
  assertUserError(() => openPretrained(folder), /no config\.json/);

  await savePretrained(folder, { ...model, read: (name) => weights.read(name) });
  assert.deepEqual(open(t, folder).config, config);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('model')),
    ['model.safetensors'],
  );
});

test('a model is never saved over its source', async (t) => {
  const folder = copyOfModel(t, 'llama');
  const link = join(temporaryFolder(t), 'link');
  symlinkSync(folder, link);
  const model = {
    configRecord: readFixture('llama', 'config.json'),
    specs: {},
    dtype: 'float32',
    carryFrom: folder,
  } as const;
  for (const target of [folder, link, `${folder}/.`]) {
    await assertUserRejection(savePretrained(target, { ...model, read: () => new Float32Array() }), /would overwrite/);
  }
  open(t, folder);
});

test('a fingerprint follows the weights and the config', async (t) => {
  const folder = copyOfModel(t, 'llama');
  const before = fingerprintModel(open(t, folder));
  await rewrite(folder, (tensors) => {
    tensors.get('model.norm.weight')!.values[0]! += 1e-3;
  });
  const after = fingerprintModel(open(t, folder));
  assert.notEqual(after, before);
  changeJson(join(folder, 'config.json'), { rms_norm_eps: 1e-4 });
  assert.notEqual(fingerprintModel(open(t, folder)), after);
});
