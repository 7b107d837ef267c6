import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
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

test('a numeral of any kind is a digit for the Digits step, as in the reference', (t) => {
  const folder = copyOfModel(t, 'llama');
  const split = (individual_digits: boolean, text: string) => {
    const pre_tokenizer = { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits }] };
    const pieces = ['a', '½', '²', 'Ⅷ', '7', '½²', '7½', 'Ⅷ7'];
    const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]));
    const merges = [
      ['½', '²'],
      ['7', '½'],
      ['Ⅷ', '7'],
    ];
    const model = { type: 'BPE', vocab, merges, unk_token: null };
    const none = { normalizer: null, post_processor: null, decoder: { type: 'Fuse' }, added_tokens: [] };
    changeJson(join(folder, 'tokenizer.json'), { ...none, pre_tokenizer, model });
    return loadTokenizer(folder).encode(text);
  };
  // The reference splits at Rust's char::is_numeric: the categories Nd, Nl and No.
  assert.deepEqual(split(true, 'a½²7½Ⅷ7a'), [0, 1, 2, 4, 1, 3, 4, 0]);
  assert.deepEqual(split(false, 'a½²a7½a'), [0, 5, 0, 6, 0]);
});

test('a tokenizer made from a GGUF file, with and without the Digits step, gives the ids of the reference', (t) => {
  const folder = copyOfModel(t, 'llama');
  const path = join(folder, 'tokenizer.json');
  const { model } = JSON.parse(readFileSync(path, 'utf8'));
  // Merges that cross numerals: whatever splits the text decides whether they happen. In the alphabet of bytes Â½ is ½ and Â² is ².
  const merges = [
    ['1', '2'],
    ['Â', '½'],
    ['3', '12'],
    ['7', 'Â½'],
    ['Â', '²'],
    ['12', 'Â²'],
    ['x', 'Â²'],
  ];
  const vocab = { ...model.vocab, ...Object.fromEntries(merges.map((pair, i) => [pair.join(''), 398 + i])) };
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const digits = (individual_digits: boolean) => ({
    type: 'Sequence',
    pretokenizers: [{ type: 'Digits', individual_digits }, bytes],
  });
  const single = [{ Sequence: { id: 'A', type_id: 0 } }];
  const texts = ['12 and 345½, x² + 7½', '312½½ 12² ٣٤'];
  // From transformers 5.23 (class TokenizersBackend, as its GGUF reader saves it).
  const joined = [
    [398, 285, 220, 18, 19, 20, 399, 11, 220, 87, 402, 302, 220, 401],
    [400, 399, 399, 220, 403, 220, 149, 96, 149, 97],
  ];
  const apart = [
    [16, 17, 285, 220, 18, 19, 20, 399, 11, 220, 87, 402, 302, 220, 22, 399],
    [18, 16, 17, 399, 399, 220, 16, 17, 402, 220, 149, 96, 149, 97],
  ];
  for (const [pre_tokenizer, expected] of [
    [bytes, joined],
    [digits(true), apart],
    [digits(false), joined],
  ] as const) {
    changeJson(path, {
      pre_tokenizer,
      model: { ...model, vocab, merges: [...model.merges, ...merges] },
      post_processor: { type: 'TemplateProcessing', single, pair: single, special_tokens: {} },
    });
    const settings = { backend: 'tokenizers', tokenizer_class: 'TokenizersBackend', eos_token: '<|im_end|>' };
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(settings));
    const tokenizer = loadTokenizer(folder);
    assert.deepEqual(
      texts.map((text) => tokenizer.encode(text)),
      expected,
    );
    assert.equal(tokenizer.eosTokenId, 395);
  }
});

test('hostile tokenizers are rejected with the field, and every id is an integer of the vocabulary', (t) => {
  const folder = copyOfModel(t, 'llama');
  const path = join(folder, 'tokenizer.json');
  const good = JSON.parse(readFileSync(path, 'utf8'));
  const { model, added_tokens: added } = good;
  const first = Object.keys(model.vocab)[0]!;
  const template = (SpecialToken: unknown) => ({
    post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken }], pair: [], special_tokens: {} },
  });
  const replace = (content: string) => ({ type: 'Replace', pattern: { String: 'a' }, content });
  for (const [change, reason] of [
    [{ model: { ...model, vocab: { ...model.vocab, [first]: false } } }, /`model\.vocab\[".*"\]` must be an integer/],
    [{ model: { ...model, vocab: { ...model.vocab, [first]: 0.5 } } }, /must be an integer from 0/],
    [{ model: { ...model, vocab: { ...model.vocab, [first]: -1 } } }, /must be an integer from 0/],
    [{ model: { ...model, merges: [null] } }, /`model\.merges\[0\]`/],
    [{ model: { ...model, type: 'Other' } }, /`model\.type` must be "BPE"/],
    [{ model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 3 } }, /`model\.unk_id`/],
    [{ added_tokens: [...added, { id: -5, content: 'x' }] }, /`added_tokens\[\d+\]\.id`/],
    [{ added_tokens: [null] }, /`added_tokens\[0\]` must be an object/],
    [
      { post_processor: { type: 'Sequence', processors: [null] } },
      /`post_processor\.processors\[0\]` must be an object/,
    ],
    [template({ id: 'renamed', type_id: 0 }), /made of tokens of its vocabulary, not "renamed"/],
    [template(null), /`post_processor\.single\[0\]`/],
    [{ post_processor: { type: 'BertProcessing', sep: ['nothing', 1], cls: ['nothing', 2] } }, /"nothing"/],
    [{ pre_tokenizer: { type: 'FixedLength', length: 0 } }, /`pre_tokenizer\.length` must be an integer of at least 1/],
    [{ pre_tokenizer: { type: 'Split', pattern: {}, behavior: 'Isolated' } }, /`pre_tokenizer\.pattern`/],
    [{ pre_tokenizer: { type: 'constructor' } }, /`pre_tokenizer\.type`/],
    [{ normalizer: { type: 'Replace', pattern: { Regex: '(' }, content: '' } }, /cannot be used/],
    [
      { normalizer: { type: 'Sequence', normalizers: Array.from({ length: 30 }, () => replace('aa')) } },
      /over 64 times longer/,
    ],
    [{ decoder: { type: 'Strip', content: 1 } }, /`decoder\.content` must be a string/],
  ] as const) {
    writeFileSync(path, JSON.stringify({ ...good, ...change }));
    assertUserError(() => loadTokenizer(folder), /tokenizer\.json/, reason);
  }
  // A regular expression that backtracks: 2^40 ways to match.
  const slow = { type: 'Split', pattern: { Regex: '(a|a)+$' }, behavior: 'Isolated', invert: false };
  writeFileSync(path, JSON.stringify({ ...good, pre_tokenizer: slow }));
  assertUserError(
    () => loadTokenizer(folder).encode(`${'a'.repeat(40)}b`),
    /tokenizer\.json cannot be used: it takes longer/,
  );
});

test('a broken tokenizer_config.json names itself', (t) => {
  const folder = copyOfModel(t, 'llama');
  for (const [change, reason] of [
    [{ additional_special_tokens: 7 }, /`additional_special_tokens` must be a list/],
    [{ chat_template: [null] }, /`chat_template`/],
    [{ eos_token: 3 }, /`eos_token` must be a string or an object/],
    [{ clean_up_tokenization_spaces: 'no' }, /`clean_up_tokenization_spaces`/],
  ] as const) {
    changeJson(join(folder, 'tokenizer_config.json'), { ...change });
    assertUserError(() => loadTokenizer(folder), /tokenizer_config\.json cannot be used/, reason);
    changeJson(
      join(folder, 'tokenizer_config.json'),
      Object.fromEntries(Object.keys(change).map((key) => [key, undefined])),
    );
  }
});

test('a tokenizer with more ids than the model is rejected', () => {
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
