/**
 * @file A model's architecture, read from the `config.json` of a Hugging Face folder. Every field that affects the
 * computation is either supported or rejected by name; the rest (dropout, cache and parallelism settings) is ignored.
 * Defaults are those of `configuration_{qwen2,qwen3,llama}.py` in transformers 5.23, except that sizes are required.
 * Dropout is ignored in training too, since a rollout and its update must have the same log-probs.
 */
import type { InferOutput } from 'valibot';
import { describe, type JsonRecord } from '../../util/json.js';
import {
  anyObject,
  anything,
  check,
  collect,
  flag,
  integer,
  number,
  object,
  oneOf,
  optional,
  text,
  wrong,
} from '../../util/schema.js';
import { type Dtype, dtypes } from '../checkpoint/dtype.js';
import { type RopeConfig, readRope } from './rope.js';

const families = ['qwen2', 'qwen3', 'llama'] as const;
export type Family = (typeof families)[number];

/** Everything that the forward pass depends on. Letters are the tensor dimensions used throughout the code. */
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
  /** Standard deviation of newly initialised matrices. */
  readonly initializerRange: number;
  /** The dtype that the config declares; weights are read in the dtype of their files. */
  readonly dtype: Dtype;
}

const familyDefaults = {
  qwen2: { maxPositions: 32768, kvHeads: 32, headDim: undefined, bos: undefined, eos: undefined },
  qwen3: { maxPositions: 32768, kvHeads: 32, headDim: 128, bos: undefined, eos: undefined },
  llama: { maxPositions: 2048, kvHeads: undefined, headDim: undefined, bos: 1, eos: 2 },
} as const;

const architectures = { qwen2: 'Qwen2ForCausalLM', qwen3: 'Qwen3ForCausalLM', llama: 'LlamaForCausalLM' } as const;

/** A size in tensor elements; no model has one of 2^31. */
const size = (min = 1) => integer({ min, max: 2 ** 31 - 1 });

const shape = object({
  model_type: oneOf(families),
  architectures: anything,
  hidden_size: size(),
  // Bounded, since lists of this length are made. The deepest known model has 1,000.
  num_hidden_layers: integer({ min: 1, max: 10_000 }),
  num_attention_heads: size(),
  num_key_value_heads: optional(size()),
  head_dim: optional(size()),
  vocab_size: size(),
  intermediate_size: size(),
  max_position_embeddings: optional(size()),
  hidden_act: optional(oneOf(['silu', 'swish']), 'silu'),
  quantization_config: optional(anyObject),
  attention_bias: optional(flag, false),
  mlp_bias: optional(flag, false),
  tie_word_embeddings: optional(flag, false),
  rms_norm_eps: optional(number({ above: 0 }), 1e-6),
  initializer_range: optional(number({ above: 0 }), 0.02),
  bos_token_id: anything,
  eos_token_id: anything,
  pad_token_id: optional(integer()),
  dtype: optional(text),
  torch_dtype: optional(text),
});

/** Qwen's fields about sliding windows; transformers' Llama does not read them. */
const windowShape = object({
  layer_types: anything,
  use_sliding_window: optional(flag, false),
  sliding_window: optional(size()),
  max_window_layers: optional(size(0), 28),
});

/**
 * @param record the content of a `config.json`; `source` names it in errors.
 * @throws UserError that lists everything missing, malformed or unsupported.
 */
export function parseModelConfig(record: JsonRecord, source: string): ModelConfig {
  // A model of another type lacks most of the other fields; do not list them.
  check(object({ model_type: oneOf(families) }), record, { path: source });
  const problems: string[] = [];
  const fields = collect(shape, record, problems);
  const config = fields && readConfig(fields, record, problems);
  if (config === undefined || problems.length > 0) throw wrong({ path: source }, problems);
  return config;
}

function readConfig(
  fields: InferOutput<typeof shape>,
  record: JsonRecord,
  problems: string[],
): ModelConfig | undefined {
  const { model_type: family, hidden_size: hiddenSize, num_hidden_layers: layers, num_attention_heads: heads } = fields;
  const defaults = familyDefaults[family];
  // An explicit null means "as many as query heads"; an absent field means the family's default.
  const kvHeads =
    fields.num_key_value_heads ?? (record.num_key_value_heads === null ? heads : (defaults.kvHeads ?? heads));
  if (heads % kvHeads !== 0) {
    problems.push(`\`num_attention_heads\` (${heads}) is not a multiple of \`num_key_value_heads\` (${kvHeads})`);
  }
  const headDim = fields.head_dim ?? defaults.headDim ?? hiddenSize / heads;
  if (!Number.isInteger(headDim)) {
    problems.push(`\`hidden_size\` (${hiddenSize}) is not a multiple of \`num_attention_heads\` (${heads})`);
  } else if (headDim % 2 !== 0) {
    problems.push(`\`head_dim\` (${headDim}) must be even, since rotary embedding rotates pairs of channels`);
  }
  const vocabSize = fields.vocab_size;
  const maxPositions = fields.max_position_embeddings ?? defaults.maxPositions;
  refuseUnsupported(fields, problems);
  if (family !== 'llama') refuseSlidingWindow(record, layers, maxPositions, problems);
  // transformers' Qwen2 has fixed biases whatever `attention_bias` says; `mlp_bias` exists only for Llama.
  const attentionBias = family !== 'qwen2' && fields.attention_bias;
  // null means none; absent means the family's default.
  const ids = (name: 'bos_token_id' | 'eos_token_id', absent: number | undefined) =>
    readTokenIds(record[name] === undefined ? absent : record[name], name, vocabSize, problems);
  const rope = readRope(record, maxPositions, problems);
  const dtype = readDtype(fields.dtype ?? fields.torch_dtype ?? 'float32', problems);
  return (
    rope && {
      family,
      vocabSize,
      hiddenSize,
      layers,
      heads,
      kvHeads,
      headDim,
      ffnSize: fields.intermediate_size,
      rmsNormEps: fields.rms_norm_eps,
      tied: fields.tie_word_embeddings,
      qkvBias: family === 'qwen2' || attentionBias,
      outBias: attentionBias,
      mlpBias: family === 'llama' && fields.mlp_bias,
      qkNorm: family === 'qwen3',
      rope,
      maxPositions,
      bosTokenId: ids('bos_token_id', defaults.bos)[0] ?? null,
      eosTokenIds: ids('eos_token_id', defaults.eos),
      // Older Llama checkpoints use -1 for none.
      padTokenId: fields.pad_token_id === undefined || fields.pad_token_id < 0 ? null : fields.pad_token_id,
      initializerRange: fields.initializer_range,
      dtype,
    }
  );
}

/**
 * The ids in `value`, a number or a list; empty if absent. Also used for `generation_config.json`. Ids outside the
 * vocabulary are rejected: the model could never produce them, so generation would never end.
 */
export function readTokenIds(value: unknown, name: string, vocabSize: number, problems: string[]): number[] {
  const ids: unknown[] = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
  const isId = (id: unknown): id is number =>
    typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < vocabSize;
  const bad = ids.find((id) => !isId(id));
  if (bad !== undefined) {
    problems.push(`\`${name}\` must be an integer below \`vocab_size\` (${vocabSize}), not ${describe(bad)}`);
  }
  return [...new Set(ids.filter(isId))];
}

function readDtype(name: string, problems: string[]): Dtype {
  const plain = name.replace(/^torch\./, '');
  if (plain === 'auto') return 'float32';
  const dtype = dtypes.find((known) => known === plain);
  if (dtype === undefined) {
    problems.push(`\`dtype\` ${describe(plain)} is not supported (known: ${dtypes.join(', ')})`);
  }
  return dtype ?? 'float32';
}

function refuseUnsupported(
  { model_type: family, architectures: given, quantization_config: quantization }: InferOutput<typeof shape>,
  problems: string[],
): void {
  const expected = architectures[family];
  if (given !== undefined && !(Array.isArray(given) && (given.length === 0 || given.includes(expected)))) {
    problems.push(`\`architectures\` ${describe(given)} is not supported, only ["${expected}"] is`);
  }
  if (quantization !== undefined) {
    const method = describe(quantization.quant_method ?? 'unknown method');
    problems.push(`\`quantization_config\` (${method}) is not supported: use the unquantized checkpoint`);
  }
}

/** Accepts a sliding window only if it has no effect: disabled, on no layer, or at least as long as any sequence. */
function refuseSlidingWindow(record: JsonRecord, layers: number, maxPositions: number, problems: string[]): void {
  const fields = collect(windowShape, record, problems);
  if (fields === undefined) return;
  const { layer_types: types, use_sliding_window: on, max_window_layers: firstSliding } = fields;
  if (types !== undefined && !(Array.isArray(types) && types.length === layers)) {
    problems.push(`\`layer_types\` must list ${layers} layers, not ${describe(types)}`);
    return;
  }
  const unknown = types?.find((type: unknown) => type !== 'full_attention' && type !== 'sliding_attention');
  if (unknown !== undefined) problems.push(`\`layer_types\` entry ${describe(unknown)} is not supported`);

  const window = fields.sliding_window ?? (record.sliding_window === null ? Number.POSITIVE_INFINITY : 4096);
  const slides = types?.includes('sliding_attention') ?? (on && firstSliding < layers);
  if (slides && !(on && window >= maxPositions)) {
    problems.push(`a sliding window (\`use_sliding_window\`, \`sliding_window\` ${window}) is not supported`);
  }
}

/** The `config.json` of a model made here; {@link parseModelConfig} and transformers read it as the same config. */
export function modelConfigJson(config: ModelConfig): JsonRecord {
  const { rope } = config;
  if (rope.scaling.kind !== 'default') throw new Error('only models with plain rotary embedding can be created');
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
