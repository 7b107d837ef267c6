/**
 * @file The model of one run as one program: parameters, reference parameters, optimiser moments and caches on the
 * device, functions that sample and that train. Values of whole tensors pass through here one at a time. Knows tokens
 * and numbers, nothing of text, rewards or files.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/backend.js';
import type { Precision } from '../engine/choices.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/adamw-options.js';
import { valueAndGradients } from '../engine/optim/gradients.js';
import { defineFunction, type FunctionSpec, type Program, type TensorRecord } from '../engine/program.js';
import { checkMemory, parameterState, samplingSizes, stateBytes } from '../model/load.js';
import type { ModelConfig } from '../model/network/config.js';
import {
  type CompletionRow,
  completionInputs,
  completionLogProbs,
  packCompletions,
} from '../model/network/log-probs.js';
import { type ParameterSpecs, parameterSpecs } from '../model/network/params.js';
import { cacheState } from '../model/sampling/kv-cache.js';
import { type Completion, type Rollout, type SampleOptions, sample, samplingParts } from '../model/sampling/sample.js';
import { copyFunction, frozenState, narrowState, onCopies, samplerCopies } from '../model/sampling/weights.js';
import type { RowLoss } from './row-loss.js';

/** Buckets, fixed when the program is built; whatever is shorter is padded. */
export interface PolicySizes {
  /** Tokens of each prompt that will be met. */
  readonly promptLengths: readonly number[];
  readonly maxNewTokens: number;
  /** Completions that decode side by side, memory permitting. */
  readonly slots: number;
}

export interface TrainingOptions {
  /** Rows of one update. */
  readonly batchSize: number;
  readonly optimizer: AdamWOptions;
  readonly loss: RowLoss;
  /** Largest global norm of the gradient; a longer one is scaled down to it. */
  readonly maxGradientNorm: number;
  /** Parameters of the reference whose values are bfloat16's, so that they lose nothing when they are kept so. Default: none. */
  readonly narrowReference?: (name: string) => boolean;
}

export interface PolicyOptions {
  readonly sizes: PolicySizes;
  readonly precision?: Precision;
  /** Absent: the policy is only sampled from, and holds neither reference nor moments. */
  readonly training?: TrainingOptions;
}

/** Gives a parameter's values, float32 and row-major, by its Hugging Face name. */
export type ReadTensor = (name: string) => Float32Array;

export interface UpdateBatch {
  /** At most `batchSize` rows; an update of fewer costs as much. */
  readonly rows: readonly CompletionRow[];
  /** A of each row. */
  readonly advantages: readonly number[];
  readonly temperature: number;
  /** Number of this update, from 1. */
  readonly step: number;
  readonly learningRate: number;
}

export interface UpdateResult {
  /** Of each row's tokens, under the policy before the update and under the reference, at the temperature. */
  readonly logProbs: readonly Float32Array[];
  readonly refLogProbs: readonly Float32Array[];
  /** Mean over the rows. */
  readonly loss: number;
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: number;
}

export interface Policy {
  readonly config: ModelConfig;
  readonly specs: ParameterSpecs;
  /** Names and shapes of the optimiser's moments. */
  readonly momentSpecs: ParameterSpecs;
  /** Writes every parameter. */
  load(read: ReadTensor): void;
  /** Writes every parameter of the reference. Until the first update a reference of the same values has the same log-probs. */
  loadReference(read: ReadTensor): void;
  /** Writes the moments; without `read`, zeros. */
  loadMoments(read?: ReadTensor): void;
  /** A copy of a parameter or moment. */
  read(name: string): Float32Array;
  sample(rollouts: readonly Rollout[], options: SampleOptions): Promise<Completion[]>;
  /** One step of AdamW. @throws NumericsError when gradient or log-probs are not finite; nothing is changed then. */
  update(batch: UpdateBatch): UpdateResult;
  dispose(): void;
}

const referenceName = (name: string) => `ref.${name}`;

function momentSpecsOf(specs: ParameterSpecs): ParameterSpecs {
  return Object.fromEntries(
    Object.entries(specs).flatMap(([name, shape]) => {
      const { m, v } = adamw.momentNames(name);
      return [
        [m, shape],
        [v, shape],
      ];
    }),
  );
}

/** What a policy keeps, by purpose, and the sizes of its functions. */
export function policyLayout(
  config: ModelConfig,
  { promptLengths, maxNewTokens, slots }: PolicySizes,
  precision: Precision,
  narrowReference: TrainingOptions['narrowReference'] = () => false,
) {
  const parameters = parameterState(config);
  const sizes = samplingSizes(config, { promptLengths, rollouts: slots, maxNewTokens, maxSlots: slots });
  return {
    sizes,
    /** Tokens of the longest row of an update. */
    length: Math.max(...promptLengths) + maxNewTokens,
    parameters,
    frozen: frozenState(config, precision),
    copies: samplerCopies(config, precision),
    caches: cacheState(config, sizes),
    reference: renamed(narrowState(config, narrowReference), referenceName),
    moments: adamw.optimizerState(parameters),
  };
}

/** Builds the program; parameters must be loaded before anything else is done with it. */
export function createPolicy(engine: Engine, config: ModelConfig, options: PolicyOptions): Policy {
  const { training, precision = 'f32' } = options;
  const { maxNewTokens } = options.sizes;
  const specs = parameterSpecs(config);
  const names = Object.keys(specs);
  const { sizes, length, parameters, frozen, copies, caches, ...trained } = policyLayout(
    config,
    options.sizes,
    precision,
    training?.narrowReference,
  );
  // The whole distribution is drawn from: top-k and top-p would make samples that the log-probs do not describe.
  const { functions } = samplingParts(config, sizes, { greedy: false, topK: 0, topP: 1 }, precision);
  const copied = training !== undefined && Object.keys(copies).length > 0;
  const state = {
    ...caches,
    ...(training ? { ...parameters, ...copies, ...trained.reference, ...trained.moments } : frozen),
  };
  checkMemory(engine, stateBytes(state), 'The model with all that is kept for it');
  const program = engine.createProgram({
    state,
    functions: {
      ...(copied ? { ...onCopies(functions, copies), copy: copyFunction(copies) } : functions),
      ...(training && { update: updateFunction(config, names, training, length, maxNewTokens, precision) }),
    },
  });
  for (const name of Object.keys(caches)) program.fill(name, 0);
  const momentSpecs = momentSpecsOf(specs);
  let outdated = copied;

  return {
    config,
    specs,
    momentSpecs,
    load: (read) => {
      writeAll(program, names, (name) => name, read);
      outdated = copied;
    },
    loadReference: (read) => writeAll(program, names, referenceName, read),
    loadMoments: (read) => {
      for (const name of Object.keys(momentSpecs)) {
        if (read === undefined) program.fill(name, 0);
        else program.write(name, read(name));
      }
    },
    read: (name) => program.read(name) as Float32Array,
    async sample(rollouts, sampleOptions) {
      if (outdated) program.run('copy');
      outdated = false;
      return (await sample(program, sizes, rollouts, sampleOptions)).completions;
    },
    update(batch) {
      const result = runUpdate(program, batch, requireTraining(training), length, maxNewTokens);
      outdated = copied;
      return result;
    },
    dispose: () => program.dispose(),
  };
}

function updateFunction(
  config: ModelConfig,
  names: readonly string[],
  { batchSize: B, optimizer, loss, maxGradientNorm }: TrainingOptions,
  T: number,
  W: number,
  precision: Precision,
): FunctionSpec {
  return defineFunction({
    inputs: {
      ...completionInputs(B, T, W),
      advantages: { dtype: 'float32', shape: [B] },
      /** 1 / rows; 0 for rows that are padding. */
      weights: { dtype: 'float32', shape: [B] },
      ...adamw.stepInputs,
    },
    checkNumerics: true,
    precision,
    body(state, inputs) {
      const { advantages: advantage, weights } = inputs;
      const reference: TensorRecord = Object.fromEntries(names.map((name) => [name, state[referenceName(name)]!]));
      const refLogProbs = completionLogProbs(reference, config, inputs);
      let kept: tf.Tensor = refLogProbs;
      const meanLoss = (policy: TensorRecord) => {
        kept = tf.keep(completionLogProbs(policy, config, inputs));
        const delta = tf.sum(tf.sub(kept, refLogProbs), 1);
        return tf.sum(tf.mul(weights, loss<tf.Tensor>(tf, { delta, advantage })));
      };
      const { value, gradients } = valueAndGradients(state, names, meanLoss);
      // tfjs frees what the loss computes on its way unless it is kept, and what is kept it never frees.
      const logProbs = kept.clone();
      kept.dispose();
      const norm = adamw.globalNorm(gradients);
      const scale = adamw.clipScale(norm, maxGradientNorm);
      return {
        outputs: { loss: value, logProbs, refLogProbs, norm },
        assign: adamw.update(state, gradients, inputs, optimizer, scale),
      };
    },
  });
}

function runUpdate(
  program: Program,
  batch: UpdateBatch,
  { batchSize: B, optimizer }: TrainingOptions,
  T: number,
  W: number,
): UpdateResult {
  const advantages = new Float32Array(B);
  advantages.set(batch.advantages);
  const { loss, logProbs, refLogProbs, norm } = program.run('update', {
    ...packCompletions(batch.rows, B, T, W),
    inverseTemperature: Float32Array.of(1 / batch.temperature),
    advantages,
    weights: new Float32Array(B).fill(1 / batch.rows.length, 0, batch.rows.length),
    ...adamw.stepScalars(batch.step, batch.learningRate, optimizer),
  }) as Record<'loss' | 'logProbs' | 'refLogProbs' | 'norm', Float32Array>;
  const perRow = (values: Float32Array) =>
    batch.rows.map(({ completionIds }, row) => values.slice(row * W, row * W + completionIds.length));
  return {
    logProbs: perRow(logProbs),
    refLogProbs: perRow(refLogProbs),
    loss: loss[0]!,
    gradientNorm: norm[0]!,
  };
}

function requireTraining(training: TrainingOptions | undefined): TrainingOptions {
  if (training === undefined) throw new Error('this policy was built without training');
  return training;
}

function writeAll(program: Program, names: readonly string[], target: (name: string) => string, read: ReadTensor) {
  for (const name of names) program.write(target(name), read(name));
}

function renamed<T>(record: Readonly<Record<string, T>>, rename: (name: string) => string): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [rename(name), value]));
}
