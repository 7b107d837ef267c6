/**
 * @file Low-rank adapters (Hu et al., "LoRA", arXiv 2106.09685): y = x W^T + (alpha / r) (x A^T) B^T for linear layers, with
 * W frozen. Adapters are entries of the parameter record, `<module>.lora_A.weight` `[r, in]` and `<module>.lora_B.weight`
 * `[out, r]`, so the same forward pass serves models with and without them.
 */
import * as tf from '@tensorflow/tfjs-core';
import { matMul } from '../../engine/ops/gradient.js';
import { linear } from '../../engine/ops/ops.js';
import type { TensorRecord } from '../../engine/program.js';
import { type Float, take } from '../../engine/shape.js';
import type { ModelConfig } from './config.js';
import {
  adapterNames,
  elementCount,
  type LoraOptions,
  type LoraTarget,
  type ParameterSpecs,
  parameterSpecs,
} from './params.js';

/** Name of alpha / rank, a float32 scalar, in a parameter record with adapters. */
const scaleName = 'lora.scale';

/** Names, without `.weight`, of the layers that get adapters. */
export function adaptedModules(config: ModelConfig, targets: readonly LoraTarget[]): string[] {
  return Object.keys(parameterSpecs(config)).flatMap((name) => {
    const module = name.replace(/\.weight$/, '');
    return name !== module && targets.some((target) => module.endsWith(`.${target}`)) ? [module] : [];
  });
}

/** Shapes of all adapters: A and B of each layer. */
export function adapterSpecs(config: ModelConfig, { rank, targets }: LoraOptions): ParameterSpecs {
  const specs = parameterSpecs(config);
  return Object.fromEntries(
    adaptedModules(config, targets).flatMap((module) => {
      const [outWidth, inWidth] = take(specs[`${module}.weight`]!, 2);
      const { a, b } = adapterNames(module);
      return [
        [a, [rank, inWidth]],
        [b, [outWidth, rank]],
      ];
    }),
  );
}

/**
 * Initial values as in PEFT: A uniform within ±1/sqrt(in) and B zero, so that the adapted model equals its base.
 *
 * @param uniform draws from [0, 1); a generator keyed by seed and name.
 */
export function initialAdapter(name: string, shape: readonly number[], uniform: () => number): Float32Array {
  const values = new Float32Array(elementCount(shape));
  if (name.endsWith('.lora_B.weight')) return values;
  const bound = 1 / Math.sqrt(shape[1]!);
  return values.map(() => bound * (2 * uniform() - 1));
}

/** `parameters` with the scale of their adapters added. Tensors are read on access. */
export function withAdapterScale(parameters: TensorRecord, { alpha, rank }: LoraOptions): TensorRecord {
  return Object.assign(Object.create(parameters), { [scaleName]: tf.scalar(alpha / rank) });
}

/**
 * The adapter's contribution to the output of `module` for `x` `[..., in]`: `[..., out]`. Undefined without an adapter, and in
 * a record without the scale, whose weights are either merged or the base's.
 */
export function adapterTerm(parameters: TensorRecord, module: string, x: Float<'... D'>): Float<'... E'> | undefined {
  const { a, b } = adapterNames(module);
  const [A, B] = [parameters[a], parameters[b]];
  const scale = parameters[scaleName];
  if (A === undefined || B === undefined || scale === undefined) return undefined;
  return linear(tf.mul(linear(x, A), scale), B);
}

export function hasAdapters(parameters: TensorRecord): boolean {
  return scaleName in parameters;
}

/** Whether the weight `name` has an adapter. */
export function hasAdapter(state: TensorRecord, name: string): boolean {
  return adapterNames(name.replace(/\.weight$/, '')).a in state;
}

/** The merged weight `name`: W + (alpha / r) B A. */
export function mergedTensor(state: TensorRecord, name: string, { alpha, rank }: LoraOptions): Float<'E D'> {
  const { a, b } = adapterNames(name.replace(/\.weight$/, ''));
  const product = matMul(state[b]!, state[a]!);
  return tf.add(state[name]!, tf.mul(product, alpha / rank));
}
