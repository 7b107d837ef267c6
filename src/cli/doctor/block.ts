/**
 * @file A small transformer block with fixed numbers that contains every operation of the language models. `doctor` compares
 * its results on different engines.
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  attention,
  embedding,
  linear,
  maskedScore,
  rmsNorm,
  rope,
  swiglu,
  tokenLogProbs,
} from '../../engine/ops/ops.js';
import { optimizerState, stepInputs, update } from '../../engine/optim/adamw.js';
import type { AdamWOptions } from '../../engine/optim/settings.js';
import {
  defineFunction,
  type ProgramSpec,
  type TensorRecord,
  type TensorSpec,
  type TensorSpecs,
  type TensorsOf,
} from '../../engine/program.js';

const rows = 2;
const positions = 6;
const width = 16;
const heads = 4;
const keyHeads = 2;
const headWidth = 4;
const hidden = 24;
const vocabulary = 12;

const shapes: Readonly<Record<string, readonly number[]>> = {
  embed: [vocabulary, width],
  norm1: [width],
  q: [heads * headWidth, width],
  qBias: [heads * headWidth],
  k: [keyHeads * headWidth, width],
  v: [keyHeads * headWidth, width],
  o: [width, heads * headWidth],
  norm2: [width],
  gate: [hidden, width],
  up: [hidden, width],
  down: [width, hidden],
};

export const parameterNames = Object.keys(shapes);

const parameterSpecs = Object.fromEntries(
  Object.entries(shapes).map(([name, shape]): [string, TensorSpec] => [name, { dtype: 'float32', shape }]),
);

/** Pseudo-random numbers: the fractional parts of scaled sines, as used for noise in shaders. */
export function fixedNumbers(count: number, seed: number, scale: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => {
    const wave = Math.sin(index * 12.9898 + seed * 78.233) * 43758.5453;
    return (2 * (wave - Math.floor(wave)) - 1) * scale;
  });
}

/** Initial values: norms near 1, and matrices scaled so that no gradient is close to zero. */
export function initialParameters(): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], index) => {
      const count = shape.reduce((product, size) => product * size, 1);
      const values = fixedNumbers(count, index + 1, name.startsWith('norm') ? 0.2 : 0.5);
      return [name, name.startsWith('norm') ? values.map((value) => 1 + value) : values];
    }),
  );
}

const tokenCount = rows * positions;
export const batch = {
  ids: Int32Array.from({ length: tokenCount }, (_, index) => (index * 5) % vocabulary),
  targets: Int32Array.from({ length: tokenCount }, (_, index) => (index * 7 + 3) % vocabulary),
};

const batchSpecs = {
  ids: { dtype: 'int32', shape: [rows, positions] },
  targets: { dtype: 'int32', shape: [tokenCount] },
} as const satisfies TensorSpecs;

export const adamOptions: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01 };

/** Functions `loss`, `gradients` (loss and the gradient of every parameter) and `step` (one AdamW update). */
export const blockProgram = {
  state: { ...parameterSpecs, ...optimizerState(parameterSpecs) },
  functions: {
    loss: defineFunction({
      inputs: batchSpecs,
      outputs: { loss: 'float32' },
      body: (state, inputs) => ({ outputs: { loss: meanLoss(state, inputs) } }),
    }),
    gradients: defineFunction({
      inputs: batchSpecs,
      outputs: Object.fromEntries(['loss', ...parameterNames].map((name) => [name, 'float32'] as const)),
      body: (state, inputs) => {
        const { loss, gradients } = differentiate(state, inputs);
        return { outputs: { loss, ...gradients } };
      },
    }),
    step: defineFunction({
      inputs: { ...batchSpecs, ...stepInputs },
      outputs: { loss: 'float32' },
      body: (state, inputs) => {
        const { loss, gradients } = differentiate(state, inputs);
        return { outputs: { loss }, assign: update(state, gradients, inputs, adamOptions) };
      },
    }),
  },
} satisfies ProgramSpec;

type Batch = TensorsOf<typeof batchSpecs>;

function differentiate(state: TensorRecord, inputs: Batch) {
  const values = parameterNames.map((name) => state[name]!);
  const compute = tf.valueAndGrads((...parameters: tf.Tensor[]) =>
    meanLoss(Object.fromEntries(parameterNames.map((name, index) => [name, parameters[index]!])), inputs),
  );
  const { value, grads } = compute(values);
  return {
    loss: value,
    gradients: Object.fromEntries(parameterNames.map((name, index) => [name, grads[index]!])),
  };
}

/** Mean negative log-probability of the targets. */
function meanLoss(p: TensorRecord, { ids, targets }: Batch): tf.Scalar {
  const x = embedding(p.embed!, ids); // [B, T, D]
  const normed = rmsNorm(x, p.norm1!, 1e-6);
  const split = (tensor: tf.Tensor, count: number) => tensor.reshape([rows, positions, count, headWidth]);
  const { cos, sin, bias } = constants();
  const q = rope(split(linear(normed, p.q!, p.qBias), heads), cos, sin);
  const k = rope(split(linear(normed, p.k!), keyHeads), cos, sin);
  const v = split(linear(normed, p.v!), keyHeads);
  const mixed = attention(q, k, v, bias, 1 / Math.sqrt(headWidth)); // [B, T, H * C]
  const attended = tf.add(x, linear(mixed, p.o!));
  const inner = rmsNorm(attended, p.norm2!, 1e-6);
  const activated = swiglu(linear(inner, p.gate!), linear(inner, p.up!));
  const out = tf.add(attended, linear(activated, p.down!));
  const logits = linear(out.reshape([tokenCount, width]), p.embed!); // [B * T, V]
  return tf.neg(tf.mean<tf.Scalar>(tokenLogProbs(logits, targets)));
}

function constants() {
  const angles: number[] = [];
  for (let position = 0; position < positions; position += 1) {
    for (let pair = 0; pair < headWidth / 2; pair += 1) angles.push(position * 100 ** ((-2 * pair) / headWidth));
  }
  const mask: number[] = [];
  for (let row = 0; row < positions; row += 1) {
    for (let column = 0; column < positions; column += 1) mask.push(column <= row ? 0 : maskedScore);
  }
  const shape: [number, number, number] = [1, positions, headWidth / 2];
  return {
    cos: tf.tensor3d(Float32Array.from(angles, Math.cos), shape),
    sin: tf.tensor3d(Float32Array.from(angles, Math.sin), shape),
    bias: tf.tensor3d(Float32Array.from(mask), [1, positions, positions]),
  };
}
