/**
 * @file Tokenizers in GGUF: byte-level BPE (`tokenizer.ggml.model` "gpt2"). The format stores only a name for the splitting
 * before BPE, which llama.cpp's code defines; {@link splits} lists the supported names. Anything that the format or
 * llama.cpp cannot express is rejected by name.
 */
import { isRecord, type JsonRecord } from '../../util/json.js';
import type { TokenizerFiles } from '../checkpoint/tokenizer-file.js';
import { splitPatterns } from '../checkpoint/tokenizer-file.js';
import { inexpressible } from './conventions.js';
import type { MetadataValue } from './header.js';
import type { MetadataEntry } from './write.js';

/** `token_type` of a token. */
const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface Split {
  /** Its names in llama.cpp; the first is written. */
  readonly names: readonly string[];
  /** The regular expressions that identify it in a tokenizer.json; absent if it has none. */
  readonly patterns?: readonly string[];
  /** Whether digits are split off one by one before GPT-2's expression. */
  readonly digits?: boolean;
  /** Whether a word that is itself a token stays whole, regardless of the merges. */
  readonly ignoreMerges: boolean;
  /** Whether Hugging Face's files of this family normalize to NFC, which llama.cpp never does. */
  readonly nfc: boolean;
}

const splits: readonly Split[] = [
  {
    names: ['qwen2', 'deepseek-r1-qwen'],
    patterns: splitPatterns.qwen2,
    ignoreMerges: false,
    nfc: true,
  },
  {
    names: ['llama-bpe', 'llama3', 'llama-v3'],
    patterns: splitPatterns.llama3,
    ignoreMerges: true,
    nfc: false,
  },
  { names: ['smollm'], digits: true, ignoreMerges: false, nfc: false },
  { names: ['gpt-2'], digits: false, ignoreMerges: false, nfc: false },
];

/** Tokens and merges of a tokenizer. @throws UserError for one that llama.cpp would run differently. */
export function tokenizerMetadata(files: TokenizerFiles, vocabSize: number): MetadataEntry[] {
  const { json, model } = files;
  if (model.type !== 'BPE' || model.byte_fallback === true) {
    const type = model.type === 'BPE' ? 'BPE with byte fallback (SentencePiece)' : model.type;
    throw inexpressible(`its tokenizer is ${type}, but only byte-level BPE can be written`);
  }
  const record = json.model as JsonRecord;
  const split = splitOf(json, record.ignore_merges === true);
  for (const name of ['end_of_word_suffix', 'continuing_subword_prefix', 'continuing_subword_suffix']) {
    if (record[name]) throw inexpressible(`its tokenizer has \`${name}\`, which llama.cpp does not apply`);
  }
  const tokens: string[] = [];
  const kinds: number[] = [];
  for (const [token, id] of model.ids) {
    tokens[id] = token;
    kinds[id] = tokenTypes.normal;
  }
  for (const added of (json.added_tokens ?? []) as JsonRecord[]) {
    const id = added.id as number;
    for (const name of ['lstrip', 'rstrip', 'single_word']) {
      if (added[name] === true) {
        throw inexpressible(
          `its token ${JSON.stringify(added.content)} has \`${name}\`, which llama.cpp does not apply`,
        );
      }
    }
    tokens[id] = added.content as string;
    kinds[id] = added.special === true ? tokenTypes.control : tokenTypes.userDefined;
  }
  // The embedding may have more rows than there are tokens.
  for (let id = 0; id < vocabSize; id += 1) {
    if (tokens[id] !== undefined) continue;
    tokens[id] = `[PAD${id}]`;
    kinds[id] = tokenTypes.unused;
  }
  const merges = (record.merges as (string | readonly [string, string])[]).map((merge) =>
    typeof merge === 'string' ? merge : merge.join(' '),
  );
  return [
    ['tokenizer.ggml.model', { text: 'gpt2' }],
    ['tokenizer.ggml.pre', { text: split.names[0]! }],
    ['tokenizer.ggml.tokens', { texts: tokens }],
    ['tokenizer.ggml.token_type', { ints: kinds }],
    ['tokenizer.ggml.merges', { texts: merges }],
    ['tokenizer.ggml.add_space_prefix', { flag: false }],
  ];
}

function splitOf(json: JsonRecord, ignoreMerges: boolean): Split {
  const { normalizer, pre_tokenizer: steps } = json;
  if (isRecord(normalizer) && normalizer.type !== 'NFC') {
    throw inexpressible(`its tokenizer normalizes text (${normalizer.type}), which llama.cpp does not`);
  }
  const list = isRecord(steps) ? (steps.type === 'Sequence' ? (steps.pretokenizers as JsonRecord[]) : [steps]) : [];
  const [first, last] = [list[0], list.at(-1)];
  const byteLevel = last?.type === 'ByteLevel' && last.add_prefix_space !== true ? last : undefined;
  const found = splits.find(({ patterns, digits }) => {
    if (byteLevel === undefined) return false;
    if (patterns === undefined) {
      if (byteLevel.use_regex === false) return false;
      return digits
        ? list.length === 2 && first?.type === 'Digits' && first.individual_digits === true
        : list.length === 1;
    }
    const pattern = isRecord(first?.pattern) ? first.pattern.Regex : undefined;
    const isolated = first?.type === 'Split' && first.behavior === 'Isolated' && first.invert !== true;
    return (
      list.length === 2 &&
      isolated &&
      byteLevel.use_regex === false &&
      typeof pattern === 'string' &&
      patterns.includes(pattern)
    );
  });
  if (found === undefined) throw inexpressible('llama.cpp has no name for how its tokenizer splits text');
  if (found.ignoreMerges !== ignoreMerges) {
    throw inexpressible(`llama.cpp's "${found.names[0]}" implies \`ignore_merges\` ${found.ignoreMerges}`);
  }
  return found;
}

/** The content of a tokenizer.json, from the metadata of a GGUF file. */
export function tokenizerRecord(
  metadata: ReadonlyMap<string, MetadataValue>,
  addBos: string | undefined,
  unsupported: (reason: string) => Error,
): JsonRecord {
  const model = metadata.get('tokenizer.ggml.model');
  if (model !== 'gpt2') {
    const found = model === undefined ? 'it has no tokenizer' : `its tokenizer is ${JSON.stringify(model)}`;
    throw unsupported(`${found}, but only "gpt2" (byte-level BPE) is supported`);
  }
  const name = metadata.get('tokenizer.ggml.pre') ?? 'default';
  const split = splits.find(({ names }) => names.includes(String(name)));
  if (split === undefined) {
    const known = splits.flatMap(({ names }) => names).join(', ');
    throw unsupported(`its tokenizer splits text by ${JSON.stringify(name)}, which is not supported (known: ${known})`);
  }
  const texts = (key: string): readonly string[] => {
    const value = metadata.get(`tokenizer.ggml.${key}`);
    if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value;
    throw unsupported(`\`tokenizer.ggml.${key}\` is not a list of strings`);
  };
  const tokens = texts('tokens');
  const kinds = metadata.get('tokenizer.ggml.token_type') ?? tokens.map(() => tokenTypes.normal);
  if (!Array.isArray(kinds) || kinds.length !== tokens.length) {
    throw unsupported(`\`tokenizer.ggml.token_type\` does not have one entry for each of ${tokens.length} tokens`);
  }
  const used = tokens.flatMap((content, id) => (kinds[id] === tokenTypes.unused ? [] : [[content, id] as const]));
  const added = used.flatMap(([content, id]) => {
    if (kinds[id] !== tokenTypes.control && kinds[id] !== tokenTypes.userDefined) return [];
    const special = kinds[id] === tokenTypes.control;
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
  const merges = texts('merges').map((merge) => {
    const parts = merge.split(' ');
    if (parts.length !== 2) throw unsupported(`its merge ${JSON.stringify(merge.slice(0, 80))} is not two tokens`);
    return parts;
  });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
  const bos = addBos === undefined ? undefined : { id: addBos, type_id: 0 };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: split.nfc ? { type: 'NFC' } : null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [...firstSteps(split), { ...byteLevel, use_regex: !split.patterns }],
    },
    post_processor: bos && {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: bos }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ SpecialToken: bos }, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { [bos.id]: { id: bos.id, ids: [tokens.indexOf(bos.id)], tokens: [bos.id] } },
    },
    decoder: { ...byteLevel, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: split.ignoreMerges,
      vocab: Object.fromEntries(used),
      merges,
    },
  };
}

function firstSteps({ patterns, digits }: Split): JsonRecord[] {
  if (patterns !== undefined) {
    return [{ type: 'Split', pattern: { Regex: patterns[0] }, behavior: 'Isolated', invert: false }];
  }
  return digits ? [{ type: 'Digits', individual_digits: true }] : [];
}
