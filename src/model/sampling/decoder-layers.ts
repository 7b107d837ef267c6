/**
 * @file The layers of a small model as one operation (engine/decoding-ops.ts), for decoding one position per slot.
 * Larger models are left to kv-cache.ts's composition: TensorFlow shares out every product of theirs among all threads.
 */
import { type CacheTensors, decoderLayers, type LayerWeights } from '../../engine/ops/decoding-ops.js';
import type { TensorRecord } from '../../engine/program.js';
import type { Float, Int } from '../../engine/shape.js';
import type { ModelConfig } from '../network/config.js';
import { hasAdapters } from '../network/lora.js';
import { type Angles, attentionScale } from '../network/transformer.js';

/** Weights of a layer up to which one core has it in its own cache, about: 4 MB. */
const mostWeights = 1 << 20;

/**
 * All layers for `x` `[B, D]` at `positions` (int32 `[B]`); `at` are their angles. `caches[l]` is layer l's, of S positions.
 *
 * @returns the hidden states before the final norm and the caches to assign; undefined where the layers must be composed.
 */
export function decodeLayers(
  parameters: TensorRecord,
  config: ModelConfig,
  S: number,
  x: Float<'B D'>,
  positions: Int<'B'>,
  at: Angles,
  caches: readonly CacheTensors[],
): { x: Float<'B D'>; caches: CacheTensors[] } | undefined {
  const { hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F } = config;
  if (2 * D * H * C + 2 * D * K * C + 3 * D * F > mostWeights || config.outBias || config.mlpBias) return undefined;
  if (hasAdapters(parameters)) return undefined;
  const [B] = positions.shape as [number];
  const angles = { positions, cos: at.cos.reshape([B, C / 2]), sin: at.sin.reshape([B, C / 2]) };
  const options = { kvHeads: K, length: S, scale: attentionScale(config), epsilon: config.rmsNormEps };
  const layers = caches.map((cache, layer) => ({ weights: layerWeights(parameters, config, layer), cache }));
  return decoderLayers(x, layers, angles, options);
}

function layerWeights(parameters: TensorRecord, config: ModelConfig, layer: number): LayerWeights {
  const get = (part: string) => parameters[`model.layers.${layer}.${part}`] as Float<'...'>;
  return {
    inputNorm: get('input_layernorm.weight'),
    q: get('self_attn.q_proj.weight'),
    k: get('self_attn.k_proj.weight'),
    v: get('self_attn.v_proj.weight'),
    o: get('self_attn.o_proj.weight'),
    postNorm: get('post_attention_layernorm.weight'),
    gate: get('mlp.gate_proj.weight'),
    up: get('mlp.up_proj.weight'),
    down: get('mlp.down_proj.weight'),
    ...(config.qkvBias && {
      biases: {
        qBias: get('self_attn.q_proj.bias'),
        kBias: get('self_attn.k_proj.bias'),
        vBias: get('self_attn.v_proj.bias'),
      },
    }),
    ...(config.qkNorm && {
      headNorms: { qNorm: get('self_attn.q_norm.weight'), kNorm: get('self_attn.k_norm.weight') },
    }),
  };
}
