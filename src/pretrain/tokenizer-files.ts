/**
 * @file Writes the built-in vocabulary as Hugging Face tokenizer files that the Python and the JavaScript library read alike.
 *
 * It must be a byte-level BPE: for every qwen2 folder, Python's transformers 5 builds its Qwen2 tokenizer from the vocabulary
 * and merges alone, with its own splitter. Phrases with spaces, which that splitter would cut, are therefore added tokens (not
 * special, so that decoding keeps them), and `×`, which has two bytes, is a merge. Added tokens are also in the BPE vocabulary;
 * otherwise the libraries would renumber them.
 */
import { eosId, eosPiece, padId, padPiece, phrases, pieces } from './vocabulary.js';

/** The two bytes of `×` in UTF-8, C3 97, as byte-level BPE spells bytes: printable characters, see GPT-2's encoder.py. */
const timesBytes = ['Ã', 'Ĺ'] as const;

/** The splitter of Qwen2. JavaScript before 2025 cannot compile its `(?i:...)`, hence both cases are spelt out. */
const qwen2Pattern =
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" +
  '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** Longest sequence; the longest in pre-training has 43 tokens. */
const modelMaxLength = 128;

const addedToken = (content: string, special: boolean) => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

/** File names and contents: `tokenizer.json` and `tokenizer_config.json`. */
export function tokenizerFiles(): Record<string, string> {
  const added = [
    ...[padPiece, eosPiece].map((piece) => ({ id: pieces.indexOf(piece), ...addedToken(piece, true) })),
    ...phrases.map((piece) => ({ id: pieces.indexOf(piece), ...addedToken(piece, false) })),
  ];
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const spelling = (piece: string) => (piece === '×' ? timesBytes.join('') : piece);
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: qwen2Pattern }, behavior: 'Isolated', invert: false },
        byteLevel,
      ],
    },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries([...pieces.map(spelling), ...timesBytes].map((piece, id) => [piece, id])),
      merges: [[...timesBytes]],
    },
  };
  const config = {
    add_bos_token: false,
    add_prefix_space: false,
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
    bos_token: null,
    clean_up_tokenization_spaces: false,
    eos_token: pieces[eosId],
    errors: 'replace',
    model_max_length: modelMaxLength,
    pad_token: pieces[padId],
    split_special_tokens: false,
    tokenizer_class: 'Qwen2Tokenizer',
    unk_token: null,
  };
  const text = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return { 'tokenizer.json': text(tokenizer), 'tokenizer_config.json': text(config) };
}
