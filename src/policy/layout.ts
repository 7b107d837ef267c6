/**
 * @file The state of a program that trains, by purpose: its tensors, and loading and reading them, one at a time. Training
 * all weights needs the weights, the reference, two moments and the gradient. Training adapters needs the frozen weights,
 * which are also the reference, and the adapters with their moments and gradients.
 */
import type { Freeze, WeightForm } from '../engine/choices.js';
import * as adamw from '../engine/optim/adamw.js';
import type { FloatState, FunctionSpecs, Program, TensorRecord } from '../engine/program.js';
import { sizeOf } from '../engine/shape.js';
import { processorRoom, type Room, samplingSizes, stateBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { adaptedModules, adapterSpecs, initialAdapter, withAdapterScale } from '../model/network/lora.js';
import type { LoraOptions } from '../model/network/params.js';
import { type ParameterSpecs, parameterCount, trainedSpecs } from '../model/network/params.js';
import type { CacheSizes } from '../model/sampling/kv-cache.js';
import { cacheState } from '../model/sampling/kv-cache.js';
import { type FormOf, frozenState, samplerCopies, storedState } from '../model/sampling/weights.js';
import { keyedRandom } from '../util/random.js';

/** Sizes fixed when the program is built; shorter inputs are padded. */
export interface PolicySizes {
  /** Length in tokens of each prompt. */
  readonly promptLengths: readonly number[];
  /** Number of tokens that all prompts start with; less than any prompt's length. Default 0. */
  readonly sharedPrefix?: number;
  readonly maxNewTokens: number;
  /** Completions decoded together, memory permitting. */
  readonly slots: number;
  /** Completions of an update. Default: `slots`. */
  readonly batch?: number | undefined;
}

interface LayoutOptions {
  /** How the sampler's large matrices are stored. */
  readonly form: WeightForm;
  /** Processes that train together. Each keeps the moments of some of the tensors. Default 1. */
  readonly replicas?: number;
  /** Forms in which frozen weights are stored in 2 bytes without loss. Default: none. */
  readonly formOf?: FormOf | undefined;
  /** Whether a sampler with float32 weights is stored so as well. Default: false. */
  readonly readsHalves?: boolean | undefined;
  readonly lora?: LoraOptions | undefined;
  /** Weights that are not trained. Default: none. Their values are those of the reference too. */
  readonly freeze?: Freeze | undefined;
  /** Default: that of a processor. */
  readonly room?: Room;
  /** What the loss compares the policy with. Default: the reference. */
  readonly anchor?: 'reference' | 'sampler' | undefined;
}

/**
 * Caches may take half of the memory of the float32 weights, and at least this much. Beyond that, more rows hardly help. With
 * adapters they may take less, since the weights are stored in half as many bytes: at 135M parameters, sampling with 36 slots
 * instead of 72 takes a quarter more time (docs/log.md).
 */
const leastCacheBytes = { all: 2 ** 28, adapters: 2 ** 26 } as const;
const cacheBytesPerParameter = { all: 2, adapters: 4 / 3 } as const;

/** The state of training, for every kind of data. */
export interface TrainingLayout {
  /** Names and shapes of the trained tensors. */
  readonly trained: ParameterSpecs;
  /** The model's parameters; with adapters frozen, as they are stored. */
  readonly parameters: FloatState;
  /** Empty without adapters. */
  readonly adapters: FloatState;
  readonly moments: FloatState;
  /** Sums of the passes of an update. */
  readonly gradients: FloatState;
}

export interface PolicyLayout extends TrainingLayout {
  readonly sizes: CacheSizes;
  /** State of a policy that is only sampled from. */
  readonly samplingOnly: FloatState;
  /** Weights for the sampler, in the form that it reads fastest; empty if it reads the parameters and adapters directly. */
  readonly copies: FloatState;
  readonly caches: FloatState;
  /** Separate reference weights of the trained parameters; empty with adapters and where there is no reference. */
  readonly reference: FloatState;
}

export function trainingLayout(
  config: ModelConfig,
  {
    formOf = () => undefined,
    lora,
    freeze,
    replicas = 1,
  }: Pick<LayoutOptions, 'formOf' | 'lora' | 'freeze' | 'replicas'>,
): TrainingLayout {
  const trained = lora === undefined ? trainedSpecs(config, freeze) : adapterSpecs(config, lora);
  const trainedState = floatSpecs(trained);
  const weights = storedState(config, formOf);
  return {
    trained,
    ...(lora === undefined
      ? { parameters: { ...weights, ...trainedState }, adapters: {} }
      : { parameters: weights, adapters: trainedState }),
    moments: momentsOf(trainedState, trained, replicas),
    gradients: renamed(trainedState, gradientName),
  };
}

/**
 * The replica that updates each trained tensor and keeps its moments. Tensors are assigned from the largest to the smallest,
 * each to the replica with the fewest numbers so far, so that all have about the same number.
 */
export function ownersOf(trained: ParameterSpecs, replicas: number): ReadonlyMap<string, number> {
  const loads = new Array<number>(replicas).fill(0);
  const bySize = Object.entries(trained).sort(([, a], [, b]) => sizeOf(b) - sizeOf(a));
  return new Map(
    bySize.map(([name, shape]) => {
      const owner = loads.indexOf(Math.min(...loads));
      loads[owner]! += sizeOf(shape);
      return [name, owner];
    }),
  );
}

function momentsOf(state: FloatState, trained: ParameterSpecs, replicas: number): FloatState {
  if (replicas === 1) return adamw.optimizerState(state);
  return Object.fromEntries(
    [...ownersOf(trained, replicas)].flatMap(([name, replica]) => {
      const { m, v } = adamw.momentNames(name);
      const spec = { ...state[name]!, replica };
      return [
        [m, spec],
        [v, spec],
      ];
    }),
  );
}

export function policyLayout(
  config: ModelConfig,
  { promptLengths, sharedPrefix, maxNewTokens, slots, batch }: PolicySizes,
  {
    form,
    formOf = () => undefined,
    readsHalves,
    lora,
    freeze,
    anchor,
    replicas = 1,
    room = processorRoom,
  }: LayoutOptions,
): PolicyLayout {
  const trains = lora === undefined ? 'all' : 'adapters';
  const usual = Math.min(
    2 ** 30,
    Math.max(leastCacheBytes[trains], cacheBytesPerParameter[trains] * parameterCount(config)),
  );
  const maxCacheBytes = room.cacheBytes ?? usual;
  const prompts = { promptLengths, sharedPrefix };
  const sizes = samplingSizes(config, {
    ...prompts,
    rollouts: slots,
    batch,
    maxNewTokens,
    maxSlots: slots,
    maxCacheBytes,
    room,
  });
  const samplingOnly = frozenState(config, form, readsHalves ? formOf : undefined);
  const shared = {
    ...trainingLayout(config, { formOf, lora, freeze, replicas }),
    sizes,
    samplingOnly,
    caches: cacheState(config, sizes),
  };
  const frozen = frozenNames(shared);
  const isStored = (name: string) => shared.parameters[name]!.stored !== undefined;
  if (lora !== undefined) {
    const adapted = adaptedModules(config, lora.targets).map((module) => `${module}.weight`);
    const copies = samplerCopies(config, form, { frozen, merged: adapted });
    // Unmerged, float32 weights would be rounded to bfloat16 at every step of sampling. Copies in bytes are small anyway.
    const mustMerge = form === 'int8' || (form === 'bf16' && !adapted.every(isStored));
    const merges = mustMerge || stateBytes(copies) <= room.mergedBytes;
    return { ...shared, copies: merges ? copies : {}, reference: {} };
  }
  return {
    ...shared,
    copies: samplerCopies(config, form, { frozen: frozen.filter(isStored) }),
    reference: anchor === 'sampler' ? {} : renamed(without(storedState(config, formOf), frozen), referenceName),
  };
}

const referenceName = (name: string) => `ref.${name}`;
export const gradientName = (name: string) => `gradient.${name}`;

/** Names and shapes of the moments of the trained tensors. */
export function momentSpecsOf(trained: ParameterSpecs): ParameterSpecs {
  return Object.fromEntries(
    Object.entries(trained).flatMap(([name, shape]) => {
      const { m, v } = adamw.momentNames(name);
      return [
        [m, shape],
        [v, shape],
      ];
    }),
  );
}

/** The reference's parameters in `state`, by their Hugging Face names. */
export function referenceOf(state: TensorRecord, layout: PolicyLayout): TensorRecord {
  const hasOwn = (name: string) => Object.hasOwn(layout.reference, referenceName(name));
  return pick(state, Object.keys(layout.parameters), (name) => (hasOwn(name) ? referenceName(name) : name));
}

/** Names of the parameters that are not trained. */
const frozenNames = ({ parameters, trained }: Pick<TrainingLayout, 'parameters' | 'trained'>) =>
  Object.keys(parameters).filter((name) => !Object.hasOwn(trained, name));

/** The untrained parameters. */
export function frozenOf(state: TensorRecord, layout: TrainingLayout, lora: LoraOptions | undefined): TensorRecord {
  const frozen = pick(state, frozenNames(layout));
  return lora === undefined ? frozen : withAdapterScale(frozen, lora);
}

export { referenceName };

/** The tensors of `state` named `names`, each read on access. */
export function pick(
  state: TensorRecord,
  names: readonly string[],
  rename: (name: string) => string = (name) => name,
): TensorRecord {
  const view = {};
  for (const name of names) {
    Object.defineProperty(view, name, { enumerable: true, get: () => state[rename(name)] });
  }
  return view;
}

function floatSpecs(specs: ParameterSpecs): FloatState {
  return Object.fromEntries(Object.entries(specs).map(([name, shape]) => [name, { dtype: 'float32', shape }]));
}

function shapesOf(state: FloatState): ParameterSpecs {
  return Object.fromEntries(Object.entries(state).map(([name, { shape }]) => [name, shape]));
}

function without<T>(record: Readonly<Record<string, T>>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)));
}

function renamed<T>(record: Readonly<Record<string, T>>, rename: (name: string) => string): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [rename(name), value]));
}

/** Returns a parameter's values, float32 and row-major, by its Hugging Face name. */
export type ReadTensor = (name: string) => Float32Array;

export interface TrainedState {
  /** Names and shapes of the trained tensors: all parameters, those that are not frozen, or the adapters. */
  readonly specs: ParameterSpecs;
  /** Names and shapes of the tensors of a saved model: all parameters, or the adapters. */
  readonly saved: ParameterSpecs;
  /** Names and shapes of the optimiser's moments. */
  readonly momentSpecs: ParameterSpecs;
  /** Writes every parameter of the model. Adapters get their initial values, which leave the model unchanged. */
  load(read: ReadTensor): void;
  /** Writes the trained tensors, by the names of `specs`. */
  loadTrained(read: ReadTensor): void;
  /** Writes the moments; without `read`, zeros. */
  loadMoments(read?: ReadTensor): void;
  /** A copy of a trained parameter or moment. */
  read(name: string): Float32Array;
}

/** @param lora absent if all weights are trained. @param seed of the adapters' initial values. */
export function trainedState(
  program: Pick<Program<FunctionSpecs, FloatState>, 'write' | 'fill' | 'read'>,
  layout: Pick<TrainingLayout, 'trained' | 'parameters'>,
  { lora, seed }: { readonly lora: LoraOptions | undefined; readonly seed: number },
): TrainedState {
  const momentSpecs = momentSpecsOf(layout.trained);
  const writeAll = (names: readonly string[], read: ReadTensor) => {
    for (const name of names) program.write(name, read(name));
  };
  const loadTrained = (read: ReadTensor) => writeAll(Object.keys(layout.trained), read);
  return {
    specs: layout.trained,
    saved: lora === undefined ? shapesOf(layout.parameters) : layout.trained,
    momentSpecs,
    load(read) {
      writeAll(Object.keys(layout.parameters), read);
      if (lora === undefined) return;
      loadTrained((name) => initialAdapter(name, layout.trained[name]!, keyedRandom(seed, 'adapter', name).uniform));
    },
    loadTrained,
    loadMoments(read) {
      if (read !== undefined) writeAll(Object.keys(momentSpecs), read);
      else for (const name of Object.keys(momentSpecs)) program.fill(name, 0);
    },
    read: (name) => program.read(name),
  };
}
