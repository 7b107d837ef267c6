/**
 * @file A model's architecture, read from the `config.json` of a Hugging Face folder. Every field that changes what the
 * model computes is honoured or refused by its name; the rest (dropout, cache and parallelism settings) is ignored.
 * Defaults are those of `configuration_{qwen2,qwen3,llama}.py` in transformers 5.23, except that sizes must be given.
 * Dropout is ignored in training too: the log-probs of a rollout and of its update must come from one function.
 */
import { describe, JsonFields, type JsonRecord } from '../../util/json.js';
import { type Dtype, dtypes } from '../checkpoint/dtype.js';
import { type RopeConfig, readRope } from './rope.js';

export const families = ['qwen2', 'qwen3', 'llama'] as const;
export type Family = (typeof families)[number];

/** All that the forward pass depends on. Letters are the tensor dimensions used throughout the code. */
export interface ModelConfig {
  readonly family: Family;
  /** V: rows of the embedding; may exceed the tokenizer's length. */
  readonly vocabSize: number;
  /** D */
  readonly hiddenSize: number;
  readonly layers: number;
  /** H: query heads. */
  readonly heads: number;
  /** K: key/value heads; divides H. */
  readonly kvHeads: number;
  /** C: width of one head, even; H·C need not be D. */
  readonly headDim: number;
  /** Width of the gated feed-forward layer. */
  readonly ffnSize: number;
  readonly rmsNormEps: number;
  /** The output layer is the transposed embedding. */
  readonly tied: boolean;
  /** Biases on the q, k and v projections. */
  readonly qkvBias: boolean;
  readonly outBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm over C on each query and key head (Qwen3). */
  readonly qkNorm: boolean;
  readonly rope: RopeConfig;
  /** Longest sequence, in tokens. */
  readonly maxPositions: number;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
  /** Standard deviation of newly made matrices. */
  readonly initializerRange: number;
  /** What the checkpoint is said to be stored in; the weights' own dtype decides how they are read. */
  readonly dtype: Dtype;
}

const familyDefaults = {
  qwen2: { maxPositions: 32768, kvHeads: 32, headDim: undefined, bos: undefined, eos: undefined },
  qwen3: { maxPositions: 32768, kvHeads: 32, headDim: 128, bos: undefined, eos: undefined },
  llama: { maxPositions: 2048, kvHeads: undefined, headDim: undefined, bos: 1, eos: 2 },
} as const;

const architectures = { qwen2: 'Qwen2ForCausalLM', qwen3: 'Qwen3ForCausalLM', llama: 'LlamaForCausalLM' } as const;

/**
 * @param record the content of a `config.json`; `source` names it in errors.
 * @throws UserError that lists everything missing, malformed or unsupported.
 */
export function parseModelConfig(record: JsonRecord, source: string): ModelConfig {
  const fields = new JsonFields(record, source);
  const family = readFamily(fields);
  fields.finish(`tinyzero runs these model types: ${families.join(', ')}.`);
  const defaults = familyDefaults[family];

  const hiddenSize = fields.integer('hidden_size');
  const layers = fields.integer('num_hidden_layers');
  const heads = fields.integer('num_attention_heads');
  const kvHeads = readKvHeads(fields, heads, defaults.kvHeads);
  const headDim = fields.integer('head_dim', { fallback: defaults.headDim ?? hiddenSize / heads });
  if (!Number.isInteger(headDim)) {
    fields.refuse(`\`hidden_size\` (${hiddenSize}) is not a multiple of \`num_attention_heads\` (${heads})`);
  } else if (headDim % 2 !== 0) {
    fields.refuse(`\`head_dim\` (${headDim}) must be even, since rotary embedding turns pairs of channels`);
  }
  const vocabSize = fields.integer('vocab_size');
  const maxPositions = fields.integer('max_position_embeddings', { fallback: defaults.maxPositions });
  refuseUnsupported(fields, family, layers, maxPositions);
  // transformers' Qwen2 has fixed biases whatever `attention_bias` says; `mlp_bias` exists only for Llama.
  const attentionBias = family !== 'qwen2' && fields.boolean('attention_bias', false);
  const config: ModelConfig = {
    family,
    vocabSize,
    hiddenSize,
    layers,
    heads,
    kvHeads,
    headDim,
    ffnSize: fields.integer('intermediate_size'),
    rmsNormEps: fields.number('rms_norm_eps', { above: 0, fallback: 1e-6 }),
    tied: fields.boolean('tie_word_embeddings', false),
    qkvBias: family === 'qwen2' || attentionBias,
    outBias: attentionBias,
    mlpBias: family === 'llama' && fields.boolean('mlp_bias', false),
    qkNorm: family === 'qwen3',
    rope: readRope(fields, maxPositions),
    maxPositions,
    bosTokenId: readTokenIds(fields, 'bos_token_id', vocabSize, defaults.bos)[0] ?? null,
    eosTokenIds: readTokenIds(fields, 'eos_token_id', vocabSize, defaults.eos),
    padTokenId: readPadId(fields),
    initializerRange: fields.number('initializer_range', { above: 0, fallback: 0.02 }),
    dtype: readDtype(fields),
  };
  fields.finish();
  return config;
}

/**
 * The ids under `name`, given as one number or a list; empty when absent. Shared with `generation_config.json`.
 * An id outside the vocabulary is refused: a model could never produce it, so generation would never end.
 */
export function readTokenIds(fields: JsonFields, name: string, vocabSize: number, fallback?: number): number[] {
  const value = fields.has(name) ? fields.get(name) : fields.record[name] === null ? undefined : fallback;
  const ids = value === undefined ? [] : Array.isArray(value) ? value : [value];
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      fields.refuse(`\`${name}\` must be below \`vocab_size\` (${vocabSize}), not ${describe(id)}`);
    }
  }
  return [...new Set(ids as number[])];
}

function readFamily(fields: JsonFields): Family {
  const type = fields.string('model_type');
  const family = families.find((known) => known === type);
  if (family === undefined) {
    if (type !== '') fields.refuse(`\`model_type\` ${describe(type)} is not supported`);
    return 'qwen2';
  }
  const given = fields.get('architectures');
  const expected = architectures[family];
  if (given !== undefined && !(Array.isArray(given) && (given.length === 0 || given.includes(expected)))) {
    fields.refuse(`\`architectures\` ${describe(given)} is not supported, only ["${expected}"] is`);
  }
  return family;
}

function readKvHeads(fields: JsonFields, heads: number, absent: number | undefined): number {
  // An explicit null means "as many as query heads"; an absent field means the family's default.
  const fallback = fields.record.num_key_value_heads === null ? heads : (absent ?? heads);
  const kvHeads = fields.integer('num_key_value_heads', { fallback });
  if (heads % kvHeads !== 0) {
    fields.refuse(`\`num_attention_heads\` (${heads}) is not a multiple of \`num_key_value_heads\` (${kvHeads})`);
  }
  return kvHeads;
}

/** A negative pad id (older Llama checkpoints use -1) means none. */
function readPadId(fields: JsonFields): number | null {
  const id = fields.get('pad_token_id');
  if (id === undefined) return null;
  if (!Number.isInteger(id)) fields.refuse(`\`pad_token_id\` must be an integer, not ${describe(id)}`);
  return (id as number) < 0 ? null : (id as number);
}

function readDtype(fields: JsonFields): Dtype {
  const name = fields.string('dtype', fields.string('torch_dtype', 'float32')).replace(/^torch\./, '');
  if (name === 'auto') return 'float32';
  const dtype = dtypes.find((known) => known === name);
  if (dtype === undefined) fields.refuse(`\`dtype\` ${describe(name)} is not supported (known: ${dtypes.join(', ')})`);
  return dtype ?? 'float32';
}

function refuseUnsupported(fields: JsonFields, family: Family, layers: number, maxPositions: number): void {
  const activation = fields.string('hidden_act', 'silu');
  if (activation !== 'silu' && activation !== 'swish') {
    fields.refuse(`\`hidden_act\` ${describe(activation)} is not supported, only "silu" is`);
  }
  if (fields.has('quantization_config')) {
    const method = fields.get('quantization_config') as { quant_method?: unknown };
    const name = describe(method.quant_method ?? 'unknown method');
    fields.refuse(`\`quantization_config\` (${name}) is not supported: use the unquantized checkpoint`);
  }
  // transformers' Llama has no sliding window and reads none of the fields below.
  if (family !== 'llama') refuseSlidingWindow(fields, layers, maxPositions);
}

/** A window is accepted where it cannot act: switched off, on no layer, or at least as long as any sequence. */
function refuseSlidingWindow(fields: JsonFields, layers: number, maxPositions: number): void {
  const types = fields.get('layer_types');
  if (types !== undefined && !(Array.isArray(types) && types.length === layers)) {
    fields.refuse(`\`layer_types\` must list ${layers} layers, not ${describe(types)}`);
    return;
  }
  const unknown = types?.find((type: unknown) => type !== 'full_attention' && type !== 'sliding_attention');
  if (unknown !== undefined) fields.refuse(`\`layer_types\` entry ${describe(unknown)} is not supported`);

  const on = fields.boolean('use_sliding_window', false);
  const window =
    fields.has('sliding_window') || fields.record.sliding_window !== null
      ? fields.integer('sliding_window', { fallback: 4096 })
      : Number.POSITIVE_INFINITY;
  const firstSliding = fields.integer('max_window_layers', { min: 0, fallback: 28 });
  const slides = types?.includes('sliding_attention') ?? (on && firstSliding < layers);
  if (slides && !(on && window >= maxPositions)) {
    fields.refuse(`a sliding window (\`use_sliding_window\`, \`sliding_window\` ${window}) is not supported`);
  }
}

/** The `config.json` of a model made here; {@link parseModelConfig} and transformers read it back to the same config. */
export function modelConfigJson(config: ModelConfig): JsonRecord {
  const { rope } = config;
  if (rope.scaling.kind !== 'default') throw new Error('only models with plain rotary embedding are made here');
  return {
    architectures: [architectures[config.family]],
    model_type: config.family,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    intermediate_size: config.ffnSize,
    hidden_act: 'silu',
    rms_norm_eps: config.rmsNormEps,
    tie_word_embeddings: config.tied,
    ...(config.family === 'qwen2' ? {} : { attention_bias: config.qkvBias }),
    ...(config.family === 'llama' ? { mlp_bias: config.mlpBias } : { use_sliding_window: false }),
    attention_dropout: 0,
    max_position_embeddings: config.maxPositions,
    rope_theta: rope.theta,
    initializer_range: config.initializerRange,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : config.eosTokenIds,
    pad_token_id: config.padTokenId,
    torch_dtype: config.dtype,
    use_cache: true,
  };
}
