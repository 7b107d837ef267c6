/**
 * @file Differentiable operations as test subjects: their inputs, and a function that computes their value and gradients.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../src/engine/dtype.js';
import { maskedScore } from '../../src/engine/ops/ops.js';
import type { FunctionSpec, TensorSpec } from '../../src/engine/program.js';
import { type Shape, sizeOf } from '../../src/engine/shape.js';

export type Op = (inputs: Record<string, tf.Tensor>) => tf.Tensor;

export interface Subject {
  readonly op: Op;
  /** float32 inputs, which get gradients. */
  readonly variables: Readonly<Record<string, Shape>>;
  /** Inputs without gradient. */
  readonly fixed?: Readonly<Record<string, { spec: TensorSpec; data: TypedArray }>>;
}

/** Numbers without pattern in -1 .. 1. */
export function noise(size: number, salt: number): Float32Array {
  return Float32Array.from({ length: size }, (_, index) => Math.sin(12.9898 * (index + 1) + 78.233 * (salt + 1)));
}

export const ints = (shape: Shape, data: number[]) => ({
  spec: { dtype: 'int32', shape } as const,
  data: Int32Array.from(data),
});
export const floats = (shape: Shape, data: ArrayLike<number>) => ({
  spec: { dtype: 'float32', shape } as const,
  data: Float32Array.from(data),
});

/** 0 or maskedScore by `allowed[t][s]`, for one row. */
export const bias = (allowed: number[][][]) =>
  floats(
    [allowed.length, allowed[0]?.length as number, allowed[0]?.[0]?.length as number],
    allowed.flat(2).map((yes) => (yes ? 0 : maskedScore)),
  );

/** The value of `subject`, the loss sum(value * weights) and the loss's gradients. */
export function evaluation(subject: Subject): { spec: FunctionSpec; data: Record<string, TypedArray> } {
  const names = Object.keys(subject.variables);
  const fixed = Object.entries(subject.fixed ?? {});
  const inputs: Record<string, TensorSpec> = Object.fromEntries([
    ...Object.entries(subject.variables).map(([name, shape]) => [name, { dtype: 'float32', shape }] as const),
    ...fixed.map(([name, { spec }]) => [name, spec] as const),
  ]);
  const data: Record<string, TypedArray> = Object.fromEntries([
    ...names.map((name, index) => [name, noise(sizeOf(subject.variables[name] as Shape), index)] as const),
    ...fixed.map(([name, { data: values }]) => [name, values] as const),
  ]);
  const spec: FunctionSpec = {
    inputs,
    body: (_state, tensors) => {
      const all = Object.fromEntries(Object.keys(inputs).map((name) => [name, tensors[name] as tf.Tensor]));
      const rest = Object.fromEntries(fixed.map(([name]) => [name, all[name] as tf.Tensor]));
      const run = (...variables: tf.Tensor[]) =>
        subject.op({
          ...rest,
          ...Object.fromEntries(names.map((name, index) => [name, variables[index] as tf.Tensor])),
        });
      const variables = names.map((name) => all[name] as tf.Tensor);
      const value = run(...variables);
      const weights = tf.tensor(noise(value.size, 17), value.shape);
      const gradients = tf.grads((...args) => tf.sum(tf.mul(run(...args), weights)))(variables);
      return {
        outputs: {
          value,
          ...Object.fromEntries(names.map((name, index) => [`d ${name}`, gradients[index] as tf.Tensor])),
        },
      };
    },
  };
  return { spec, data };
}
