/**
 * @file The parameters of a model and of its adapters: Hugging Face names, shapes, element counts, random initial values,
 * and merging on plain arrays. Imports no tensor library. A matrix is [out, in], as in PyTorch's Linear. Norm weights
 * multiply; biases add.
 */
import type { Freeze } from '../../engine/choices.js';
import type { ModelConfig } from './config.js';

/** Shape by parameter name. */
export type ParameterSpecs = Readonly<Record<string, readonly number[]>>;

export const embeddingName = 'model.embed_tokens.weight';
/** The embeddings of a pass's tokens, in a record whose gradients do not include that of the whole table. */
export const lookupName = 'embeddings';
export const headName = 'lm_head.weight';

/** The name of the output layer's weights. */
export const outputName = ({ tied }: Pick<ModelConfig, 'tied'>) => (tied ? embeddingName : headName);

/** All parameters in a checkpoint of this config, in layer order. A tied head is not listed. */
export function parameterSpecs(config: ModelConfig): ParameterSpecs {
  const { vocabSize: V, hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F } = config;
  const specs: Record<string, readonly number[]> = { [embeddingName]: [V, D] };
  const linear = (name: string, outSize: number, inSize: number, bias: boolean) => {
    specs[`${name}.weight`] = [outSize, inSize];
    if (bias) specs[`${name}.bias`] = [outSize];
  };
  for (let layer = 0; layer < config.layers; layer += 1) {
    const prefix = `model.layers.${layer}`;
    specs[`${prefix}.input_layernorm.weight`] = [D];
    linear(`${prefix}.self_attn.q_proj`, H * C, D, config.qkvBias);
    linear(`${prefix}.self_attn.k_proj`, K * C, D, config.qkvBias);
    linear(`${prefix}.self_attn.v_proj`, K * C, D, config.qkvBias);
    linear(`${prefix}.self_attn.o_proj`, D, H * C, config.outBias);
    if (config.qkNorm) {
      specs[`${prefix}.self_attn.q_norm.weight`] = [C];
      specs[`${prefix}.self_attn.k_norm.weight`] = [C];
    }
    specs[`${prefix}.post_attention_layernorm.weight`] = [D];
    linear(`${prefix}.mlp.gate_proj`, F, D, config.mlpBias);
    linear(`${prefix}.mlp.up_proj`, F, D, config.mlpBias);
    linear(`${prefix}.mlp.down_proj`, D, F, config.mlpBias);
  }
  specs['model.norm.weight'] = [D];
  if (!config.tied) specs[headName] = [V, D];
  return specs;
}

/** The parameters that training changes if it does not train adapters, in layer order. */
export function trainedSpecs(config: ModelConfig, freeze: Freeze = 'none'): ParameterSpecs {
  const isTrained = (name: string) => {
    if (freeze === 'none') return true;
    if (name === embeddingName || name === headName) return false;
    return freeze === 'embeddings' || !name.includes('.mlp.');
  };
  return Object.fromEntries(Object.entries(parameterSpecs(config)).filter(([name]) => isTrained(name)));
}

/** Number of elements in a tensor of this shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Number of trainable parameters. A tied head counts once. */
export function parameterCount(config: ModelConfig): number {
  return Object.values(parameterSpecs(config)).reduce((sum, shape) => sum + elementCount(shape), 0);
}

/**
 * Initial values of one parameter: 1 for norms, 0 for biases, normally distributed for matrices.
 *
 * @param uniform draws from [0, 1). Pass a generator keyed by seed and name, so that a parameter's values do not depend on
 *   which other parameters are made.
 * @param deviation standard deviation of a matrix; see {@link fanInDeviation} for one that suits small models.
 * @returns float32, row-major.
 */
export function initialParameter(
  name: string,
  shape: readonly number[],
  deviation: number,
  uniform: () => number,
): Float32Array {
  const values = new Float32Array(elementCount(shape));
  if (name.endsWith('.bias')) return values;
  if (shape.length === 1) return values.fill(1);
  // Box and Muller (1958): two normal numbers from two uniform ones. 1 - u keeps the logarithm finite at u = 0.
  for (let i = 0; i < values.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/**
 * Standard deviation 1/sqrt(fan-in) for matrices; the two that write into the residual stream are also divided by
 * sqrt(2 · layers), so that its variance does not grow with depth (Radford et al. 2019). Embedding and head get the
 * config's initializer_range.
 */
export function fanInDeviation(name: string, shape: readonly number[], config: ModelConfig): number {
  if (name === embeddingName || name === headName) return config.initializerRange;
  const writesResidual = /\.(o_proj|down_proj)\.weight$/.test(name);
  return 1 / Math.sqrt(shape.at(-1)! * (writesResidual ? 2 * config.layers : 1));
}

/** The linear layers that can have adapters, by the last part of their name. */
export const loraTargets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;
export type LoraTarget = (typeof loraTargets)[number];

export interface LoraOptions {
  readonly rank: number;
  /** The adapter's output is multiplied by alpha / rank. */
  readonly alpha: number;
  readonly targets: readonly LoraTarget[];
}

/** Names of the adapter of the linear layer `module`. */
export const adapterNames = (module: string) => ({ a: `${module}.lora_A.weight`, b: `${module}.lora_B.weight` });

/** W + (alpha / r) B A, row-major. Computed in float64 and rounded once. */
export function mergedWeight(
  weight: Float32Array,
  a: Float32Array,
  b: Float32Array,
  { alpha, rank }: Pick<LoraOptions, 'alpha' | 'rank'>,
): Float32Array {
  const [outWidth, inWidth] = [b.length / rank, a.length / rank];
  const merged = new Float32Array(weight.length);
  const row = new Float64Array(inWidth);
  for (let i = 0; i < outWidth; i += 1) {
    row.fill(0);
    for (let k = 0; k < rank; k += 1) {
      const factor = (alpha / rank) * b[i * rank + k]!;
      if (factor === 0) continue;
      for (let j = 0; j < inWidth; j += 1) row[j]! += factor * a[k * inWidth + j]!;
    }
    for (let j = 0; j < inWidth; j += 1) merged[i * inWidth + j] = weight[i * inWidth + j]! + row[j]!;
  }
  return merged;
}
