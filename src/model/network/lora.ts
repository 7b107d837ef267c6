/**
 * @file Low-rank adapters (Hu et al., "LoRA", arXiv 2106.09685): y = x W^T + (alpha / r) (x A^T) B^T for the linear layers
 * of a model, with W frozen. Adapters lie among the parameters, as `<module>.lora_A.weight` `[r, in]` and
 * `<module>.lora_B.weight` `[out, r]`, so a forward pass with them is the same function of a larger record.
 */
import * as tf from '@tensorflow/tfjs-core';
import { linear } from '../../engine/ops/ops.js';
import type { TensorRecord } from '../../engine/program.js';
import type { Float } from '../../engine/shape.js';
import type { ModelConfig } from './config.js';
import { adapterNames, type LoraOptions, type LoraTarget } from './lora-options.js';
import { elementCount, type ParameterSpecs, parameterSpecs } from './params.js';

/** Where a record of parameters with adapters has alpha / rank, a float32 scalar. */
const scaleName = 'lora.scale';

/** Names without `.weight` of the layers that get adapters. */
export function adaptedModules(config: ModelConfig, targets: readonly LoraTarget[]): string[] {
  return Object.keys(parameterSpecs(config)).flatMap((name) => {
    const module = name.replace(/\.weight$/, '');
    return name !== module && targets.some((target) => module.endsWith(`.${target}`)) ? [module] : [];
  });
}

/** Shapes of all adapters, A and B of each layer in turn. */
export function adapterSpecs(config: ModelConfig, { rank, targets }: LoraOptions): ParameterSpecs {
  const specs = parameterSpecs(config);
  return Object.fromEntries(
    adaptedModules(config, targets).flatMap((module) => {
      const [outWidth, inWidth] = specs[`${module}.weight`] as [number, number];
      const { a, b } = adapterNames(module);
      return [
        [a, [rank, inWidth]],
        [b, [outWidth, rank]],
      ];
    }),
  );
}

/**
 * Starting values as PEFT has them: A uniform within ±1/sqrt(in), B zero, so that the adapted model is the base.
 *
 * @param uniform draws from [0, 1); a generator keyed by seed and name.
 */
export function initialAdapter(name: string, shape: readonly number[], uniform: () => number): Float32Array {
  const values = new Float32Array(elementCount(shape));
  if (name.endsWith('.lora_B.weight')) return values;
  const bound = 1 / Math.sqrt(shape[1]!);
  return values.map(() => bound * (2 * uniform() - 1));
}

/** `parameters` with the scale that their adapters need. Nothing is read before it is asked for. */
export function withAdapterScale(parameters: TensorRecord, { alpha, rank }: LoraOptions): TensorRecord {
  return Object.assign(Object.create(parameters), { [scaleName]: tf.scalar(alpha / rank) });
}

/**
 * What the adapter of `module` adds to its product with `x` `[..., in]`: `[..., out]`; undefined without an adapter, and in
 * a record without the scale, whose weights are merged or the base's.
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

/** W + (alpha / r) B A of the weight called `name`, as one tensor. */
export function mergedTensor(state: TensorRecord, name: string, { alpha, rank }: LoraOptions): Float<'E D'> {
  const { a, b } = adapterNames(name.replace(/\.weight$/, ''));
  const product = tf.matMul(state[b] as tf.Tensor2D, state[a] as tf.Tensor2D);
  return tf.add(state[name]!, tf.mul(product, alpha / rank));
}
