/**
 * @file Weights stored as bfloat16, in half the memory. Decoding a few rows takes about as long as reading the weights, so
 * samplers with precision bf16 store large matrices in this form. If the same program trains, its weights stay float32 (at a
 * learning rate of 1e-5, most bfloat16 values would never change) and the sampler uses rounded copies.
 */
import type { Precision } from '../../engine/choices.js';
import { largeWeight } from '../../engine/ops/ops.js';
import type { FunctionSpec, StateSpec, TensorRecord } from '../../engine/program.js';
import type { ModelConfig } from '../network/config.js';
import { mergedTensor, withAdapterScale } from '../network/lora.js';
import type { LoraOptions } from '../network/lora-options.js';
import { elementCount, parameterSpecs } from '../network/params.js';

/** The parameters as state of a program that does not train them. Large ones for which `isNarrow` holds are bfloat16. */
export function narrowState(config: ModelConfig, isNarrow: (name: string) => boolean): Record<string, StateSpec> {
  const entries = Object.entries(parameterSpecs(config)).map(([name, shape]): [string, StateSpec] => {
    const narrow = shape.length === 2 && elementCount(shape) >= largeWeight && isNarrow(name);
    return [name, { dtype: 'float32', shape, ...(narrow && { stored: 'bf16' }) }];
  });
  return Object.fromEntries(entries);
}

/** The parameters as state of a program that does not train them, in the given precision. */
export function frozenState(config: ModelConfig, precision: Precision): Record<string, StateSpec> {
  return narrowState(config, () => precision === 'bf16');
}

const copyPrefix = 'sampler.';

/** The sampler's copies in a program that trains; none with precision f32. */
export function samplerCopies(config: ModelConfig, precision: Precision): Record<string, StateSpec> {
  const stored = Object.entries(frozenState(config, precision)).filter(([, spec]) => spec.stored !== undefined);
  return Object.fromEntries(stored.map(([name, spec]) => [`${copyPrefix}${name}`, spec]));
}

/** Makes `functions` read the copies instead of the parameters, if there are any. */
export function onCopies(
  functions: Readonly<Record<string, FunctionSpec>>,
  copies: Readonly<Record<string, StateSpec>>,
): Record<string, FunctionSpec> {
  const entries = Object.entries(functions).map(([name, spec]): [string, FunctionSpec] => [
    name,
    { ...spec, body: (state, inputs) => spec.body(copiesFirst(state, copies), inputs) },
  ]);
  return Object.fromEntries(entries);
}

/** Makes `functions` add the adapters' terms to the products with the frozen weights. */
export function onAdapters(
  functions: Readonly<Record<string, FunctionSpec>>,
  lora: LoraOptions,
): Record<string, FunctionSpec> {
  const entries = Object.entries(functions).map(([name, spec]): [string, FunctionSpec] => [
    name,
    { ...spec, body: (state, inputs) => spec.body(withAdapterScale(state, lora), inputs) },
  ]);
  return Object.fromEntries(entries);
}

/** A record in which each copy replaces its parameter. Tensors are read on access. */
function copiesFirst(state: TensorRecord, copies: Readonly<Record<string, StateSpec>>): TensorRecord {
  const view = {};
  for (const name of Object.keys(state)) {
    const copy = `${copyPrefix}${name}`;
    const source = copy in copies ? copy : name;
    Object.defineProperty(view, name, { enumerable: true, get: () => state[source] });
  }
  return view;
}

/**
 * Updates the copies from the parameters, merging adapters into the weights that have them.
 *
 * @param lora absent where the parameters have no adapters.
 */
export function copyFunction(copies: Readonly<Record<string, StateSpec>>, lora?: LoraOptions): FunctionSpec {
  const current = (state: TensorRecord, name: string) =>
    lora === undefined ? state[name]! : mergedTensor(state, name, lora);
  return {
    inputs: {},
    body: (state) => ({
      assign: Object.fromEntries(
        Object.keys(copies).map((copy) => [copy, current(state, copy.slice(copyPrefix.length))]),
      ),
    }),
  };
}
