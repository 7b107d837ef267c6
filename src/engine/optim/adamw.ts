/**
 * @file AdamW over records keyed by parameter name (Loshchilov and Hutter, arXiv 1711.05101; with the arithmetic of
 * torch.optim.AdamW), and clipping of the gradients' global norm as in torch.nn.utils.clip_grad_norm_.
 */
import * as tf from '@tensorflow/tfjs-core';
import { adamW, sumOfSquares } from '../ops/state-ops.js';
import type { TensorRecord, TensorSpec, TensorSpecs, TensorsOf } from '../program.js';
import type { AdamWOptions } from './settings.js';

/** Names of the moments of parameter `name` in a program's state. */
export const momentNames = (name: string) => ({ m: `adamw.m.${name}`, v: `adamw.v.${name}` });

/** The optimiser's state: two moments per parameter, zero at the start. */
export function optimizerState<Spec extends TensorSpec>(
  parameters: Readonly<Record<string, Spec>>,
): Record<string, Spec> {
  const state: Record<string, Spec> = {};
  for (const [name, spec] of Object.entries(parameters)) {
    const { m, v } = momentNames(name);
    state[m] = spec;
    state[v] = spec;
  }
  return state;
}

/** Inputs of a function that calls {@link update}: float32 scalars, computed by {@link stepScalars}. */
export const stepInputs = {
  learningRate: { dtype: 'float32', shape: [] },
  beta1Power: { dtype: 'float32', shape: [] },
  beta2Power: { dtype: 'float32', shape: [] },
  epsilon: { dtype: 'float32', shape: [] },
  decay: { dtype: 'float32', shape: [] },
} as const satisfies TensorSpecs;

/** The scalars of step `step` (1 for the first), computed in double precision. */
export function stepScalars(
  step: number,
  learningRate: number,
  options: AdamWOptions,
): Record<keyof typeof stepInputs, Float32Array> {
  const beta2Power = options.beta2 ** step;
  return {
    learningRate: Float32Array.of(learningRate),
    beta1Power: Float32Array.of(options.beta1 ** step),
    beta2Power: Float32Array.of(beta2Power),
    epsilon: Float32Array.of(options.epsilon * Math.sqrt(1 - beta2Power)),
    decay: Float32Array.of(learningRate * options.weightDecay),
  };
}

/**
 * One step for every parameter in `gradients`.
 *
 * @param state the program's state, as the body receives it; @param scalars the tensors of {@link stepInputs}.
 * @param scale a scalar factor of all gradients, see {@link clipScale}.
 * @returns the new values of parameters and moments, which the body must assign.
 */
export function update(
  state: TensorRecord,
  gradients: TensorRecord,
  scalars: TensorsOf<typeof stepInputs>,
  options: AdamWOptions,
  scale: tf.Tensor = tf.scalar(1),
): Record<string, tf.Tensor> {
  const { beta1, beta2 } = options;
  const assign: Record<string, tf.Tensor> = {};
  for (const [name, gradient] of Object.entries(gradients)) {
    const names = momentNames(name);
    const states = { parameter: state[name]!, m: state[names.m]!, v: state[names.v]! };
    const decays = options.weightDecay > 0 && (options.decays?.(name) ?? true);
    const next = adamW(states, gradient, { ...scalars, scale }, { beta1, beta2, decays });
    assign[name] = next.parameter;
    assign[names.m] = next.m;
    assign[names.v] = next.v;
  }
  return assign;
}

/** sqrt of the sum of all squares, a scalar. */
export function globalNorm(tensors: TensorRecord): tf.Tensor {
  return tf.sqrt(tf.addN(Object.values(tensors).map(sumOfSquares)));
}

/** min(1, maxNorm / (norm + 1e-6)): the factor that clips gradients of global norm `norm`. */
export function clipScale(norm: tf.Tensor, maxNorm: number): tf.Tensor {
  return tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1);
}
