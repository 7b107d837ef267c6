import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { AutoTokenizer, env, type PreTrainedTokenizer } from '@huggingface/transformers';
import { heldOutSplits } from '../../src/data/multiplication.js';
import { corpusBatch } from '../../src/pretrain/corpus.js';
import { decode, encode, eosId, padId, pieces, tokenizerFiles } from '../../src/pretrain/vocabulary.js';
import { runPython, withoutPython } from '../helpers/python.js';

const folder = mkdtempSync(join(tmpdir(), 'tinyzero-tokenizer-'));
/** Whole rows, and texts that try the borders between pieces. */
const texts = [
  ...corpusBatch(1, 1, heldOutSplits.tiny).map((row) => row.text),
  'What is 7 × 12?\n',
  'What is 35 + 21?\n',
  'think: 7×10=70, 7×2=14, 70+14=84. answer: 84<eos>',
  '7×12 × 3',
  '×××+=1234567890',
  ' × ×',
  'answer: answer: . , ',
  '<pad><pad>1<eos>',
  '',
];

test('the built-in encoder takes the longest piece and is undone by the decoder', () => {
  assert.deepEqual(
    encode('What is 7 × 12?\n').map((id) => pieces[id]),
    ['What is ', '7', ' × ', '1', '2', '?\n'],
  );
  for (const text of texts) assert.equal(decode(encode(text)), text);
  assert.deepEqual([padId, eosId, pieces.length], [0, 1, 23]);
});

test('text that no piece spells is rejected, naming the character', () => {
  assert.throws(() => encode('7 x 12'), /cannot spell " ", character 2/);
  assert.throws(() => encode('answer: é'), /cannot spell "é", character 9/);
  assert.throws(() => encode('7🙂'), /cannot spell "🙂", character 2/);
});

before(() => {
  for (const [name, content] of Object.entries(tokenizerFiles())) writeFileSync(join(folder, name), content);
  // Python chooses the tokenizer's class by this field.
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ model_type: 'qwen2' }));
});

test('@huggingface/transformers reads the files as the same encoder', async () => {
  env.allowRemoteModels = false;
  const tokenizer: PreTrainedTokenizer = await AutoTokenizer.from_pretrained(folder);
  for (const text of texts) {
    const ids = encode(text);
    assert.deepEqual(tokenizer.encode(text, { add_special_tokens: true }), ids, JSON.stringify(text));
    assert.equal(ids.length === 0 ? '' : tokenizer.decode(ids), text);
  }
  // Special tokens are dropped on request, phrases are not.
  assert.equal(tokenizer.decode(encode('answer: 84<eos>'), { skip_special_tokens: true }), 'answer: 84');
  assert.equal(tokenizer.eos_token_id, eosId);
  assert.equal(tokenizer.pad_token_id, padId);
});

const script = `
import json, sys
from transformers import AutoTokenizer
from tokenizers import Tokenizer
texts = json.load(sys.stdin)
auto = AutoTokenizer.from_pretrained(sys.argv[1])
fast = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
again = sys.argv[1] + "/again"
auto.save_pretrained(again)
reloaded = AutoTokenizer.from_pretrained(again)
def look(encode, decode):
    return [{"ids": encode(t), "text": decode(encode(t))} for t in texts]
print(json.dumps({
    "auto": look(lambda t: auto(t)["input_ids"], lambda i: auto.decode(i)),
    "fast": look(lambda t: fast.encode(t).ids, lambda i: fast.decode(i, skip_special_tokens=False)),
    "reloaded": look(lambda t: reloaded(t)["input_ids"], lambda i: reloaded.decode(i)),
    "skipped": auto.decode(auto("answer: 84<eos>")["input_ids"], skip_special_tokens=True),
    "special": [auto.pad_token_id, auto.eos_token_id, auto.bos_token_id],
    "class": type(auto).__name__,
}))`;

test('Python transformers and tokenizers read the files as the same encoder', {
  skip: withoutPython('transformers', 'tokenizers'),
}, () => {
  const python = runPython(script, texts, [folder]) as Record<string, unknown>;
  const expected = texts.map((text) => ({ ids: encode(text), text }));
  assert.match(String(python.class), /Qwen2Tokenizer/);
  assert.deepEqual(python.auto, expected);
  assert.deepEqual(python.fast, expected);
  assert.deepEqual(python.reloaded, expected);
  assert.equal(python.skipped, 'answer: 84');
  assert.deepEqual(python.special, [padId, eosId, null]);
});
