/** @file Sums of gradients over the passes of an update, in the memory of a program's state. */
import * as tf from '@tensorflow/tfjs-core';
import { valueAndGradients } from '../engine/ops/gradient.js';
import { embedding, trainedLinear } from '../engine/ops/ops.js';
import { addInto, addProductInto, addRowsInto } from '../engine/ops/state-ops.js';
import { defineFunction, type TensorRecord } from '../engine/program.js';
import type { ModelConfig } from '../model/network/config.js';
import type { OutputLayer } from '../model/network/packed.js';
import { embeddingName, outputName } from '../model/network/params.js';
import { gradientName } from './layout.js';

/** Sets states to zero by `zeros`: clear, or release if they are not used for a while. */
export function zerosFunction(states: readonly string[], zeros: (state: tf.Tensor) => tf.Tensor) {
  return defineFunction({
    inputs: {},
    body: (state) => ({ assign: Object.fromEntries(states.map((name) => [name, zeros(state[name]!)])) }),
  });
}

/** The rows `ids` of `table`, which a loss uses. */
interface Lookup {
  readonly table: string;
  readonly ids: tf.Tensor;
}

/**
 * Evaluates `loss`, a function of the trained tensors, and adds its gradients to the sums. The gradients of the embedding
 * and the output layer are never in memory as a whole: `loss` gets the rows that it looks up as separate tensors, by the
 * names of `lookups`, and the output layer as a function.
 */
export function addGradients(
  state: TensorRecord,
  names: readonly string[],
  { config, lookups }: { readonly config: ModelConfig; readonly lookups: Readonly<Record<string, Lookup>> },
  loss: (trained: TensorRecord, output?: OutputLayer) => tf.Tensor,
): { readonly value: tf.Tensor; readonly assign: Record<string, tf.Tensor> } {
  const head = outputName(config);
  const assign: Record<string, tf.Tensor> = {};
  const add = (name: string, sum: (before: tf.Tensor) => tf.Tensor) => {
    const before = assign[gradientName(name)];
    // Kept, since it may be made inside of the backward pass, whose tensors tfjs frees.
    assign[gradientName(name)] = tf.keep(sum(before ?? state[gradientName(name)]!));
    before?.dispose();
  };
  if (!names.includes(head)) {
    const { value, gradients } = valueAndGradients(state, names, loss);
    for (const [name, gradient] of Object.entries(gradients)) add(name, (sum) => addInto(sum, gradient));
    return { value, assign: allReturned(assign) };
  }
  const given: Record<string, tf.Tensor> = Object.create(state);
  for (const [name, { table, ids }] of Object.entries(lookups)) {
    Object.defineProperty(given, name, { value: embedding(state[table]!, ids) });
  }
  const whole = names.filter((name) => name !== head && name !== embeddingName);
  const output: OutputLayer = (rows) =>
    trainedLinear(rows, state[head]!, (dy, x) => add(head, (sum) => addProductInto(sum, dy, x)));
  const { value, gradients } = valueAndGradients(given, [...whole, ...Object.keys(lookups)], (trained) =>
    loss(trained, output),
  );
  for (const [name, gradient] of Object.entries(gradients)) {
    const lookup = lookups[name];
    if (lookup === undefined) add(name, (sum) => addInto(sum, gradient));
    else add(lookup.table, (sum) => addRowsInto(sum, lookup.ids.flatten(), asRows(gradient)));
  }
  return { value, assign: allReturned(assign) };
}

const allReturned = (kept: Readonly<Record<string, tf.Tensor>>) =>
  Object.fromEntries(Object.entries(kept).map(([name, tensor]) => [name, returned(tensor)]));

/** `[..., D]` as `[N, D]`. */
const asRows = (x: tf.Tensor) => x.reshape([-1, x.shape.at(-1)!]);

/** Replaces a kept tensor, which tfjs never frees, by a copy that it frees once a function has returned it. */
export function returned(kept: tf.Tensor): tf.Tensor {
  const clone = kept.clone();
  kept.dispose();
  return clone;
}
