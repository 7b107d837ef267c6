/**
 * @file The parts of a loaded model. Separate from the file of its interface, so that programs compiled against the
 * library need no types of the engine.
 */
import type { Engine } from '../engine/backend.js';
import type { Program } from '../engine/program.js';
import type { Reporter } from '../util/reporter.js';
import type { EngineRequest, OpenModel } from './open.js';

export interface ModelState extends OpenModel {
  readonly request: EngineRequest;
  readonly reporter: Reporter;
  /** Opened by the first call that computes. */
  engine: Engine | undefined;
  /**
   * The latest program, with the weights loaded. It is reused by calls of the same form; lengths are rounded up to 16 tokens,
   * so similar calls share a form. Another form needs a new program, which loads the weights again.
   */
  current: { readonly form: string; readonly program: Program } | undefined;
}

/** By the model that `loadModel` returned. */
export const states = new WeakMap<object, ModelState>();

/** Config, weights and tokenizer of a model. @throws RangeError when the model is closed. */
export function stateOf(model: object): ModelState {
  const state = states.get(model);
  if (state === undefined) throw new RangeError('this model is closed');
  return state;
}
