/**
 * @file Next-token training that makes a built-in model from nothing: the corpus in, parameters out. Everything is a
 * function of the seed. Knows nothing of files; corpus.ts says what is learned.
 */
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/backend.js';
import { valueAndGradients } from '../engine/ops/gradient.js';
import { tokenLogProbs } from '../engine/ops/ops.js';
import * as adamw from '../engine/optim/adamw.js';
import { type AdamWOptions, learningRateAt } from '../engine/optim/settings.js';
import { defineFunction, floats, type Program, type TensorRecord } from '../engine/program.js';
import { parameterState } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import { fanInDeviation, initialParameter, parameterSpecs } from '../model/network/params.js';
import { logits, sequenceStates } from '../model/network/transformer.js';
import { keyedRandom } from '../util/random.js';
import type { CorpusRow } from './corpus.js';

export interface PretrainOptions {
  readonly config: ModelConfig;
  readonly seed: number;
  readonly batchSize: number;
  /** T: longest row. */
  readonly length: number;
  readonly steps: number;
  /** Peak: reached after a warm-up and left along a cosine. */
  readonly learningRate: number;
  /** The rows of step 1, 2, ...; at most `batchSize`. */
  readonly rows: (step: number) => readonly CorpusRow[];
  readonly onStep?: (step: PretrainStep) => void;
  readonly signal?: AbortSignal;
}

export interface PretrainStep {
  /** From 1. */
  readonly step: number;
  readonly learningRate: number;
  /** Mean negative log-likelihood of the learned tokens, in nats. */
  readonly loss: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
}

/** Design of the recipe: see the model card. Matrices decay, norms and biases do not. */
const optimizer: AdamWOptions = {
  beta1: 0.9,
  beta2: 0.98,
  epsilon: 1e-8,
  weightDecay: 0.05,
  decays: (name) => !/norm\.weight$|\.bias$/.test(name),
};
const warmupSteps = 100;
const learningRateFloor = 0.05;
const maxGradientNorm = 1;

/**
 * Trains from random parameters.
 *
 * @returns every parameter, float32, by its Hugging Face name.
 * @throws the signal's reason when it is aborted.
 */
export async function pretrain(engine: Engine, options: PretrainOptions): Promise<Record<string, Float32Array>> {
  const { config, seed } = options;
  const shapes = parameterSpecs(config);
  const parameters = parameterState(config);
  const program = engine.createProgram({
    state: { ...parameters, ...adamw.optimizerState(parameters) },
    functions: { step: stepFunction(options, Object.keys(parameters)) },
  });
  try {
    for (const [name, shape] of Object.entries(shapes)) {
      const { uniform } = keyedRandom(seed, 'init', name);
      program.write(name, initialParameter(name, shape, fanInDeviation(name, shape, config), uniform));
      for (const moment of Object.values(adamw.momentNames(name))) program.fill(moment, 0);
    }
    await runSteps(program, options);
    return Object.fromEntries(Object.keys(parameters).map((name) => [name, floats(program.read(name))]));
  } finally {
    program.dispose();
  }
}

async function runSteps(
  program: Program<{ step: ReturnType<typeof stepFunction> }>,
  options: PretrainOptions,
): Promise<void> {
  const { steps, rows, batchSize, length } = options;
  const schedule = { peak: options.learningRate, warmupSteps, cosine: { steps, floor: learningRateFloor } };
  for (let step = 1; step <= steps; step++) {
    const learningRate = learningRateAt(schedule, step);
    const { loss, norm } = program.run('step', {
      ...packRows(rows(step), batchSize, length),
      ...adamw.stepScalars(step, learningRate, optimizer),
    });
    options.onStep?.({ step, learningRate, loss: loss[0]!, gradientNorm: norm[0]! });
    // Ctrl-C is only heard between two turns of the event loop.
    await eventLoopTurn();
    options.signal?.throwIfAborted();
  }
}

function stepFunction({ config, batchSize: B, length: T }: PretrainOptions, names: readonly string[]) {
  return defineFunction({
    inputs: {
      ids: { dtype: 'int32', shape: [B, T] },
      targets: { dtype: 'int32', shape: [B * T] },
      /** 1 / (learned tokens) where the target is learned, else 0. */
      weights: { dtype: 'float32', shape: [B * T] },
      ...adamw.stepInputs,
    },
    outputs: { loss: 'float32', norm: 'float32' },
    checkNumerics: true,
    body(state, inputs) {
      const { ids, targets, weights } = inputs;
      const lossOf = (record: TensorRecord) => {
        const states = sequenceStates(record, config, ids).reshape([B * T, config.hiddenSize]);
        const logProbs = tokenLogProbs(logits(record, config, states), targets);
        return tf.neg(tf.sum(tf.mul(logProbs, weights)));
      };
      const { value, gradients } = valueAndGradients(state, names, lossOf);
      const norm = adamw.globalNorm(gradients);
      const scale = adamw.clipScale(norm, maxGradientNorm);
      return { outputs: { loss: value, norm }, assign: adamw.update(state, gradients, inputs, optimizer, scale) };
    },
  });
}

/** `rows` padded on the right to `[B, T]`, each position's target being the next token. */
function packRows(
  rows: readonly CorpusRow[],
  B: number,
  T: number,
): { ids: Int32Array; targets: Int32Array; weights: Float32Array } {
  const ids = new Int32Array(B * T);
  const targets = new Int32Array(B * T);
  const weights = new Float32Array(B * T);
  const learned = rows.reduce((sum, { learn }) => sum + learn.filter((flag, i) => flag && i > 0).length, 0);
  rows.forEach((row, index) => {
    if (row.ids.length > T) throw new RangeError(`a row of ${row.ids.length} tokens does not fit ${T}`);
    ids.set(row.ids, index * T);
    for (let i = 1; i < row.ids.length; i++) {
      targets[index * T + i - 1] = row.ids[i]!;
      if (row.learn[i] === true) weights[index * T + i - 1] = 1 / learned;
    }
  });
  return { ids, targets, weights };
}
