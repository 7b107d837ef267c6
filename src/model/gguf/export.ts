/**
 * @file Writes GGUF files for llama.cpp and the programs built on it: a model (weights, tokenizer, special tokens and chat
 * template), or a LoRA adapter, which llama.cpp applies to its base (`llama-cli --lora`). The names of the metadata are
 * those of llama.cpp's `constants.py` and `convert_lora_to_gguf.py`.
 */

import { openAdapter, readAdapterConfig } from '../checkpoint/adapter.js';
import type { Pretrained } from '../checkpoint/pretrained.js';
import { closeSafetensors } from '../checkpoint/safetensors.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import { readTokenizerFiles } from '../checkpoint/tokenizer-file.js';
import type { ModelConfig } from '../network/config.js';
import { parameterSpecs } from '../network/params.js';
import { type TensorFormat, tensorFormats } from './blocks.js';
import {
  ggufName,
  inexpressible,
  ropeFactors,
  ropeFactorsName,
  ropeMetadata,
  turnedHeads,
  turnRows,
} from './conventions.js';
import { tokenizerMetadata } from './tokenizer.js';
import { type GgufTensorToWrite, type MetadataEntry, writeGguf } from './write.js';

export type GgufFormat = 'f32' | 'f16' | 'bf16' | 'q8_0';

/** `llama_ftype` of a file whose matrices have this format. */
const fileTypes: Readonly<Record<GgufFormat, number>> = { f32: 0, f16: 1, bf16: 32, q8_0: 7 };

interface GgufModel {
  readonly pretrained: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFolder: string;
  /** The model's name. */
  readonly name: string;
}

/**
 * @returns what the file leaves out of the model, one sentence each.
 * @throws UserError for a model that the format or llama.cpp cannot express.
 */
export async function exportGguf(path: string, model: GgufModel, format: GgufFormat): Promise<string[]> {
  const { pretrained, tokenizer } = model;
  const { config } = pretrained;
  const notes: string[] = [];
  if (config.family === 'qwen3' && config.qkvBias) throw inexpressible('llama.cpp has no biases in qwen3');
  const metadata: MetadataEntry[] = [
    ['general.architecture', { text: config.family }],
    ['general.type', { text: 'model' }],
    ['general.name', { text: model.name }],
    ['general.file_type', { u32: fileTypes[format] }],
    ['general.quantization_version', { u32: 2 }],
    ...architectureMetadata(model),
    ...tokenizerMetadata(readTokenizerFiles(model.tokenizerFolder), config.vocabSize),
    ...specialTokens(model, notes),
    ...(tokenizer.chatTemplate === null
      ? []
      : [['tokenizer.chat_template', { text: tokenizer.chatTemplate }] as const]),
  ];
  await writeGguf(path, metadata, tensorsToWrite(pretrained, format, notes));
  return notes;
}

function architectureMetadata({ pretrained: { config } }: GgufModel): MetadataEntry[] {
  const u32 = (name: string, value: number): MetadataEntry => [`${config.family}.${name}`, { u32: value }];
  return [
    u32('vocab_size', config.vocabSize),
    u32('context_length', config.maxPositions),
    u32('embedding_length', config.hiddenSize),
    u32('block_count', config.layers),
    u32('feed_forward_length', config.ffnSize),
    u32('attention.head_count', config.heads),
    u32('attention.head_count_kv', config.kvHeads),
    u32('attention.key_length', config.headDim),
    u32('attention.value_length', config.headDim),
    u32('rope.dimension_count', config.headDim),
    [`${config.family}.attention.layer_norm_rms_epsilon`, { f32: config.rmsNormEps }],
    ...ropeMetadata(config, config.family),
  ];
}

function specialTokens({ pretrained, tokenizer }: GgufModel, notes: string[]): MetadataEntry[] {
  const id = (name: string, value: number | null | undefined): MetadataEntry[] =>
    value === null || value === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, { u32: value }]];
  const { eosTokenIds } = pretrained.generation;
  // The tokenizer's own end token first: chat programs end a turn with it.
  const ends = [...eosTokenIds].sort((a, b) => Number(b === tokenizer.eosTokenId) - Number(a === tokenizer.eosTokenId));
  if (ends.length > 2) {
    notes.push(
      `The model has ${ends.length} end tokens, but GGUF has room for two: ${ends.slice(2).join(', ')} left out.`,
    );
  }
  const bos = pretrained.config.bosTokenId ?? tokenizer.bosTokenId;
  return [
    ...id('bos', bos),
    ...id('eos', ends[0]),
    ...id('eot', ends[1]),
    ...id('padding', pretrained.config.padTokenId),
    ['tokenizer.ggml.add_bos_token', { flag: addsBegin(tokenizer, bos) }],
    ['tokenizer.ggml.add_eos_token', { flag: false }],
  ];
}

/** Whether texts begin with the begin token. @throws UserError where other tokens are added. */
function addsBegin(tokenizer: Tokenizer, bos: number | null): boolean {
  const added = tokenizer.encode('');
  if (added.length === 0) return false;
  if (added.length === 1 && added[0] === bos) return true;
  throw inexpressible(`its tokenizer puts the tokens ${added.join(', ')} around a text`);
}

function tensorsToWrite({ config, weights }: Pretrained, format: GgufFormat, notes: string[]): GgufTensorToWrite[] {
  const matrix: TensorFormat = tensorFormats[format];
  let narrow = 0;
  const tensors = Object.entries(parameterSpecs(config)).map(([name, shape]): GgufTensorToWrite => {
    const fits = shape.at(-1)! % matrix.elements === 0;
    if (shape.length > 1 && !fits) narrow += 1;
    const heads = turnedHeads(name, config);
    return {
      name: ggufName(name),
      shape,
      // llama.cpp requires norms and biases in float32.
      format: shape.length === 1 ? tensorFormats.f32 : fits ? matrix : tensorFormats.f16,
      read: () =>
        heads === undefined ? weights.read(name) : turnRows(weights.read(name), heads, config.headDim, 'gguf'),
    };
  });
  if (narrow > 0) {
    notes.push(`${narrow} matrices are f16: their rows are not whole blocks of ${matrix.elements} numbers.`);
  }
  const factors = ropeFactors(config);
  const shape = [config.headDim / 2];
  return factors === undefined
    ? tensors
    : [{ name: ropeFactorsName, shape, format: tensorFormats.f32, read: () => factors }, ...tensors];
}

/** Formats in which llama.cpp can multiply adapters. */
export type GgufAdapterFormat = 'f32' | 'f16' | 'bf16';

/**
 * @param folder an adapter in PEFT's format.
 * @param config of its base model.
 * @throws UserError for an adapter that does not fit.
 */
export async function exportGgufAdapter(
  path: string,
  { folder, config, name }: { readonly folder: string; readonly config: ModelConfig; readonly name: string },
  format: GgufAdapterFormat,
): Promise<void> {
  const { rank, alpha } = readAdapterConfig(folder)!;
  const { file, specs, read } = openAdapter(folder, config, rank);
  const metadata: MetadataEntry[] = [
    ['general.architecture', { text: config.family }],
    ['general.type', { text: 'adapter' }],
    ['general.name', { text: name }],
    ['adapter.type', { text: 'lora' }],
    ['adapter.lora.alpha', { f32: alpha }],
  ];
  const tensors = Object.entries(specs).map(([adapter, shape]): GgufTensorToWrite => {
    const weight = adapter.replace(/\.lora_[AB]\.weight$/, '.weight');
    const isB = adapter.endsWith('.lora_B.weight');
    // Only B has the rows of the weight, which are permuted for queries and keys.
    const heads = isB ? turnedHeads(weight, config) : undefined;
    return {
      name: `${ggufName(weight)}.lora_${isB ? 'b' : 'a'}`,
      shape,
      format: tensorFormats[format],
      read: () => (heads === undefined ? read(adapter) : turnRows(read(adapter), heads, config.headDim, 'gguf')),
    };
  });
  try {
    await writeGguf(path, metadata, tensors);
  } finally {
    closeSafetensors(file);
  }
}
