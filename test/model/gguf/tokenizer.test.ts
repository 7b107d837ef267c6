/** Tokenizers that llama.cpp would run differently are rejected with the reason. */
import { test } from 'node:test';
import type { TokenizerFiles } from '../../../src/model/checkpoint/tokenizer-file.js';
import { readTokenizerFiles } from '../../../src/model/checkpoint/tokenizer-file.js';
import { tokenizerMetadata } from '../../../src/model/gguf/tokenizer.js';
import { assertUserError } from '../../helpers/errors.js';
import { fixture } from '../../helpers/files.js';

const files = readTokenizerFiles(fixture('llama'));
const model = files.json.model as Record<string, unknown>;
const changed = (json: Record<string, unknown>): TokenizerFiles => ({ ...files, json: { ...files.json, ...json } });

test('what llama.cpp cannot represent is refused', () => {
  const refused = (given: TokenizerFiles, reason: RegExp) =>
    assertUserError(() => tokenizerMetadata(given, 416), /cannot be written as GGUF/, reason, /--to onnx/);
  refused({ ...files, model: { ...files.model, type: 'Unigram' } }, /its tokenizer is Unigram/);
  refused({ ...files, model: { ...files.model, byte_fallback: true } }, /SentencePiece/);
  refused(changed({ normalizer: { type: 'Lowercase' } }), /normalizes text \(Lowercase\)/);
  refused(changed({ pre_tokenizer: { type: 'Whitespace' } }), /no name for how its tokenizer splits text/);
  refused(changed({ model: { ...model, ignore_merges: true } }), /implies `ignore_merges` false/);
  refused(changed({ model: { ...model, end_of_word_suffix: '</w>' } }), /`end_of_word_suffix`/);
  const token = { id: 393, content: '<|a|>', special: true, lstrip: true };
  refused(changed({ added_tokens: [token] }), /its token "<|a|>" has `lstrip`/);
});
