/**
 * @file One update: the rows of a batch run in passes, whose gradients are accumulated in state; then AdamW takes one step.
 * The gradient does not depend on how the rows are split, up to rounding.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Freeze, Precision } from '../engine/choices.js';
import { embedding } from '../engine/ops/ops.js';
import { clear } from '../engine/ops/state-ops.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import { defineFunction, type ReplicaRunner, type TensorRecord } from '../engine/program.js';
import type { ModelConfig } from '../model/network/config.js';
import { firstLogSums, firstTokenInputs, packFirstTokens } from '../model/network/first-token.js';
import type { CompletionRow } from '../model/network/log-probs.js';
import {
  type OutputLayer,
  type Pass,
  packedLogProbs,
  packedPredictions,
  packPass,
  packValues,
  passContext,
  passInputs,
  planPasses,
  valuesByRow,
} from '../model/network/packed.js';
import type { LoraOptions } from '../model/network/params.js';
import { embeddingName, lookupName, outputName } from '../model/network/params.js';
import { addGradients, returned, zerosFunction } from './gradients.js';
import { frozenOf, gradientName, type PolicyLayout, pick, referenceOf, type TrainingLayout } from './layout.js';
import { applyTogether } from './replicas.js';
import type { RowLoss } from './row-loss.js';
import type { UpdateShape } from './update-shape.js';

export interface UpdateOptions {
  readonly loss: RowLoss;
  readonly optimizer: AdamWOptions;
  /** The gradient is scaled down to this global norm if it is larger. */
  readonly maxGradientNorm: number;
  readonly lora?: LoraOptions | undefined;
  /** Weights that are not trained, in the policy and in the reference. Default: none. */
  readonly freeze?: Freeze | undefined;
  /** Processes that compute it together. Default 1. */
  readonly replicas?: number;
  /** What δ compares the policy with: the reference model (default), or the log-probs that the rows were sampled with. */
  readonly anchor?: 'reference' | 'sampler' | undefined;
  /** Whether δ of the loss includes V_θ of the prompt: log Σ exp(logits / temperature) of the logits of the first token. */
  readonly addsValue?: boolean | undefined;
  /** Whether completions are scored between updates. */
  readonly scores?: boolean | undefined;
}

/** A completion with the log-prob of each of its tokens as it was sampled; needed if the anchor is the sampler. */
interface SampledRow extends CompletionRow {
  readonly logProbs?: ArrayLike<number>;
}

export interface UpdateBatch {
  /** At most `batchSize` rows. */
  readonly rows: readonly SampledRow[];
  /** Advantage of each row. */
  readonly advantages: readonly number[];
  readonly temperature: number;
  /** Number of this update, from 1. */
  readonly step: number;
  readonly learningRate: number;
}

export interface UpdateResult {
  /** Log-prob of each row's tokens at the temperature, under the policy before the update. */
  readonly logProbs: readonly Float32Array[];
  /** The same under the reference, or as sampled, see {@link UpdateOptions.anchor}. */
  readonly refLogProbs: readonly Float32Array[];
  /** V_θ of each row's prompt, with {@link UpdateOptions.addsValue}. */
  readonly values?: readonly number[];
  /** Mean over the rows. */
  readonly loss: number;
  /** Global norm of the gradient before clipping. */
  readonly gradientNorm: number;
}

/** The output layer's weights of each row's first token, among the tensors that get a gradient. */
const firstName = 'first tokens';

/** The functions of an update: `clear` the gradient, `accumulate` it pass by pass, `apply` it; and `score`, if requested. */
export function updateFunctions(
  config: ModelConfig,
  layout: PolicyLayout,
  shape: UpdateShape,
  { loss, optimizer, maxGradientNorm, lora, anchor, addsValue = false, scores = false, replicas = 1 }: UpdateOptions,
  precision: Precision,
) {
  const names = Object.keys(layout.trained);
  const { recompute, rows: R } = shape;
  const { recompute: _, ...sizes } = shape;
  return {
    clear: zerosFunction(Object.keys(layout.gradients), clear),
    accumulate: defineFunction({
      inputs: {
        ...passInputs(sizes),
        advantages: { dtype: 'float32', shape: [R] },
        /** 1 / rows of the batch; 0 for rows that are not in this pass. */
        weights: { dtype: 'float32', shape: [R] },
        /** Log-prob of each completion token as sampled; padding: 0. */
        ...(anchor === 'sampler' && { sampled: { dtype: 'float32', shape: [sizes.predictions] } as const }),
        ...(addsValue && firstTokenInputs(sizes)),
      },
      outputs: {
        loss: 'float32',
        logProbs: 'float32',
        ...(addsValue && ({ values: 'float32' } as const)),
        refLogProbs: 'float32',
      },
      checkNumerics: true,
      precision,
      body(state, inputs) {
        const { advantages: advantage, weights, targetRows, firsts, firstIds } = inputs;
        const context = passContext(config, inputs, sizes);
        const frozen = frozenOf(state, layout, lora);
        const refLogProbs: tf.Tensor =
          inputs.sampled?.clone() ?? packedLogProbs({}, referenceOf(state, layout), config, context, recompute);
        // [R, P]: 1 where a token belongs to a row. Floats, since integers would be compared on the host of a GPU.
        const members = tf
          .equal(tf.range(0, R, 1, 'float32').expandDims(1), targetRows.toFloat().expandDims(0))
          .toFloat();
        const kept: { logProbs?: tf.Tensor; values?: tf.Tensor } = {};
        const meanLoss = (trained: TensorRecord, output?: OutputLayer) => {
          const predictions = packedPredictions(trained, frozen, config, context, recompute, output);
          kept.logProbs = tf.keep(predictions.logProbs);
          const moved = tf.sum(tf.mul(members, tf.sub(kept.logProbs, refLogProbs).expandDims(0)), 1);
          if (firsts !== undefined && firstIds !== undefined) {
            const weights = trained[firstName] ?? embedding(frozen[outputName(config)]!, firstIds);
            kept.values = tf.keep(firstLogSums(weights, predictions, firsts, inputs.inverseTemperature));
          }
          const delta = kept.values === undefined ? moved : tf.add(moved, kept.values);
          return tf.sum(tf.mul(weights, loss<tf.Tensor>(tf, { delta, advantage })));
        };
        const lookups = {
          [lookupName]: { table: embeddingName, ids: inputs.ids },
          ...(firstIds && { [firstName]: { table: outputName(config), ids: firstIds } }),
        };
        const { value, assign } = addGradients(state, names, { config, lookups }, meanLoss);
        const logProbs = returned(kept.logProbs!);
        const values = kept.values && { values: returned(kept.values) };
        return { outputs: { loss: value, logProbs, ...values, refLogProbs }, assign };
      },
    }),
    apply:
      replicas === 1
        ? applyFunction(names, optimizer, maxGradientNorm)
        : applyTogether(layout.trained, replicas, optimizer, maxGradientNorm),
    ...(scores && { score: scoreFunction(config, layout, { shape, precision, lora }) }),
  };
}

/** The log-probs of the rows of a pass under the policy: `logProbs` [predictions] f32. */
export function scoreFunction(
  config: ModelConfig,
  layout: TrainingLayout,
  {
    shape: { recompute, ...sizes },
    precision,
    lora,
  }: Pick<UpdateOptions, 'lora'> & { readonly shape: UpdateShape; readonly precision: Precision },
) {
  const names = Object.keys(layout.trained);
  return defineFunction({
    inputs: passInputs(sizes),
    outputs: { logProbs: 'float32' },
    checkNumerics: true,
    precision,
    body(state, inputs) {
      const context = passContext(config, inputs, sizes);
      const frozen = frozenOf(state, layout, lora);
      return { outputs: { logProbs: packedLogProbs(pick(state, names), frozen, config, context, recompute) } };
    },
  });
}

/** One step of AdamW with the clipped sums of the gradients; `norm` is their global norm before clipping. */
export function applyFunction(names: readonly string[], optimizer: AdamWOptions, maxGradientNorm: number) {
  return defineFunction({
    inputs: adamw.stepInputs,
    outputs: { norm: 'float32' },
    checkNumerics: true,
    body(state, inputs) {
      const gradients = Object.fromEntries(names.map((name) => [name, state[gradientName(name)]!]));
      const norm = adamw.globalNorm(gradients);
      const scale = adamw.clipScale(norm, maxGradientNorm);
      return { outputs: { norm }, assign: adamw.update(state, gradients, inputs, optimizer, scale) };
    },
  });
}

export type UpdateFunctions = ReturnType<typeof updateFunctions>;

/**
 * Runs an update.
 *
 * @throws RangeError for too many rows; NumericsError for a log-prob, loss or gradient that is not finite. The weights are then
 *   unchanged.
 */
export async function runUpdate(
  program: ReplicaRunner<UpdateFunctions>,
  batch: UpdateBatch,
  shape: UpdateShape,
  { optimizer, anchor, addsValue }: Pick<UpdateOptions, 'optimizer' | 'anchor' | 'addsValue'>,
): Promise<UpdateResult> {
  const { rows } = batch;
  if (rows.length > shape.rows) throw new RangeError(`${rows.length} rows do not fit a batch of ${shape.rows}`);
  const advantages = new Float32Array(shape.rows);
  advantages.set(batch.advantages);
  const inverseTemperature = Float32Array.of(1 / batch.temperature);
  const logProbs: Float32Array[] = new Array(rows.length);
  const refLogProbs: Float32Array[] = new Array(rows.length);
  const values: number[] = new Array(rows.length);
  let loss = 0;
  await program.run('clear');
  for (const passes of turns(rows, shape, program.replicas)) {
    const calls = passes.map((pass, replica) => {
      const weights = new Float32Array(shape.rows);
      for (const { row } of pass) weights[row] = 1 / rows.length;
      const inputs = { ...packPass(rows, pass, shape), inverseTemperature, advantages, weights };
      const sampled = anchor === 'sampler' && { sampled: packValues(rows, pass, shape, ({ logProbs }) => logProbs!) };
      return { replica, inputs: { ...inputs, ...sampled, ...(addsValue && packFirstTokens(rows, pass, shape)) } };
    });
    for (const [index, results] of (await program.runEach('accumulate', calls)).entries()) {
      const pass = passes[index]!;
      loss += results.loss[0]!;
      for (const [row, each] of valuesByRow(rows, pass, results.logProbs)) logProbs[row] = each;
      for (const [row, each] of valuesByRow(rows, pass, results.refLogProbs)) refLogProbs[row] = each;
      if (results.values !== undefined) for (const { row } of pass) values[row] = results.values[row]!;
    }
  }
  const { norm } = await program.run('apply', adamw.stepScalars(batch.step, batch.learningRate, optimizer));
  return { logProbs, refLogProbs, ...(addsValue && { values }), loss, gradientNorm: norm[0]! };
}

/** Log-probs of the rows' tokens at the temperature, under the current policy, computed as in an update. */
export async function runScore(
  program: ReplicaRunner<Pick<UpdateFunctions, 'score'>>,
  rows: readonly CompletionRow[],
  temperature: number,
  shape: UpdateShape,
): Promise<Float32Array[]> {
  const logProbs: Float32Array[] = new Array(rows.length);
  const inverseTemperature = Float32Array.of(1 / temperature);
  for (const passes of turns(rows, shape, program.replicas)) {
    const calls = passes.map((pass, replica) => ({
      replica,
      inputs: { ...packPass(rows, pass, shape), inverseTemperature },
    }));
    for (const [index, results] of (await program.runEach('score', calls)).entries()) {
      for (const [row, values] of valuesByRow(rows, passes[index]!, results.logProbs)) logProbs[row] = values;
    }
  }
  return logProbs;
}

/** The passes of `rows`, as many together as there are replicas. */
function turns(rows: readonly CompletionRow[], shape: UpdateShape, replicas: number): Pass[][] {
  const passes = planPasses(rows, shape);
  return Array.from({ length: Math.ceil(passes.length / replicas) }, (_, turn) =>
    passes.slice(turn * replicas, (turn + 1) * replicas),
  );
}
