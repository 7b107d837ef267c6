/**
 * @file Weights in half the memory, as bfloat16. Decoding few rows takes about as long as reading the weights, so samplers
 * with precision bf16 have their large matrices so. Where the same program trains, its own weights stay float32 (at a
 * learning rate of 1e-5 most numbers of a bfloat16 would never move), and the sampler gets rounded copies.
 */

import type { Precision } from '../../engine/choices.js';
import { largeWeight } from '../../engine/ops/ops.js';
import type { FunctionSpec, StateSpec, TensorRecord } from '../../engine/program.js';
import type { ModelConfig } from '../network/config.js';
import { mergedTensor } from '../network/lora.js';
import type { LoraOptions } from '../network/lora-options.js';
import { elementCount, parameterSpecs } from '../network/params.js';

/** The parameters as state of a program that does not train them; those that `isNarrow` as bfloat16, if they are large. */
export function narrowState(config: ModelConfig, isNarrow: (name: string) => boolean): Record<string, StateSpec> {
  const entries = Object.entries(parameterSpecs(config)).map(([name, shape]): [string, StateSpec] => {
    const narrow = shape.length === 2 && elementCount(shape) >= largeWeight && isNarrow(name);
    return [name, { dtype: 'float32', shape, ...(narrow && { stored: 'bf16' }) }];
  });
  return Object.fromEntries(entries);
}

/** The parameters as state of a program that only computes with them, in this precision. */
export function frozenState(config: ModelConfig, precision: Precision): Record<string, StateSpec> {
  return narrowState(config, () => precision === 'bf16');
}

const copyPrefix = 'sampler.';

/** Copies for the sampler of a program that trains: none in float32. */
export function samplerCopies(config: ModelConfig, precision: Precision): Record<string, StateSpec> {
  const stored = Object.entries(frozenState(config, precision)).filter(([, spec]) => spec.stored !== undefined);
  return Object.fromEntries(stored.map(([name, spec]) => [`${copyPrefix}${name}`, spec]));
}

/** `functions` on the copies, where there are any. */
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

/** What the functions see under a parameter's name is its copy; nothing is read before it is asked for. */
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
 * Brings the copies up to date with the parameters: with adapters, merged into the weights that have them.
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
