/** A model exported as GGUF and opened again is the same: config, weights, token ids, chat. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exportGguf, type GgufFormat } from '../../../src/model/gguf/export.js';
import { openGguf } from '../../../src/model/gguf/header.js';
import { parameterSpecs } from '../../../src/model/network/params.js';
import { type OpenModel, openModel } from '../../../src/model/open.js';
import { silentReporter } from '../../../src/util/reporter.js';
import { fixture, fixtureModels, temporaryFolder } from '../../helpers/files.js';

const never = new AbortController().signal;
const models = ['builtin', ...fixtureModels.map((name) => fixture(name))];

async function open(t: TestContext, reference: string): Promise<OpenModel> {
  const model = await openModel(reference, silentReporter, never);
  t.after(() => model.pretrained.weights.close());
  return model;
}

async function exported(t: TestContext, model: OpenModel, format: GgufFormat): Promise<OpenModel> {
  process.env.TINYZERO_CACHE = temporaryFolder(t);
  const path = join(temporaryFolder(t), 'x.gguf');
  await exportGguf(path, { ...model, name: 'x' }, format);
  return await open(t, path);
}

for (const reference of models) {
  const name = reference.split('/').at(-1);

  test(`${name}: f32 comes back with every weight, and the same config`, async (t) => {
    const model = await open(t, reference);
    const back = await exported(t, model, 'f32');
    const { config, weights } = model.pretrained;
    const ends = { eosTokenIds: back.pretrained.config.eosTokenIds };
    const unsaved = { dtype: 'float32', initializerRange: 0.02, padTokenId: back.pretrained.config.padTokenId };
    const begin = { bosTokenId: back.pretrained.config.bosTokenId };
    assert.deepEqual(back.pretrained.config, { ...config, ...unsaved, ...ends, ...begin });
    for (const parameter of Object.keys(parameterSpecs(config))) {
      assert.deepEqual(back.pretrained.weights.read(parameter), weights.read(parameter), parameter);
    }
    const sorted = (ids: readonly number[]) => [...ids].sort((a, b) => a - b);
    assert.deepEqual(
      sorted(back.pretrained.generation.eosTokenIds),
      sorted(model.pretrained.generation.eosTokenIds).slice(0, 2),
    );
  });

  test(`${name}: the tokenizer and the chat template come back`, async (t) => {
    const { tokenizer } = await open(t, reference);
    const back = (await exported(t, await open(t, reference), 'bf16')).tokenizer;
    const plain = ['What is 7 × 12?\n', 'think: 7 × 10=70. answer: 84'];
    const texts = reference === 'builtin' ? plain : [...plain, "It's 3.14, naïve ½ 😀\r\n\n  x", '<|im_end|>a', ''];
    for (const text of texts) {
      assert.deepEqual(back.encode(text), tokenizer.encode(text), text);
      assert.equal(back.decode(tokenizer.encode(text)), tokenizer.decode(tokenizer.encode(text)));
    }
    assert.equal(back.chatTemplate, tokenizer.chatTemplate);
    assert.deepEqual([...back.specialIds].sort(), [...tokenizer.specialIds].sort());
  });
}

test('q8_0: matrices whose rows are no whole blocks are float16, and the export says so', async (t) => {
  const model = await open(t, fixture('qwen2-untied-bf16'));
  process.env.TINYZERO_CACHE = temporaryFolder(t);
  const path = join(temporaryFolder(t), 'x.gguf');
  // D = 48 is no multiple of 32; of each layer only down_proj has rows of 128.
  const notes = await exportGguf(path, { ...model, name: 'x' }, 'q8_0');
  assert.match(notes.join(), /^14 matrices are f16/);
  const formats = [...openGguf(path).tensors.values()].map(({ formatName }) => formatName);
  assert.deepEqual([...new Set(formats)].sort(), ['f16', 'f32', 'q8_0']);
});

test('q8_0: every number is within half a step, and the file a quarter of float32', async (t) => {
  const model = await open(t, 'builtin');
  const back = await exported(t, model, 'q8_0');
  const name = 'model.layers.1.mlp.up_proj.weight';
  const [exact, read] = [model.pretrained.weights.read(name), back.pretrained.weights.read(name)];
  for (let block = 0; block < exact.length; block += 32) {
    const largest = Math.max(...exact.subarray(block, block + 32).map(Math.abs));
    // Half of a step of largest / 127, and the scale's own rounding to 11 bits.
    const bound = (largest / 127) * (0.5 + 127 * 2 ** -11);
    for (let i = block; i < block + 32; i += 1) assert.ok(Math.abs(exact[i]! - read[i]!) <= bound);
  }
});
