/**
 * @file Reads and checks the tokenizer files of a model folder: `tokenizer.json`, `tokenizer_config.json` and
 * `special_tokens_map.json`. The package that runs them (@huggingface/tokenizers) does not validate its input, so every
 * field that it uses is checked here.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { GenericSchema } from 'valibot';
import { UserError } from '../../util/errors.js';
import { isRecord, type JsonRecord, readJsonRecord } from '../../util/json.js';
import { keysOf } from '../../util/keys.js';
import {
  anyObject,
  anything,
  check,
  flag,
  integer,
  type JsonSource,
  list,
  mapOf,
  mustBe,
  number,
  object,
  oneOf,
  optional,
  pair,
  text,
  union,
  wrong,
} from '../../util/schema.js';

const spellings = [
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
  // Without the group's flag, which JavaScript before 2025 cannot compile.
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
];
const patterns = (digits: string) =>
  spellings.map(
    (contractions) =>
      `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  );

export const splitPatterns = { qwen2: patterns('\\p{N}'), llama3: patterns('\\p{N}{1,3}') };

const linear = new Set(Object.values(splitPatterns).flat());

/** Whether `pattern` is known to run in time linear in the text's length. Any other may backtrack almost forever. */
export const isLinearPattern = (pattern: string): boolean => linear.has(pattern);

export interface TokenizerFiles {
  /** Path of `tokenizer.json`. */
  readonly path: string;
  /** Its unchanged content. */
  readonly json: JsonRecord;
  readonly model: TokenizerModel;
  /** One more than the highest id. */
  readonly length: number;
  /** Whether encoding and decoding use regular expressions that need a time limit. */
  readonly regex: { readonly encoding: boolean; readonly decoding: boolean };
  /** `special_tokens_map.json` merged with `tokenizer_config.json`, which takes precedence. */
  readonly config: JsonRecord;
}

export interface TokenizerModel {
  readonly type: 'BPE' | 'WordPiece' | 'Unigram';
  readonly unk_token?: string | undefined;
  readonly byte_fallback?: boolean | undefined;
  /** Id by token; for Unigram, the position in the list. */
  readonly ids: ReadonlyMap<string, number>;
}

/** Largest file accepted. Gemma 3's, the largest known, is 33 MB. */
const maxBytes = 128 * 2 ** 20;
/** Total length of the added tokens, which form a trie. Gemma has 6,000 of them, with 100,000 characters in total. */
const maxAddedCharacters = 2_000_000;
/** Largest factor by which the steps may lengthen a text. Llama's do not lengthen it at all. */
const maxGrowth = 64;

/** Reads the tokenizer files of `folder`. @throws UserError that names the invalid file and field. */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const path = join(folder, 'tokenizer.json');
  if (!existsSync(path)) {
    const legacy = ['tokenizer.model', 'vocab.json'].find((name) => existsSync(join(folder, name)));
    throw new UserError({
      problem: `${folder} has no tokenizer.json.`,
      found: legacy && `${legacy}, an older format`,
      fix: legacy
        ? 'Save it with a fast tokenizer of transformers.'
        : "Copy the tokenizer files into the model's folder.",
    });
  }
  const json = readJsonRecord(path, undefined, maxBytes);
  const source: JsonSource = { path, what: 'a tokenizer that tinyzero can run' };
  const { added_tokens: added, ...parts } = check(fileShape, json, source);
  const model = checkModel(parts.model, source);
  const ids = new Map([...model.ids, ...added.map(({ content, id }) => [content, id] as const)]);
  const characters = added.reduce((sum, { content }) => sum + content.length, 0);
  if (characters > maxAddedCharacters) throw wrong(source, [`\`added_tokens\` have ${characters} characters`]);
  let growth = 1;
  const regex = { encoding: false, decoding: false };
  for (const kind of keysOf(components)) {
    for (const part of flatten(kind, parts[kind], source, kind)) {
      growth *= growthOf(part);
      const expression = isRecord(part.pattern) ? part.pattern.Regex : undefined;
      if (typeof expression === 'string' && !isLinearPattern(expression)) {
        regex[kind === 'decoder' ? 'decoding' : 'encoding'] = true;
      }
      if (kind === 'post_processor') requireTokens(part, ids, source);
    }
  }
  if (!(growth <= maxGrowth)) throw wrong(source, [`its steps can make a text over ${maxGrowth} times longer`]);
  const length = 1 + maximum(ids.values());
  return { path, json, model, length, regex, config: readTokenizerConfig(folder) };
}

const token = union([text, anyObject], 'a string or an object');

/** The fields of `tokenizer_config.json` that are used here or by the package. */
const configShape = object({
  bos_token: optional(token),
  eos_token: optional(token),
  unk_token: optional(token),
  pad_token: optional(token),
  additional_special_tokens: optional(list(anything)),
  clean_up_tokenization_spaces: optional(flag),
  remove_space: optional(flag),
  do_lowercase_and_remove_accent: optional(flag),
  chat_template: optional(union([text, list(object({ name: text, template: text }))], 'a string or a list')),
});

function readTokenizerConfig(folder: string): JsonRecord {
  const records = ['special_tokens_map.json', 'tokenizer_config.json'].flatMap((name) => {
    const path = join(folder, name);
    if (!existsSync(path)) return [];
    const record = readJsonRecord(path, undefined, maxBytes);
    check(configShape, record, { path });
    return [record];
  });
  return Object.assign({}, ...records);
}

const id = integer({ min: 0, max: 2 ** 31 - 1 });
const component = optional(anyObject);

const fileShape = object({
  model: anyObject,
  added_tokens: optional(list(object({ id, content: text, special: optional(flag), normalized: optional(flag) })), []),
  normalizer: component,
  pre_tokenizer: component,
  post_processor: component,
  decoder: component,
});

const vocabulary = mapOf(id);

const models = {
  BPE: object({
    vocab: vocabulary,
    merges: list(union([text, pair(text)], 'a string or a list of two')),
    unk_token: optional(text),
    byte_fallback: optional(flag),
    fuse_unk: optional(flag),
    ignore_merges: optional(flag),
    end_of_word_suffix: optional(text),
    continuing_subword_suffix: optional(text),
  }),
  WordPiece: object({
    vocab: vocabulary,
    unk_token: text,
    continuing_subword_prefix: text,
    max_input_chars_per_word: optional(integer({ min: 1, max: 1000 })),
  }),
  Unigram: object({ vocab: list(anything), unk_id: optional(id), byte_fallback: optional(flag) }),
};

function checkModel(record: JsonRecord, source: JsonSource): TokenizerModel {
  // Early files have no type; without one, only BPE is recognised.
  const type = record.type === undefined && Array.isArray(record.merges) ? 'BPE' : record.type;
  const known = check(oneOf(['BPE', 'WordPiece', 'Unigram']), type, source, 'model.type');
  if (known !== 'Unigram') return checkWords(known, record, source);
  const { vocab, unk_id: unknown } = check(models.Unigram, record, source, 'model');
  const ids = new Map<string, number>();
  for (const [i, entry] of vocab.entries()) {
    const at = `model.vocab[${i}]`;
    const [piece, score] = check(list(anything), entry, source, at);
    ids.set(check(text, piece, source, `${at}[0]`), i);
    check(number(), score, source, `${at}[1]`);
  }
  if (unknown === undefined || unknown >= vocab.length) {
    throw wrong(source, [mustBe('model.unk_id', `a place in its vocabulary of ${vocab.length}`, unknown)]);
  }
  return { type: known, ids };
}

function checkWords(type: 'BPE' | 'WordPiece', record: JsonRecord, source: JsonSource): TokenizerModel {
  if (type === 'WordPiece') {
    const { vocab: ids, unk_token: unknown } = check(models.WordPiece, record, source, 'model');
    if (ids.has(unknown)) return { type, ids, unk_token: unknown };
    throw wrong(source, [mustBe('model.unk_token', 'a token of its vocabulary', unknown)]);
  }
  const { vocab: ids, unk_token: unknown, byte_fallback } = check(models.BPE, record, source, 'model');
  // GPT-2's files name an unknown token that is missing from the vocabulary and never needed.
  return { type, ids, byte_fallback, unk_token: unknown !== undefined && ids.has(unknown) ? unknown : undefined };
}

const pattern = union([object({ Regex: text }), object({ String: text })], 'an object with `Regex` or `String`');
const flags = (...names: string[]) => object(Object.fromEntries(names.map((name) => [name, optional(flag)])));
const special = pair(union([text, id], 'a token or its id'));
const piece = union(
  [object({ SpecialToken: object({ id: text }) }), object({ Sequence: object({ id: oneOf(['A', 'B']) }) })],
  'an object with `SpecialToken` or `Sequence`',
);

/** The fields of every component that the package supports. The `parts` of a sequence are components themselves. */
const components = {
  normalizer: {
    parts: 'normalizers',
    types: {
      BertNormalizer: flags('clean_text', 'handle_chinese_chars', 'strip_accents', 'lowercase'),
      Precompiled: object({ precompiled_charsmap: optional(text) }),
      Replace: object({ pattern, content: text }),
      NFC: anyObject,
      NFD: anyObject,
      NFKC: anyObject,
      NFKD: anyObject,
      Strip: flags('strip_left', 'strip_right'),
      StripAccents: anyObject,
      Lowercase: anyObject,
      Prepend: object({ prepend: text }),
    },
  },
  pre_tokenizer: {
    parts: 'pretokenizers',
    types: {
      BertPreTokenizer: anyObject,
      Whitespace: anyObject,
      WhitespaceSplit: anyObject,
      Metaspace: object({ replacement: optional(text), str_rep: optional(text), prepend_scheme: optional(text) }),
      ByteLevel: flags('add_prefix_space', 'trim_offsets', 'use_regex'),
      Split: object({ pattern, behavior: text, invert: optional(flag) }),
      Punctuation: object({ behavior: optional(text) }),
      Digits: flags('individual_digits'),
      Replace: object({ pattern, content: text }),
      FixedLength: object({ length: integer({ min: 1 }) }),
    },
  },
  post_processor: {
    parts: 'processors',
    types: {
      TemplateProcessing: object({ single: list(piece) }),
      ByteLevel: flags('add_prefix_space', 'trim_offsets', 'use_regex'),
      BertProcessing: object({ sep: special, cls: special }),
      RobertaProcessing: object({ sep: special, cls: special }),
    },
  },
  decoder: {
    parts: 'decoders',
    types: {
      ByteLevel: flags('add_prefix_space', 'trim_offsets', 'use_regex'),
      WordPiece: object({ prefix: text, cleanup: optional(flag) }),
      Metaspace: object({ replacement: optional(text) }),
      BPEDecoder: object({ suffix: optional(text) }),
      CTC: object({ pad_token: optional(text), word_delimiter_token: optional(text), cleanup: optional(flag) }),
      Replace: object({ pattern, content: text }),
      Fuse: anyObject,
      Strip: object({ content: text, start: integer({ min: 0 }), stop: integer({ min: 0 }) }),
      ByteFallback: anyObject,
    },
  },
} satisfies Record<string, { parts: string; types: Record<string, GenericSchema> }>;

type ComponentKind = keyof typeof components;

/** Checks a component and returns its steps, with sequences flattened. */
function flatten(kind: ComponentKind, part: JsonRecord | undefined, source: JsonSource, at: string): JsonRecord[] {
  if (part === undefined) return [];
  const { parts, types } = components[kind];
  if (part.type === 'Sequence') {
    const inner = check(list(anyObject), part[parts], source, `${at}.${parts}`);
    return inner.flatMap((each, i) => flatten(kind, each, source, `${at}.${parts}[${i}]`));
  }
  const type = check(oneOf([...Object.keys(types), 'Sequence']), part.type, source, `${at}.type`);
  const schemas: Readonly<Record<string, GenericSchema>> = types;
  check(schemas[type]!, part, source, at);
  return [part];
}

/** Largest factor by which a step can lengthen a text. */
function growthOf({ type, pattern: from, content, replacement, str_rep: represented }: JsonRecord): number {
  switch (type) {
    case 'Replace': {
      const shortest = isRecord(from) && typeof from.String === 'string' ? from.String.length : 0;
      const added = String(content).length;
      return shortest === 0 ? added + 1 : Math.max(1, added / shortest);
    }
    case 'Metaspace':
      return Math.max(1, String(represented ?? replacement ?? '').length);
    case 'BPEDecoder':
    case 'ByteLevel': // a character of several bytes becomes as many characters
      return 2;
    default:
      return 1;
  }
}

/** Checks that the tokens which a post-processor adds have ids. */
function requireTokens(part: JsonRecord, ids: ReadonlyMap<string, number>, source: JsonSource): void {
  const added: unknown[] =
    part.type === 'TemplateProcessing'
      ? check(list(anyObject), part.single, source, 'single').flatMap(({ SpecialToken: special }) =>
          isRecord(special) ? [special.id] : [],
        )
      : [part.sep, part.cls].flatMap((both) => (Array.isArray(both) ? [both[0]] : []));
  for (const name of added) {
    if (typeof name !== 'string' || !ids.has(name)) {
      throw wrong(source, [mustBe('post_processor', 'made of tokens of its vocabulary', name)]);
    }
  }
}

function maximum(values: Iterable<number>): number {
  let highest = -1;
  for (const value of values) highest = Math.max(highest, value);
  return highest;
}

/**
 * The `pre_tokenizer` with the reference's behaviour: its `Digits` step treats every numeral (`½`, `²`, `Ⅷ`) as a digit. The
 * package's step treats only characters that match `\d` as digits.
 */
export function withAllNumerals(part: unknown): unknown {
  if (!isRecord(part)) return part;
  if (part.type === 'Digits') {
    const Regex = part.individual_digits === true ? '\\p{N}' : '\\p{N}+';
    return { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false };
  }
  if (!Array.isArray(part.pretokenizers)) return part;
  return { ...part, pretokenizers: part.pretokenizers.map(withAllNumerals) };
}

/** `json` for programs that require every part: absent ones become null or empty. */
export function withAllParts(json: JsonRecord): JsonRecord {
  return { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [], ...json };
}
