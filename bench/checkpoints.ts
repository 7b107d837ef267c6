/**
 * @file Hugging Face folders with random weights, for benchmarks at sizes for which no model is shipped. All sides of
 * a comparison read the same folder.
 */
import { fileURLToPath } from 'node:url';
import type { Dtype } from '../src/model/checkpoint/dtype.js';
import { savePretrained } from '../src/model/checkpoint/save.js';
import { type ModelConfig, parseModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import type { JsonRecord } from '../src/util/json.js';
import { seededUniform } from './measure.js';

export interface ModelSize {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly ffn: number;
  readonly vocabulary: number;
}

/** 25 million parameters. */
export const medium: ModelSize = { layers: 8, width: 512, heads: 8, kvHeads: 4, ffn: 1536, vocabulary: 4096 };

/** config.json of a Qwen2 model with tied embeddings. */
export function qwen2Record(size: ModelSize): JsonRecord {
  return {
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    hidden_act: 'silu',
    initializer_range: 0.02,
    num_hidden_layers: size.layers,
    hidden_size: size.width,
    num_attention_heads: size.heads,
    num_key_value_heads: size.kvHeads,
    intermediate_size: size.ffn,
    vocab_size: size.vocabulary,
    tie_word_embeddings: true,
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
  };
}

export function qwen2Config(size: ModelSize): ModelConfig {
  return parseModelConfig(qwen2Record(size), 'the benchmark');
}

/** config.json of SmolLM2-135M. */
export const smolRecord: JsonRecord = {
  model_type: 'llama',
  hidden_act: 'silu',
  num_hidden_layers: 30,
  hidden_size: 576,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  intermediate_size: 1536,
  vocab_size: 49_152,
  tie_word_embeddings: true,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
};

/** A folder with a byte-level tokenizer, which can spell every problem. */
export const byteLevelTokenizer = fileURLToPath(new URL('../../test/fixtures/qwen2-tied-f32', import.meta.url));

/** config.json of Qwen/Qwen2.5-0.5B. */
export const qwenHalfBillion: JsonRecord = {
  architectures: ['Qwen2ForCausalLM'],
  attention_dropout: 0,
  bos_token_id: 151643,
  eos_token_id: 151643,
  hidden_act: 'silu',
  hidden_size: 896,
  initializer_range: 0.02,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 24,
  model_type: 'qwen2',
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  sliding_window: 32768,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  use_cache: true,
  use_sliding_window: false,
  vocab_size: 151936,
};

/** config.json of deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B, whose embeddings are not tied. */
export const r1Distill: JsonRecord = {
  ...qwenHalfBillion,
  hidden_size: 1536,
  intermediate_size: 8960,
  max_position_embeddings: 131072,
  max_window_layers: 28,
  num_attention_heads: 12,
  num_hidden_layers: 28,
  rope_theta: 10000,
  sliding_window: 131072,
  tie_word_embeddings: false,
};

/**
 * Writes uniform weights with the standard deviation of the config's initializer_range; norms are 1.
 * Copies the tokenizer files of `carryFrom`.
 */
export async function saveRandomModel(
  folder: string,
  configRecord: JsonRecord,
  dtype: Dtype,
  carryFrom?: string,
): Promise<void> {
  const config = parseModelConfig(configRecord, 'the benchmark');
  const specs = parameterSpecs(config);
  const uniform = seededUniform(1);
  const halfWidth = config.initializerRange * Math.sqrt(3);
  await savePretrained(folder, {
    configRecord,
    specs,
    dtype,
    ...(carryFrom !== undefined && { carryFrom }),
    read(name) {
      const values = new Float32Array(elementCount(specs[name] as readonly number[]));
      if (name.endsWith('norm.weight')) return values.fill(1);
      for (let i = 0; i < values.length; i++) values[i] = (2 * uniform() - 1) * halfWidth;
      return values;
    },
  });
}
