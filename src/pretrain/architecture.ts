/**
 * @file The built-in models' architecture: Qwen2 at its smallest, so that every library that knows Qwen2 loads it.
 */
import { type ModelConfig, parseModelConfig } from '../model/network/config.js';
import { eosId, padId } from './vocabulary.js';

/** 413,280 parameters; see the model card for how this size was found. */
export function builtinArchitecture(): ModelConfig {
  return parseModelConfig(
    {
      model_type: 'qwen2',
      // Beyond the alphabet's pieces, to a round number; the rest is never drawn, since it is never a target.
      vocab_size: 64,
      hidden_size: 96,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      intermediate_size: 256,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      tie_word_embeddings: true,
      max_position_embeddings: 256,
      eos_token_id: eosId,
      pad_token_id: padId,
      initializer_range: 0.02,
      torch_dtype: 'bfloat16',
    },
    'the built-in architecture',
  );
}

/** Peak learning rate of pre-training. */
export const pretrainLearningRate = 3e-3;
