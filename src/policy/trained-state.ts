/**
 * @file Loads and reads the state of training in a program: parameters, adapters and moments. Tensors are copied one at a time.
 */
import { floats, type Program } from '../engine/program.js';
import { initialAdapter } from '../model/network/lora.js';
import type { LoraOptions } from '../model/network/lora-options.js';
import type { ParameterSpecs } from '../model/network/params.js';
import { keyedRandom } from '../util/random.js';
import { momentSpecsOf, type TrainingLayout } from './layout.js';

/** Returns a parameter's values, float32 and row-major, by its Hugging Face name. */
export type ReadTensor = (name: string) => Float32Array;

export interface TrainedState {
  /** Names and shapes of the trained tensors: all parameters, or the adapters. */
  readonly specs: ParameterSpecs;
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
  program: Program,
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
    read: (name) => floats(program.read(name)),
  };
}
