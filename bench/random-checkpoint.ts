/** @file A checkpoint of a real size whose weights are random numbers: Qwen2.5-0.5B's own config, for what takes time and memory. */
import { parseModelConfig } from '../src/model/config.js';
import { elementCount, parameterSpecs } from '../src/model/params.js';
import { savePretrained } from '../src/model/save.js';
import { seededUniform } from './measure.js';

/** config.json of Qwen/Qwen2.5-0.5B. */
export const qwenHalfBillion = {
  architectures: ['Qwen2ForCausalLM'],
  ...{ attention_dropout: 0, bos_token_id: 151643, eos_token_id: 151643, hidden_act: 'silu', hidden_size: 896 },
  ...{ initializer_range: 0.02, intermediate_size: 4864, max_position_embeddings: 32768, max_window_layers: 24 },
  ...{ model_type: 'qwen2', num_attention_heads: 14, num_hidden_layers: 24, num_key_value_heads: 2 },
  ...{ rms_norm_eps: 1e-6, rope_theta: 1e6, sliding_window: 32768, tie_word_embeddings: true },
  ...{ torch_dtype: 'bfloat16', use_cache: true, use_sliding_window: false, vocab_size: 151936 },
};

/**
 * Writes a bfloat16 checkpoint (1 GB) with uniform weights of the standard deviation of Qwen's own initialisation, and the
 * tokenizer files of `carryFrom`.
 */
export async function writeRandomCheckpoint(target: string, carryFrom?: string): Promise<void> {
  const specs = parameterSpecs(parseModelConfig(qwenHalfBillion, 'config.json'));
  const uniform = seededUniform(1);
  const halfWidth = qwenHalfBillion.initializer_range * Math.sqrt(3);
  await savePretrained(target, {
    configRecord: qwenHalfBillion,
    ...(carryFrom !== undefined && { carryFrom }),
    specs,
    dtype: 'bfloat16',
    read(name) {
      const shape = specs[name] as readonly number[];
      const values = new Float32Array(elementCount(shape));
      if (name.endsWith('norm.weight')) return values.fill(1);
      for (let i = 0; i < values.length; i++) values[i] = (2 * uniform() - 1) * halfWidth;
      return values;
    },
  });
}
