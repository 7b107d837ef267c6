/** AdamW and clipping against torch's formulas in double precision, on every engine and against each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { TypedArray } from '../../../src/engine/dtype.js';
import {
  clipScale,
  globalNorm,
  momentNames,
  optimizerState,
  stepInputs,
  stepScalars,
  update,
} from '../../../src/engine/optim/adamw.js';
import type { AdamWOptions } from '../../../src/engine/optim/settings.js';
import { defineFunction, NumericsError, type ProgramSpec, type TensorSpec } from '../../../src/engine/program.js';
import { assertClose } from '../../helpers/close.js';
import { allWays, runOnce, testEveryWay, type Way, wasmWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';

const shapes: Record<string, TensorSpec> = {
  matrix: { dtype: 'float32', shape: [4, 3] },
  bias: { dtype: 'float32', shape: [3] },
  gain: { dtype: 'float32', shape: [] },
};
const names = Object.keys(shapes);
const maxNorm = 0.5;

function noise(size: number, salt: number): Float32Array {
  return Float32Array.from({ length: size }, (_, index) => Math.sin(12.9898 * (index + 1) + 78.233 * (salt + 1)));
}
const sizes: Record<string, number> = { matrix: 12, bias: 3, gain: 1 };
const start = Object.fromEntries(names.map((name, salt) => [name, noise(sizes[name]!, salt)]));

/** loss = sum over parameters of |p - x * target|^2 / 2, so the gradient of p is p - x * target. */
function program(options: AdamWOptions): ProgramSpec {
  return {
    state: { ...shapes, ...optimizerState(shapes) },
    functions: {
      step: defineFunction({
        inputs: { x: { dtype: 'float32', shape: [] }, ...stepInputs },
        body: (state, inputs) => {
          const gradients = Object.fromEntries(
            names.map((name, salt) => {
              const parameter = state[name]!;
              const target = tf.tensor(noise(parameter.size, salt + 9), parameter.shape);
              return [name, tf.sub(parameter, tf.mul(target, inputs.x))];
            }),
          );
          const norm = globalNorm(gradients);
          return {
            outputs: { norm },
            assign: update(state, gradients, inputs, options, clipScale(norm, maxNorm)),
          };
        },
        checkNumerics: true,
      }),
    },
  };
}

/** The same in double precision, written as torch.optim.AdamW and clip_grad_norm_ document themselves. */
function reference(options: AdamWOptions, learningRate: number, steps: number): Record<string, number[]> {
  const values = Object.fromEntries(names.map((name) => [name, Array.from(start[name]!)]));
  const m = Object.fromEntries(
    names.map((name) => [name, start[name]!.length]).map(([name, size]) => [name, new Array(size as number).fill(0)]),
  );
  const v = structuredClone(m) as Record<string, number[]>;
  for (let t = 1; t <= steps; t++) {
    const gradients = Object.fromEntries(
      names.map((name, salt) => {
        const target = noise(sizes[name]!, salt + 9);
        return [name, values[name]!.map((p, i) => p - Math.fround(Math.cos(t)) * target[i]!)];
      }),
    );
    const norm = Math.hypot(...Object.values(gradients).flat());
    const clip = Math.min(1, maxNorm / (norm + 1e-6));
    for (const name of names) {
      const parameter = values[name]!;
      for (let i = 0; i < parameter.length; i++) {
        const g = (gradients[name]![i] as number) * clip;
        const [ms, vs] = [m[name]!, v[name]!];
        if (options.decays?.(name) ?? true) parameter[i] = parameter[i]! * (1 - learningRate * options.weightDecay);
        ms[i] = options.beta1 * ms[i]! + (1 - options.beta1) * g;
        vs[i] = options.beta2 * vs[i]! + (1 - options.beta2) * g * g;
        const mHat = ms[i]! / (1 - options.beta1 ** t);
        const vHat = vs[i]! / (1 - options.beta2 ** t);
        parameter[i] = parameter[i]! - (learningRate * mHat) / (Math.sqrt(vHat) + options.epsilon);
      }
    }
  }
  return Object.fromEntries(
    names.flatMap((name) => [
      [name, values[name]!],
      [momentNames(name).m, m[name]!],
      [momentNames(name).v, v[name]!],
    ]),
  );
}

function train(way: Way, options: AdamWOptions, learningRate: number, steps: number): Record<string, TypedArray> {
  const spec = program(options);
  const instance = way.create(spec);
  for (const name of Object.keys(spec.state)) instance.fill(name, 0);
  for (const name of names) instance.write(name, start[name]!);
  for (let t = 1; t <= steps; t++) {
    instance.run('step', { x: Float32Array.of(Math.cos(t)), ...stepScalars(t, learningRate, options) });
  }
  const state = Object.fromEntries(Object.keys(spec.state).map((name) => [name, instance.read(name)]));
  instance.dispose();
  return state;
}

const configurations: Record<string, AdamWOptions> = {
  'without decay': { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
  'with decay': { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 },
  'with decay of matrices and a large epsilon': {
    beta1: 0.8,
    beta2: 0.99,
    epsilon: 1e-2,
    weightDecay: 0.5,
    decays: (name) => name === 'matrix',
  },
};
for (const [name, options] of Object.entries(configurations)) {
  nativeTest(`20 steps ${name}: compiled = eager = wasm = double precision`, async () => {
    const learningRate = 0.05;
    const expected = reference(options, learningRate, 20);
    const states = (await allWays()).map((way) => [way.name, train(way, options, learningRate, 20)] as const);
    for (const [way, state] of states) {
      assert.deepEqual(Object.keys(state).sort(), Object.keys(expected).sort());
      for (const [tensor, values] of Object.entries(expected)) {
        // 20 steps, each rounding numbers below 2 to 1e-7; (1 - beta) is formed in float32 (1e-3: 5e-5 off).
        assertClose(`${tensor}, ${way}`, state[tensor]!, values, { relative: 1e-4, absolute: 5e-6 });
      }
      for (const [tensor, values] of Object.entries(states[0]?.[1] ?? {})) {
        const tolerance = { relative: 1e-4, absolute: 2e-6 };
        assertClose(`${tensor}, compiled against ${way}`, state[tensor]!, values, tolerance);
      }
    }
    // The clip was at work: without it the first moments would be larger.
    const free = Math.hypot(
      ...names.flatMap((each, salt) =>
        [...start[each]!].map((p, i) => p - Math.cos(1) * (noise(sizes[each]!, salt + 9)[i] as number)),
      ),
    );
    assert.ok(free > 2 * maxNorm, `gradient norm ${free}`);
  });
}

testEveryWay('the first step by hand: every parameter moves by the learning rate, after its decay', (way) => {
  // At t = 1 mHat = g and vHat = g^2, so the step is lr * sign(g) whatever the gradient; 1 * (1 - 0.1 * 0.5) - 0.1.
  const options = { beta1: 0.9, beta2: 0.999, epsilon: 0, weightDecay: 0.5 };
  const w = { dtype: 'float32', shape: [2] } as const;
  const instance = way.create({
    state: { w, ...optimizerState({ w }) },
    functions: {
      step: defineFunction({
        inputs: stepInputs,
        body: (state, inputs) => ({ assign: update(state, { w: tf.tensor1d([3, -1e-3]) }, inputs, options) }),
      }),
    },
  });
  instance.fill('w', 1);
  instance.fill('adamw.m.w', 0);
  instance.fill('adamw.v.w', 0);
  instance.run('step', stepScalars(1, 0.1, options));
  assertClose('w', instance.read('w'), [0.85, 1.05], { relative: 1e-5 });
  assertClose('m', instance.read('adamw.m.w'), [0.3, -1e-4], { relative: 1e-5 });
  assertClose('v', instance.read('adamw.v.w'), [9e-3, 1e-9], { relative: 1e-4 });
  instance.dispose();
});

testEveryWay('a gradient that is not finite changes nothing under checkNumerics, decay included', (way) => {
  const options = configurations['with decay']!;
  const spec = program(options);
  const instance = way.create(spec);
  for (const name of Object.keys(spec.state)) instance.fill(name, 0.25);
  const before = Object.keys(spec.state).map((name) => instance.read(name));
  // The norm is an output, so it is checked first.
  assert.throws(
    () => instance.run('step', { x: Float32Array.of(Number.NaN), ...stepScalars(1, 0.1, options) }),
    (error: unknown) => error instanceof NumericsError && error.tensor === 'norm' && error.found === 'NaN',
  );
  assert.throws(
    () => instance.run('step', { x: Float32Array.of(1), ...stepScalars(1, Number.NaN, options) }),
    (error: unknown) => error instanceof NumericsError && error.tensor === 'matrix' && error.found === 'NaN',
  );
  assert.deepEqual(
    Object.keys(spec.state).map((name) => instance.read(name)),
    before,
  );
  instance.dispose();
});

testEveryWay('an output of a moment has the value from before the update', (way) => {
  const options = configurations['without decay']!;
  const w = { dtype: 'float32', shape: [1000] } as const;
  const instance = way.create({
    state: { w, ...optimizerState({ w }) },
    functions: {
      step: defineFunction({
        inputs: stepInputs,
        body: (state, inputs) => ({
          outputs: { w: state.w as tf.Tensor, m: tf.sum(state['adamw.m.w'] as tf.Tensor) },
          assign: update(state, { w: tf.ones([1000]) }, inputs, options),
        }),
      }),
    },
  });
  for (const name of ['w', 'adamw.m.w', 'adamw.v.w']) instance.fill(name, 0);
  let [w1, m1] = [0, 0];
  for (let t = 1; t <= 20; t++) {
    const { w: seenW, m } = instance.run('step', stepScalars(t, 0.1, options));
    assertClose(`w before step ${t}`, [seenW?.[500] as number], [w1], { absolute: 1e-5 });
    assertClose(`m before step ${t}`, [m?.[0] as number], [m1], { relative: 1e-4 });
    w1 = instance.read('w')[500] as number;
    m1 = 1000 * (1 - 0.9 ** t);
  }
  instance.dispose();
});

testEveryWay('the new value of a parameter can be used beside the old one', (way) => {
  const options = configurations['without decay']!;
  const w = { dtype: 'float32', shape: [40] } as const;
  const instance = way.create({
    state: { w, before: w, ...optimizerState({ w }) },
    functions: {
      step: defineFunction({
        inputs: stepInputs,
        body: (state, inputs) => {
          const old = state.w as tf.Tensor;
          const assign = update(state, { w: tf.ones([40]) }, inputs, options);
          const change = tf.sub(assign.w as tf.Tensor, old.reshape([4, 10]).reshape([40]));
          return { outputs: { change }, assign: { ...assign, before: old } };
        },
      }),
    },
  });
  for (const name of Object.keys(instance.spec.state)) instance.fill(name, 3);
  instance.fill('adamw.m.w', 0);
  instance.fill('adamw.v.w', 0);
  // The first step of Adam is as long as the learning rate, whatever the gradient.
  const { change } = instance.run('step', stepScalars(1, 0.5, options));
  assertClose('change', change as Float32Array, new Float32Array(40).fill(-0.5), { relative: 1e-5 });
  assertClose('w', instance.read('w'), new Float32Array(40).fill(2.5), { relative: 1e-5 });
  assert.deepEqual(instance.read('before'), new Float32Array(40).fill(3));
  instance.dispose();
});

test('clipScale is min(1, max / (norm + 1e-6)), and directions stay as they are', async () => {
  const way = await wasmWay();
  const clipped = (values: number[], limit: number) => {
    const body = () => {
      const gradients = { a: tf.tensor1d(values.slice(0, 1)), b: tf.tensor1d(values.slice(1)) };
      const norm = globalNorm(gradients);
      const scale = clipScale(norm, limit);
      return { outputs: { norm, a: tf.mul(gradients.a, scale), b: tf.mul(gradients.b, scale) } };
    };
    const { norm, a, b } = runOnce(way, { inputs: {}, body });
    return { norm: norm?.[0], values: [...(a ?? []), ...(b ?? [])] };
  };
  // |(3, 4, 12)| = 13.
  const long = clipped([3, 4, 12], 6.5);
  assert.equal(long.norm, 13);
  assertClose('half', long.values, [1.5, 2, 6], { relative: 1e-6 });
  assert.deepEqual(clipped([3, 4, 12], 100), { norm: 13, values: [3, 4, 12] });
  assert.deepEqual(clipped([0, 0, 0], 1), { norm: 0, values: [0, 0, 0] });
});

test('stepScalars are computed in double precision', () => {
  const scalars = stepScalars(1000, 1e-3, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 });
  assert.deepEqual(scalars, {
    learningRate: Float32Array.of(1e-3),
    beta1Power: Float32Array.of(0.9 ** 1000),
    beta2Power: Float32Array.of(0.999 ** 1000),
    epsilon: Float32Array.of(1e-8 * Math.sqrt(1 - 0.999 ** 1000)),
    decay: Float32Array.of(1e-4),
  });
});
