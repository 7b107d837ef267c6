import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Template } from '@huggingface/jinja';
import { AutoTokenizer } from '@huggingface/transformers';
import { checkVocabulary, loadTokenizer, type Tokenizer, textStream } from '../../../src/model/checkpoint/tokenizer.js';
import { parseModelConfig } from '../../../src/model/network/config.js';
import { assertUserError } from '../../helpers/errors.js';
import { changeJson, copyOfModel, fixture, fixtureModels, readFixture } from '../../helpers/files.js';
import { fuzz, pick } from '../../helpers/fuzz.js';

interface TextCase {
  text: string;
  ids_with_special_tokens: number[];
  ids_without_special_tokens: number[];
  decoded: string;
  decoded_skip_special_tokens: string;
}

for (const model of fixtureModels) {
  test(`${model}: ids and text are those of the reference`, () => {
    const expected = readFixture(model, 'expected.json');
    const tokenizer = loadTokenizer(fixture(model));
    const cases = [...expected.texts, ...expected.edge_texts] as TextCase[];
    assert.ok(cases.length >= 18);
    for (const { text, ...want } of cases) {
      assert.deepEqual(tokenizer.encode(text), want.ids_with_special_tokens, text);
      assert.deepEqual(tokenizer.encode(text, { addSpecialTokens: false }), want.ids_without_special_tokens, text);
      assert.equal(tokenizer.decode(want.ids_without_special_tokens, { keepSpecialTokens: true }), want.decoded);
      assert.equal(tokenizer.decode(want.ids_without_special_tokens), want.decoded_skip_special_tokens);
    }
    for (const { prompt, ids } of expected.prompts) assert.deepEqual(tokenizer.encode(prompt), ids);
  });

  test(`${model}: special ids and length are those of the reference`, () => {
    const expected = readFixture(model, 'expected.json').tokenizer;
    const tokenizer = loadTokenizer(fixture(model));
    assert.equal(tokenizer.length, expected.length);
    assert.equal(tokenizer.eosTokenId, expected.eos_token_id);
    assert.equal(tokenizer.padTokenId, expected.pad_token_id);
    assert.equal(tokenizer.bosTokenId, expected.bos_token_id);
    assert.deepEqual([...tokenizer.specialIds].sort(), expected.special_ids);
  });

  test(`${model}: conversations are those of the reference`, () => {
    const expected = readFixture(model, 'expected.json');
    const tokenizer = loadTokenizer(fixture(model));
    for (const chat of [expected.chat, ...expected.chat_more]) {
      const options = { addGenerationPrompt: chat.add_generation_prompt };
      assert.equal(tokenizer.renderChat(chat.messages, options), chat.rendered);
      assert.deepEqual(tokenizer.encodeChat(chat.messages, options), chat.ids);
    }
  });

  test(`${model}: AutoTokenizer of @huggingface/transformers gives the same ids and text`, async () => {
    const auto = await AutoTokenizer.from_pretrained(fixture(model), { local_files_only: true });
    const tokenizer = loadTokenizer(fixture(model));
    fuzz(150, (random) => {
      const text = randomText(random);
      const ids = tokenizer.encode(text);
      assert.deepEqual(ids, auto.encode(text), JSON.stringify(text));
      if (ids.length === 0) return;
      const options = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
      assert.equal(tokenizer.decode(ids, { keepSpecialTokens: true }), auto.decode(ids, options));
    });
  });
}

test('every template style renders as in the reference', () => {
  const { templates, cases } = readFixture('chat-templates.json');
  assert.ok(cases.length >= 32);
  for (const { style, messages, bos_token, add_generation_prompt, rendered } of cases) {
    const variables = { messages, add_generation_prompt, tools: null, documents: null };
    const text = new Template(templates[style]).render(bos_token === null ? variables : { ...variables, bos_token });
    assert.equal(text, rendered, style);
  }
});

test('templates in every place, with a begin token and variables', (t) => {
  const folder = copyOfModel(t, 'qwen2-untied-bf16');
  const config = join(folder, 'tokenizer_config.json');
  const talk = [{ role: 'user', content: 'hi' }];
  changeJson(config, { chat_template: '{{ bos_token }}|{{ messages[0].content }}|{{ thinking }}' });
  const variables = { thinking: 'off' };
  assert.equal(loadTokenizer(folder).renderChat(talk, { variables }), '<｜begin▁of▁sentence｜>|hi|off');
  assert.deepEqual(
    loadTokenizer(folder)
      .encodeChat(talk)
      .filter((id) => id === 428),
    [428],
    'one begin token',
  );
  const named = [
    { name: 'tool_use', template: 'T' },
    { name: 'default', template: 'D' },
  ];
  changeJson(config, { chat_template: named });
  assert.equal(loadTokenizer(folder).renderChat(talk), 'D');
  writeFileSync(join(folder, 'chat_template.jinja'), 'file {{ messages | length }}');
  assert.equal(loadTokenizer(folder).renderChat(talk), 'file 1');
  writeFileSync(join(folder, 'chat_template.jinja'), "{{ raise_exception('no system role') }}");
  assertUserError(() => loadTokenizer(folder).renderChat(talk), /chat template.*no system role/);
  writeFileSync(join(folder, 'chat_template.jinja'), '{% if %}');
  assertUserError(() => loadTokenizer(folder).renderChat(talk), /chat template/);
  rmSync(join(folder, 'chat_template.jinja'));
  changeJson(config, { chat_template: undefined });
  assert.equal(loadTokenizer(folder).chatTemplate, null);
  assertUserError(() => loadTokenizer(folder).renderChat(talk), /no chat template/);
});

test('the begin token is added where the post-processor says so', (t) => {
  const folder = copyOfModel(t, 'qwen2-untied-bf16');
  const bos = '<｜begin▁of▁sentence｜>';
  const single = [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }];
  const special_tokens = { [bos]: { id: bos, ids: [428], tokens: [bos] } };
  const template = { type: 'TemplateProcessing', single, pair: single, special_tokens };
  changeJson(join(folder, 'tokenizer.json'), { post_processor: template });
  const tokenizer = loadTokenizer(folder);
  const plain = tokenizer.encode('7 × 8', { addSpecialTokens: false });
  assert.deepEqual(tokenizer.encode('7 × 8'), [428, ...plain]);
  assert.equal(tokenizer.decode([428, ...plain, 425]), '7 × 8');
});

test('ids beyond the tokenizer decode to nothing, and BPE text is never cleaned up', (t) => {
  const folder = copyOfModel(t, 'qwen2-tied-f32');
  changeJson(join(folder, 'tokenizer_config.json'), { clean_up_tokenization_spaces: true });
  const tokenizer = loadTokenizer(folder);
  assert.equal(tokenizer.decode([494, 511]), '');
  assert.equal(tokenizer.decode([]), '');
  const text = "a , b . c ? d ' e n't";
  const ids = tokenizer.encode(text);
  assert.equal(tokenizer.decode([...ids, 500]), text);
});

test('a byte order mark and lone surrogates survive as Unicode allows', () => {
  const tokenizer = loadTokenizer(fixture('llama'));
  assert.equal(tokenizer.decode(tokenizer.encode('\uFEFFx')), '\uFEFFx');
  assert.equal(tokenizer.decode(tokenizer.encode('a\uD800b')), 'a\uFFFDb');
});

test('broken and missing tokenizer files are explained', (t) => {
  const folder = copyOfModel(t, 'llama');
  const path = join(folder, 'tokenizer.json');
  writeFileSync(path, '{"model": ');
  assertUserError(() => loadTokenizer(folder), /tokenizer\.json is not valid JSON/);
  writeFileSync(path, '{}');
  assertUserError(() => loadTokenizer(folder), /tokenizer\.json is not a tokenizer that tinyzero can run/);
  rmSync(path);
  assertUserError(() => loadTokenizer(folder), /has no tokenizer\.json/);
  writeFileSync(join(folder, 'tokenizer.model'), '');
  assertUserError(() => loadTokenizer(folder), /tokenizer\.model, an older form/);
});

test('a tokenizer with more ids than the model is refused', () => {
  const tokenizer = loadTokenizer(fixture('qwen2-tied-f32'));
  const config = parseModelConfig(readFixture('qwen2-tied-f32', 'config.json'), 'config.json');
  checkVocabulary(tokenizer, config, 'folder');
  checkVocabulary(tokenizer, { ...config, vocabSize: 494 }, 'folder');
  assertUserError(() => checkVocabulary(tokenizer, { ...config, vocabSize: 493 }, 'folder'), /\(493\)/, /up to 493/);
});

test('text that the vocabulary cannot spell names the character', (t) => {
  const folder = copyOfModel(t, 'llama');
  // × is C3 97 in UTF-8; the byte-level alphabet writes these bytes as U+00C3 and U+0139.
  const vocab = { '7': 0, '8': 1, '\u00c3': 2, '\u0139': 3, '\u00c3\u0139': 4 };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const spaced = { id: 5, content: ' × ', special: false, normalized: false };
  const model = { type: 'BPE', vocab, merges: [['\u00c3', '\u0139']], unk_token: null };
  changeJson(join(folder, 'tokenizer.json'), { model, pre_tokenizer: byteLevel, added_tokens: [spaced] });
  const tokenizer = loadTokenizer(folder);
  assert.deepEqual(tokenizer.encode('787'), [0, 1, 0]);
  assert.equal(tokenizer.length, 6);
  assert.deepEqual(tokenizer.encode('7×8 × 7'), [0, 4, 1, 5, 0]);
  assert.deepEqual(tokenizer.encode(''), []);
  assertUserError(() => tokenizer.encode('78é7'), /cannot spell "é"/);
  assertUserError(() => tokenizer.encode('7 × 8 8'), /cannot spell " "/);
  assertUserError(() => tokenizer.encode('9'), /cannot spell "9"/);
});

test('a fingerprint follows the files that decide ids and text', (t) => {
  const folder = copyOfModel(t, 'llama');
  const before = loadTokenizer(folder).fingerprint;
  assert.equal(loadTokenizer(fixture('llama')).fingerprint, before);
  writeFileSync(join(folder, 'chat_template.jinja'), 'other');
  assert.notEqual(loadTokenizer(folder).fingerprint, before);
});

test('streamed pieces add up to the whole text and never show half a character', () => {
  for (const model of fixtureModels) {
    const tokenizer = loadTokenizer(fixture(model));
    fuzz(150, (random, seed) => {
      // Half of them text, half ids at random, whose bytes may never form characters.
      const ids =
        seed % 2 === 0
          ? tokenizer.encode(randomText(random))
          : Array.from({ length: 20 }, () => Math.floor(random() * (tokenizer.length + 5)));
      const whole = tokenizer.decode(ids);
      const pieces = streamed(tokenizer, ids);
      assert.equal(pieces.join(''), whole);
      if (!whole.includes('\uFFFD')) assert.ok(pieces.every((piece) => !piece.includes('\uFFFD')));
    });
  }
});

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const stream = textStream(tokenizer);
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

const alphabet = [...'abcXYZ 0123456789.,!?\'"\n\t\r×éß数学😀👍🏽한\u0085\uFEFF\u00A0\u2028½Ⅷ²+=()<>|_-'];
const phrases = ["I'll ", "it'ſ", 'e\u0301', '<think>', '<|im_end|>', '  ', '\r\n', ' \n ', '👨‍👩‍👧', "don'T"];

function randomText(random: () => number): string {
  const part = () => (random() < 0.2 ? pick(phrases, random) : pick(alphabet, random));
  return Array.from({ length: Math.floor(random() * 30) }, part).join('');
}
