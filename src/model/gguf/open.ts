/**
 * @file Opens a GGUF file as a model. Its small files (config.json, tokenizer files, chat template) are made from its
 * metadata and written into the cache, so that the code for model folders also reads GGUF files. Its weights stay in the
 * file. They get their Hugging Face names, are checked against the config and are widened to float32 as they are read.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { clip, UserError } from '../../util/errors.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import { describe } from '../../util/json.js';
import { cacheFolder } from '../../util/machine.js';
import { wrong } from '../../util/schema.js';
import type { Weights } from '../checkpoint/pretrained.js';
import type { ModelConfig } from '../network/config.js';
import { embeddingName, parameterSpecs } from '../network/params.js';
import { ggufName, ropeFactorsName, ropeRecord, turnedHeads, turnRows } from './conventions.js';
import type { MetadataValue } from './header.js';
import { closeGguf, type GgufFile, type GgufTensor, hashGgufTensor, openGguf, readGgufTensor } from './header.js';
import { tokenizerRecord } from './tokenizer.js';

/** Whether `reference` is an existing file whose name ends in `.gguf`. */
export function isGguf(reference: string): boolean {
  return /\.gguf$/i.test(reference) && existsSync(reference);
}

/** The cache folder with all files of the model except the weights. @throws UserError for an unsupported file. */
export function ggufFolder(path: string): string {
  const file = openGguf(path);
  try {
    return cachedFiles(file);
  } finally {
    closeGguf(file);
  }
}

/** @throws UserError for weights that do not fit `config`. */
export function openGgufWeights(path: string, config: ModelConfig): Weights {
  const file = openGguf(path);
  try {
    return ggufWeights(file, config);
  } catch (error) {
    closeGguf(file);
    throw error;
  }
}

/** Closing the weights closes the file. @throws UserError that lists what does not fit. */
export function ggufWeights(file: GgufFile, config: ModelConfig): Weights {
  const found = checkTensors(file, config);
  const locate = (name: string) => {
    const tensor = found.get(name);
    if (tensor === undefined) throw new Error(`no parameter ${name}`);
    return tensor;
  };
  return {
    dtype: locate(embeddingName).format!.dtype,
    byteLength: [...found.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    dtypeOf: (name) => locate(name).format!.dtype,
    read(name) {
      const values = readGgufTensor(file, locate(name));
      const heads = turnedHeads(name, config);
      return heads === undefined ? values : turnRows(values, heads, config.headDim, 'hugging face');
    },
    hash() {
      const hash = createHash('sha256');
      for (const name of [...found.keys()].sort()) {
        const tensor = found.get(name)!;
        hash.update(JSON.stringify([name, tensor.formatName, tensor.shape, hashGgufTensor(file, tensor)]));
      }
      return hash.digest('hex');
    },
    close: () => closeGguf(file),
  };
}

function checkTensors(file: GgufFile, config: ModelConfig): Map<string, GgufTensor> {
  const found = new Map<string, GgufTensor>();
  const problems: string[] = [];
  // A file that claims more layers than it has tensors is rejected before their names are built.
  if (config.layers > file.tensors.size) problems.push(`it states ${config.layers} layers`);
  else {
    const known = new Set([ropeFactorsName]);
    for (const [name, shape] of Object.entries(parameterSpecs(config))) {
      const theirs = ggufName(name);
      const tensor = file.tensors.get(theirs);
      known.add(theirs);
      if (tensor === undefined) problems.push(`\`${theirs}\` is missing`);
      else if (tensor.format === undefined) {
        problems.push(
          `\`${theirs}\` has the unsupported type ${tensor.formatName} (supported: f32, f16, bf16, q8_0, q4_0, q4_1)`,
        );
      } else if (tensor.shape.join() !== shape.join()) {
        problems.push(`\`${theirs}\` is ${describe(tensor.shape)} where ${describe(shape)} is needed`);
      } else found.set(name, tensor);
    }
    for (const name of file.tensors.keys()) if (!known.has(name)) problems.push(`\`${clip(name)}\` is unknown`);
  }
  if (problems.length === 0) return found;
  const rest = problems.length > 5 ? `; and ${problems.length - 5} more problems` : '';
  throw new UserError(`The weights in ${file.path} cannot be used: ${problems.slice(0, 5).join('; ')}${rest}.`);
}

const architectures: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};
/** Incremented when the generated files change. */
const version = 1;

/**
 * The folder in the cache with the small files of `file`; made on first use.
 *
 * @throws UserError for a model or a tokenizer that tinyzero does not run.
 */
function cachedFiles(file: GgufFile): string {
  const folder = join(cacheFolder(), 'gguf', `${file.headerHash.slice(0, 32)}-${version}`);
  if (existsSync(join(folder, 'config.json'))) return folder;
  const files = ggufFiles(file);
  explainWrites(
    folder,
    () => {
      for (const [name, content] of Object.entries(files)) writeFileAtomic(join(folder, name), content);
    },
    'Set TINYZERO_CACHE to a writable folder.',
  );
  return folder;
}

/** Content by file name. config.json is last: a folder with it is complete. */
export function ggufFiles(file: GgufFile): Readonly<Record<string, string>> {
  const { metadata, path } = file;
  const unsupported = (reason: string) => wrong({ path, what: 'a model that tinyzero can run' }, [reason]);
  const family = metadata.get('general.architecture');
  if (typeof family !== 'string' || !Object.hasOwn(architectures, family)) {
    const known = Object.keys(architectures).join(', ');
    throw unsupported(`\`general.architecture\` is ${describe(family)} (known: ${known})`);
  }
  const get = (name: string) => metadata.get(`${family}.${name}`);
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const names: readonly unknown[] = Array.isArray(tokens) ? tokens : [];
  const special = (name: string): number | undefined => {
    const id = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return typeof id === 'number' && typeof names[id] === 'string' ? id : undefined;
  };
  const text = (name: string) => names[special(name) ?? -1] as string | undefined;
  // With llama.cpp's "llama-bpe", texts start with the begin token unless the file disables it.
  const addBos = metadata.get('tokenizer.ggml.add_bos_token') ?? metadata.get('tokenizer.ggml.pre') === 'llama-bpe';
  if (metadata.get('tokenizer.ggml.add_eos_token') === true) throw unsupported('its tokenizer ends texts with a token');
  const ends = [special('eos'), special('eot')].filter((id) => id !== undefined);
  const template = metadata.get('tokenizer.chat_template');
  const json = (record: JsonRecord) => `${JSON.stringify(record, null, 2)}\n`;
  return {
    'tokenizer.json': JSON.stringify(tokenizerRecord(metadata, addBos === true ? text('bos') : undefined, unsupported)),
    'tokenizer_config.json': json({
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: text('bos'),
      eos_token: text('eos'),
      unk_token: text('unknown'),
      pad_token: text('padding'),
      clean_up_tokenization_spaces: false,
      add_prefix_space: false,
    }),
    ...(typeof template === 'string' && { 'chat_template.jinja': template }),
    'generation_config.json': json({ eos_token_id: [...new Set(ends)], pad_token_id: special('padding') }),
    'config.json': json(configRecord(file, family, { get, unsupported, special, ends })),
  };
}

interface ConfigSource {
  readonly get: (name: string) => MetadataValue | undefined;
  readonly unsupported: (reason: string) => Error;
  readonly special: (name: string) => number | undefined;
  readonly ends: readonly number[];
}

function configRecord(file: GgufFile, family: string, { get, unsupported, special, ends }: ConfigSource): JsonRecord {
  const tensor = (name: string): GgufTensor | undefined => file.tensors.get(name);
  const embedding = tensor('token_embd.weight');
  const [heads, width] = [get('attention.head_count'), get('embedding_length')];
  const headDim =
    get('attention.key_length') ??
    get('rope.dimension_count') ??
    (typeof heads === 'number' && typeof width === 'number' ? width / heads : undefined);
  const turned = get('rope.dimension_count') ?? headDim;
  if (headDim !== turned)
    throw unsupported(`only ${describe(turned)} of a head's ${describe(headDim)} channels are rotated`);
  if ((get('attention.value_length') ?? headDim) !== headDim) throw unsupported('its values have a different width');
  if (get('expert_count')) throw unsupported('it is a mixture of experts');
  const theta = plain(get('rope.freq_base') ?? 10000);
  const factors = tensor(ropeFactorsName);
  const usable = typeof headDim === 'number' && typeof theta === 'number';
  const scaling = usable
    ? ropeRecord(get, factors && readGgufTensor(file, factors), { theta, headDim }, unsupported)
    : undefined;
  const hasBias = (name: string) => tensor(ggufName(`model.layers.0.${name}.bias`)) !== undefined;
  return {
    architectures: [architectures[family]],
    model_type: family,
    vocab_size: embedding?.shape[0],
    hidden_size: width,
    num_hidden_layers: get('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: get('attention.head_count_kv') ?? heads,
    head_dim: headDim,
    intermediate_size: get('feed_forward_length'),
    hidden_act: 'silu',
    rms_norm_eps: plain(get('attention.layer_norm_rms_epsilon')),
    tie_word_embeddings: tensor('output.weight') === undefined,
    ...(family === 'qwen2' ? {} : { attention_bias: hasBias('self_attn.q_proj') }),
    ...(family === 'llama' ? { mlp_bias: hasBias('mlp.gate_proj') } : { use_sliding_window: false }),
    max_position_embeddings: get('context_length'),
    rope_theta: theta,
    ...(scaling && { rope_scaling: scaling }),
    bos_token_id: special('bos') ?? null,
    eos_token_id: ends[0] ?? null,
    pad_token_id: special('padding'),
    torch_dtype: embedding?.format?.dtype ?? 'float32',
  };
}

/** The shortest decimal number that rounds to this float32: 1e-5, not 9.999999747378752e-6. */
function plain(value: MetadataValue | undefined): MetadataValue | undefined {
  if (typeof value !== 'number') return value;
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === Math.fround(value) ? short : value;
}
