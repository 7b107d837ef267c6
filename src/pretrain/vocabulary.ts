/**
 * @file The built-in model's vocabulary: 23 pieces of text, and the Hugging Face tokenizer files in which it is written.
 * Encoding takes the longest piece at each position.
 *
 * The files must be a byte-level BPE: for every qwen2 folder, Python's transformers 5 builds its Qwen2 tokenizer from the
 * vocabulary and merges alone, with its own splitter. Phrases with spaces, which that splitter would cut, are therefore
 * added tokens (not special, so that decoding keeps them), and `×`, which has two bytes, is a merge. Added tokens are also
 * in the BPE vocabulary; otherwise the libraries would renumber them.
 */
import { UserError } from '../util/errors.js';

/** Padding of rows in a batch. */
const padPiece = '<pad>';
/** Ends a completion. */
export const eosPiece = '<eos>';

const digits = [...'0123456789'];
/** Whole phrases, so that a completion has only about 30 tokens. Each contains a space or a line break. */
const phrases = ['What is ', ' × ', ' + ', '?\n', ', ', '. ', 'think: ', 'answer: '] as const;
const signs = ['×', '+', '='];

/** The piece of every id, in order. The model's vocabulary is padded from here to 64. */
export const pieces: readonly string[] = [padPiece, eosPiece, ...digits, ...signs, ...phrases];

const idOf = new Map(pieces.map((piece, id) => [piece, id]));
export const padId = idOf.get(padPiece)!;
export const eosId = idOf.get(eosPiece)!;

/** The pieces that begin with a character, longest first. */
const byFirst = new Map<string, readonly string[]>();
for (const piece of [...pieces].sort((a, b) => b.length - a.length)) {
  byFirst.set(piece[0]!, [...(byFirst.get(piece[0]!) ?? []), piece]);
}

/**
 * The ids of `text`. `<eos>` in the text is the end token.
 *
 * @throws UserError naming the first character that no piece spells.
 */
export function encode(text: string): number[] {
  const ids: number[] = [];
  for (let at = 0; at < text.length; ) {
    const piece = byFirst.get(text[at]!)?.find((candidate) => text.startsWith(candidate, at));
    if (piece === undefined) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      throw new UserError({
        problem: `The built-in model cannot spell ${JSON.stringify(character)}, character ${at + 1} of ${JSON.stringify(text)}.`,
        expected: `text made of ${pieces
          .slice(2)
          .map((known) => JSON.stringify(known))
          .join(' ')}`,
      });
    }
    ids.push(idOf.get(piece)!);
    at += piece.length;
  }
  return ids;
}

/** The text of `ids`, including pad and end tokens; ids beyond the pieces have no text. */
export function decode(ids: readonly number[]): string {
  return ids.map((id) => pieces[id] ?? '').join('');
}

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
