/**
 * @file What computes behind the Tinker server of the tests: a model with an adapter on tinyzero's own engine, whose loss is the sum
 * over tokens of -exp(log π - logprobs) · advantage. Adapters of several models take turns in one program.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../../../src/engine/backend.js';
import { clear } from '../../../src/engine/ops/state-ops.js';
import * as adamw from '../../../src/engine/optim/adamw.js';
import { defineFunction, type FunctionSpecs, type TensorRecord, withFunctions } from '../../../src/engine/program.js';
import type { Pretrained } from '../../../src/model/checkpoint/pretrained.js';
import { initialAdapter } from '../../../src/model/network/lora.js';
import {
  packedLogProbs,
  packPass,
  passContext,
  passInputs,
  planPasses,
  valuesByRow,
} from '../../../src/model/network/packed.js';
import { type LoraOptions, loraTargets } from '../../../src/model/network/params.js';
import { samplingParts } from '../../../src/model/sampling/program.js';
import { type Completion, type Rollout, sample } from '../../../src/model/sampling/sample.js';
import { copyFunction, onCopies } from '../../../src/model/sampling/weights.js';
import { addGradients, zerosFunction } from '../../../src/policy/gradients.js';
import { frozenOf, momentSpecsOf, pick, policyLayout } from '../../../src/policy/layout.js';
import { applyFunction } from '../../../src/policy/update.js';
import { keyedRandom } from '../../../src/util/random.js';

/** Trained tensors and moments by name. */
export type AdapterState = ReadonlyMap<string, Float32Array>;

export interface TokenRow {
  readonly tokens: readonly number[];
  readonly targets: readonly number[];
  /** Of each target; 0 where missing. */
  readonly advantages?: readonly number[];
  readonly logprobs?: readonly number[];
  /** Multiplies the row's loss. */
  readonly scale?: number;
}

export interface AdapterModel {
  readonly lora: LoraOptions;
  readonly adapterNames: readonly string[];
  readonly shapeOf: (name: string) => readonly number[];
  initial(seed: number): AdapterState;
  load(state: AdapterState): void;
  state(): AdapterState;
  /** Log-prob of every target. The gradient of the loss replaces the one before, or is added to it. */
  pass(rows: readonly TokenRow[], gradient: 'none' | 'new' | 'added'): Float32Array[];
  step(
    count: number,
    adam: { learning_rate: number; beta1: number; beta2: number; eps: number; weight_decay: number },
  ): void;
  sample(
    rollouts: readonly Rollout[],
    temperature: number,
    stop: readonly number[],
    adapted: boolean,
  ): Promise<Completion[]>;
  dispose(): void;
}

/** Longest sequence, in tokens. */
const longest = 48;

export function adapterModel(engine: Engine, { config, weights }: Pretrained, rank: number): AdapterModel {
  const lora: LoraOptions = { rank, alpha: 32, targets: loraTargets };
  const cache = { promptLengths: [longest / 2], maxNewTokens: longest / 2, slots: 16 };
  const layout = policyLayout(config, cache, { form: 'f32', lora });
  const names = Object.keys(layout.trained);
  const shape = { sequences: 2, length: longest, predictions: 2 * longest, rows: 256 };
  const recompute = { layers: false, logitRows: shape.predictions };
  const logProbs = (state: TensorRecord, trained: TensorRecord, inputs: Parameters<typeof passContext>[1]) =>
    packedLogProbs(trained, frozenOf(state, layout, lora), config, passContext(config, inputs, shape), recompute);
  const { functions } = samplingParts(config, layout.sizes, { greedy: false, topK: 0, topP: 1 }, 'f32');
  const P = [shape.predictions];
  const options = { epsilon: 0, weightDecay: 0 };
  const passFunctions = {
    score: defineFunction({
      inputs: passInputs(shape),
      outputs: { logProbs: 'float32' },
      body: (state, inputs) => ({ outputs: { logProbs: logProbs(state, pick(state, names), inputs) } }),
    }),
    accumulate: defineFunction({
      inputs: {
        ...passInputs(shape),
        advantages: { dtype: 'float32', shape: P },
        old: { dtype: 'float32', shape: P },
      },
      outputs: { logProbs: 'float32' },
      body(state, inputs) {
        let kept: tf.Tensor | undefined;
        const { assign } = addGradients(state, names, { config, lookups: {} }, (trained) => {
          kept = tf.keep(logProbs(state, trained, inputs));
          const ratio = tf.exp(tf.sub(kept, inputs.old));
          return tf.neg(tf.sum(tf.mul(ratio, inputs.advantages)));
        });
        const output = kept!.clone();
        kept!.dispose();
        return { outputs: { logProbs: output }, assign };
      },
    }),
  };
  const all: FunctionSpecs = {
    ...passFunctions,
    ...onCopies(functions, layout.copies),
    copy: copyFunction(layout.copies, lora),
    clear: zerosFunction(Object.keys(layout.gradients), clear),
    adam: applyFunction(names, { beta1: 0.9, beta2: 0.95, ...options }, Number.POSITIVE_INFINITY),
    descent: applyFunction(names, { beta1: 0, beta2: 0, ...options }, Number.POSITIVE_INFINITY),
  };
  const program = engine.createProgram({
    state: {
      ...layout.caches,
      ...layout.parameters,
      ...layout.adapters,
      ...layout.copies,
      ...layout.moments,
      ...layout.gradients,
    },
    functions: all,
  });
  const sampler = withFunctions(program, functions);
  const passes = withFunctions(program, passFunctions);
  for (const name of [...Object.keys(layout.caches), ...Object.keys(layout.gradients)]) program.fill(name, 0);
  for (const name of Object.keys(layout.parameters)) program.write(name, weights.read(name));
  const stateNames = [...names, ...Object.keys(momentSpecsOf(layout.trained))];
  const load = (state: AdapterState) => {
    for (const name of stateNames) {
      const values = state.get(name);
      if (values === undefined) program.fill(name, 0);
      else program.write(name, values);
    }
    program.run('copy');
  };

  return {
    lora,
    adapterNames: names,
    shapeOf: (name) => layout.trained[name]!,
    initial: (seed) =>
      new Map(
        names.map((name) => [name, initialAdapter(name, layout.trained[name]!, keyedRandom(seed, name).uniform)]),
      ),
    load,
    state: () => new Map(stateNames.map((name) => [name, program.read(name)])),
    pass(rows, gradient) {
      const learn = gradient !== 'none';
      const packed = rows.map(({ tokens, targets }) => ({ promptIds: tokens.slice(0, 1), completionIds: targets }));
      const results: Float32Array[] = [];
      if (gradient === 'new') program.run('clear');
      for (const pass of planPasses(packed, shape)) {
        const spread = (valuesOf: (row: TokenRow) => readonly number[] | undefined) => {
          const values = new Float32Array(shape.predictions);
          values.set(pass.flatMap(({ row }) => valuesOf(rows[row]!) ?? rows[row]!.targets.map(() => 0)));
          return values;
        };
        const inputs = { ...packPass(packed, pass, shape), inverseTemperature: Float32Array.of(1) };
        const { logProbs: found } = learn
          ? passes.run('accumulate', {
              ...inputs,
              advantages: spread(({ advantages, scale = 1 }) => advantages?.map((value) => scale * value)),
              old: spread(({ logprobs }) => logprobs),
            })
          : passes.run('score', inputs);
        for (const [row, values] of valuesByRow(packed, pass, found)) results[row] = values;
      }
      return results;
    },
    step(count, { learning_rate, beta1, beta2, eps, weight_decay }) {
      const isDescent = beta1 === 0 && beta2 === 0;
      if (!isDescent && (beta1 !== 0.9 || beta2 !== 0.95)) throw new Error('other moments than this server has');
      const adam = { beta1, beta2, epsilon: eps, weightDecay: weight_decay };
      program.run(isDescent ? 'descent' : 'adam', adamw.stepScalars(count, learning_rate, adam));
    },
    async sample(rollouts, temperature, stop, adapted) {
      if (!adapted) for (const name of names) program.fill(name, 0);
      program.run('copy');
      return (await sample(sampler, layout.sizes, rollouts, { temperature, endIds: new Set(stop) })).completions;
    },
    dispose: () => program.dispose(),
  };
}
