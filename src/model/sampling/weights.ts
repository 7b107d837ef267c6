/**
 * @file Weights stored as bfloat16 or float16, in half the memory, or as bytes with a scale per row, in a quarter. Decoding a few rows
 * takes about as long as reading the weights, so samplers store large matrices in these forms. If the same program trains, its
 * weights stay float32 (at a learning rate of 1e-5, most bfloat16 values would never change) and the sampler uses copies.
 */
import type { Engine } from '../../engine/backend.js';
import type { WeightForm } from '../../engine/choices.js';
import { largeWeight } from '../../engine/ops/ops.js';
import type {
  FloatState,
  FunctionSpec,
  FunctionSpecs,
  HalfForm,
  StateSpec,
  TensorRecord,
} from '../../engine/program.js';
import type { Dtype } from '../checkpoint/dtype.js';
import type { ModelConfig } from '../network/config.js';
import { hasAdapter, mergedTensor, withAdapterScale } from '../network/lora.js';
import type { LoraOptions } from '../network/params.js';
import { elementCount, parameterSpecs } from '../network/params.js';
import { hasSmallLayers } from './kv-cache.js';

type FloatSpec = StateSpec<'float32'>;

/** The 2-byte form of a parameter that is not trained, by its name; undefined: float32. */
export type FormOf = (name: string) => HalfForm | undefined;

/**
 * The forms in which an engine stores frozen weights of a checkpoint in 2 bytes without loss. Every engine reads bfloat16 as it is
 * stored. Where float16 would be widened before each product, it stays float32.
 *
 * @param dtypeOf the checkpoint's formats. Default: all float32.
 */
export function exactForms(
  { readsHalves = false }: Pick<Engine, 'readsHalves'>,
  dtypeOf: (name: string) => Dtype = () => 'float32',
): FormOf {
  const forms = { float32: undefined, bfloat16: 'bf16', float16: readsHalves ? 'f16' : undefined } as const;
  return (name) => forms[dtypeOf(name)];
}

/**
 * The parameters as state of a program that does not train them, large ones in the given form.
 *
 * @param formOf replaces float32 by a form that is exact. Default: none.
 */
export function frozenState(
  config: ModelConfig,
  form: WeightForm,
  formOf: FormOf = () => undefined,
): Record<string, FloatSpec> {
  if (form !== 'int8') return storedState(config, form === 'bf16' ? () => form : formOf);
  // Layers that stay in a core's cache are not read from memory at every step, and are decoded by a native operation.
  const isRead = (name: string) => !(name.startsWith('model.layers.') && hasSmallLayers(config));
  return storedState(config, (name) => (isRead(name) ? 'int8' : undefined));
}

/** The parameters as state of a program that does not train them, large ones in the form that `formOf` gives. */
export function storedState(
  config: ModelConfig,
  formOf: (name: string) => StateSpec['stored'] | undefined,
): Record<string, FloatSpec> {
  const entries = Object.entries(parameterSpecs(config)).map(([name, shape]): [string, FloatSpec] => {
    const stored = shape.length === 2 && elementCount(shape) >= largeWeight ? formOf(name) : undefined;
    return [name, { dtype: 'float32', shape, ...(stored && { stored }) }];
  });
  return Object.fromEntries(entries);
}

const copyPrefix = 'sampler.';

/**
 * The sampler's copies of weights in a program that trains: those stored in another form, and those that adapters change.
 *
 * @param frozen names of the weights that are never trained. They stay as they are stored, unless bytes are wanted.
 * @param merged names of the weights that have adapters.
 */
export function samplerCopies(
  config: ModelConfig,
  form: WeightForm,
  { frozen, merged = [] }: { readonly frozen: readonly string[]; readonly merged?: readonly string[] },
): Record<string, FloatSpec> {
  const isCopied = (name: string, { stored }: FloatSpec) =>
    merged.includes(name) || (stored !== undefined && (stored === 'int8' || !frozen.includes(name)));
  const copied = Object.entries(frozenState(config, form)).filter(([name, spec]) => isCopied(name, spec));
  return Object.fromEntries(copied.map(([name, spec]) => [`${copyPrefix}${name}`, spec]));
}

/** Makes `functions` read the copies instead of the parameters, if there are any. */
export function onCopies<Functions extends FunctionSpecs>(functions: Functions, copies: FloatState): Functions {
  return onState(functions, (state) => copiesFirst(state, copies));
}

/** Makes `functions` add the adapters' terms to the products with the frozen weights. */
export function onAdapters<Functions extends FunctionSpecs>(functions: Functions, lora: LoraOptions): Functions {
  return onState(functions, (state) => withAdapterScale(state, lora));
}

function onState<Functions extends FunctionSpecs>(
  functions: Functions,
  view: (state: TensorRecord) => TensorRecord,
): Functions {
  const entries = Object.entries(functions).map(([name, spec]): [string, FunctionSpec] => [
    name,
    { ...spec, body: (state, inputs) => spec.body(view(state), inputs) },
  ]);
  return Object.fromEntries(entries) as Functions;
}

/** A record in which each copy replaces its parameter. Tensors are read on access. */
function copiesFirst(state: TensorRecord, copies: FloatState): TensorRecord {
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
export function copyFunction(copies: FloatState, lora?: LoraOptions): FunctionSpec {
  const current = (state: TensorRecord, name: string) =>
    lora === undefined || !hasAdapter(state, name) ? state[name]! : mergedTensor(state, name, lora);
  return {
    inputs: {},
    body: (state) => ({
      assign: Object.fromEntries(
        Object.keys(copies).map((copy) => [copy, current(state, copy.slice(copyPrefix.length))]),
      ),
    }),
  };
}
