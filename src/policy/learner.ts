/**
 * @file A model that learns from given completions. The loss is the negative log-likelihood of their tokens; gradients come
 * from packed passes; AdamW updates all weights or adapters. Handles tokens and numbers, not text, samples or files.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/backend.js';
import type { Precision } from '../engine/choices.js';
import { clear } from '../engine/ops/state-ops.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import { defineFunction, type TensorRecord } from '../engine/program.js';
import type { Dtype } from '../model/checkpoint/dtype.js';
import { checkMemory, stateBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { type CompletionRow, completionTokens } from '../model/network/log-probs.js';
import {
  type OutputLayer,
  type Pass,
  packedLogProbs,
  packPass,
  passContext,
  passInputs,
  planPasses,
  predictionsOf,
} from '../model/network/packed.js';
import type { LoraOptions } from '../model/network/params.js';
import { embeddingName, lookupName } from '../model/network/params.js';
import { exactForms } from '../model/sampling/weights.js';
import { addGradients, zerosFunction } from './gradients.js';
import { frozenOf, type TrainedState, type TrainingLayout, trainedState, trainingLayout } from './layout.js';
import type { TokenLoss } from './row-loss.js';
import { applyFunction, scoreFunction } from './update.js';
import type { UpdateShape } from './update-shape.js';

export interface LearnerOptions {
  /** Sizes of a pass, for updates and measurements. */
  readonly shape: UpdateShape;
  readonly precision: Precision;
  readonly optimizer: AdamWOptions;
  readonly maxGradientNorm: number;
  readonly lora?: LoraOptions | undefined;
  /** Formats of the checkpoint's weights: frozen ones are stored in 2 bytes if that loses nothing. Default: float32. */
  readonly dtypeOf?: (name: string) => Dtype;
  /** Seed of the adapters' initial values. */
  readonly seed: number;
}

interface LearnerBatch {
  readonly rows: readonly CompletionRow[];
  /** Number of this update, from 1. */
  readonly step: number;
  readonly learningRate: number;
}

export interface Learner extends TrainedState {
  readonly config: ModelConfig;
  /** One step of AdamW on the mean loss of the rows' tokens. @throws NumericsError; the weights are then unchanged. */
  update(batch: LearnerBatch): TokenLoss & { readonly gradientNorm: number };
  /** The loss of rows, without an update. `onRows` is called after each pass with the number of finished rows. */
  measure(rows: readonly CompletionRow[], onRows?: (done: number) => Promise<void>): Promise<TokenLoss>;
  dispose(): void;
}

export function createLearner(engine: Engine, config: ModelConfig, options: LearnerOptions): Learner {
  const { shape, optimizer, lora, dtypeOf, seed } = options;
  const layout = trainingLayout(config, { formOf: exactForms(engine, dtypeOf), lora });
  const state = { ...layout.parameters, ...layout.adapters, ...layout.moments, ...layout.gradients };
  checkMemory(engine, stateBytes(state), 'The model with its training state');
  const program = engine.createProgram({ state, functions: learnerFunctions(config, layout, options) });
  for (const name of Object.keys(layout.gradients)) program.fill(name, 0);

  const inputsOf = (rows: readonly CompletionRow[], pass: Pass) => ({
    ...packPass(rows, pass, shape),
    inverseTemperature: Float32Array.of(1),
  });
  return {
    config,
    ...trainedState(program, layout, { lora, seed }),
    update({ rows, step, learningRate }) {
      const tokens = completionTokens(rows);
      let loss = 0;
      program.run('clear');
      for (const pass of planPasses(rows, shape)) {
        const inputs = { ...inputsOf(rows, pass), weight: Float32Array.of(1 / tokens) };
        loss += program.run('accumulate', inputs).loss[0]!;
      }
      const { norm } = program.run('apply', adamw.stepScalars(step, learningRate, optimizer));
      return { loss, tokens, gradientNorm: norm[0]! };
    },
    async measure(rows, onRows) {
      let sum = 0;
      let done = 0;
      for (const pass of planPasses(rows, shape)) {
        const { logProbs } = program.run('score', inputsOf(rows, pass));
        const count = predictionsOf(rows, pass);
        for (let i = 0; i < count; i += 1) sum -= logProbs[i]!;
        done += pass.length;
        await onRows?.(done);
      }
      const tokens = completionTokens(rows);
      return { loss: sum / tokens, tokens };
    },
    dispose: () => program.dispose(),
  };
}

function learnerFunctions(
  config: ModelConfig,
  layout: TrainingLayout,
  { shape, precision, optimizer, maxGradientNorm, lora }: LearnerOptions,
) {
  const names = Object.keys(layout.trained);
  const { recompute, ...sizes } = shape;
  return {
    clear: zerosFunction(Object.keys(layout.gradients), clear),
    accumulate: defineFunction({
      /** `weight`: 1 / completion tokens of the batch. */
      inputs: { ...passInputs(sizes), weight: { dtype: 'float32', shape: [] } },
      outputs: { loss: 'float32' },
      checkNumerics: true,
      precision,
      body(state, inputs) {
        const context = passContext(config, inputs, sizes);
        const frozen = frozenOf(state, layout, lora);
        const weights = tf.mul(tf.greaterEqual(inputs.targetRows.toFloat(), 0).toFloat(), inputs.weight);
        const meanLoss = (trained: TensorRecord, output?: OutputLayer) =>
          tf.neg(tf.sum(tf.mul(weights, packedLogProbs(trained, frozen, config, context, recompute, output))));
        const lookups = { [lookupName]: { table: embeddingName, ids: inputs.ids } };
        const { value, assign } = addGradients(state, names, { config, lookups }, meanLoss);
        return { outputs: { loss: value }, assign };
      },
    }),
    apply: applyFunction(names, optimizer, maxGradientNorm),
    score: scoreFunction(config, layout, { shape, precision, lora }),
  };
}
