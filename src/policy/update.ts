/**
 * @file One update: the rows of a batch run in passes, whose gradients are accumulated in state; then AdamW takes one step.
 * The gradient does not depend on how the rows are split, up to rounding.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Precision } from '../engine/choices.js';
import { embedding } from '../engine/ops/ops.js';
import { clear } from '../engine/ops/state-ops.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import {
  defineFunction,
  type FunctionSpec,
  floats,
  type Program,
  type ReplicaCall,
  type TensorRecord,
} from '../engine/program.js';
import type { Int } from '../engine/shape.js';
import type { ModelConfig } from '../model/network/config.js';
import { firstLogSums, firstTokenInputs, packFirstTokens } from '../model/network/first-token.js';
import type { CompletionRow } from '../model/network/log-probs.js';
import {
  type OutputLayer,
  type PassTensors,
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
): Record<'clear' | 'accumulate' | 'apply', FunctionSpec> & { readonly score?: FunctionSpec } {
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
      checkNumerics: true,
      precision,
      body(state, inputs) {
        const { advantages: advantage, weights, targetRows } = inputs;
        const context = passContext(config, inputs, sizes);
        const frozen = frozenOf(state, layout, lora);
        const refLogProbs: tf.Tensor =
          inputs.sampled?.clone() ?? packedLogProbs({}, referenceOf(state, layout), config, context, recompute);
        // [R, P]: 1 where a token belongs to a row. Floats, since integers would be compared on the host of a GPU.
        const members = tf
          .equal(tf.range(0, R, 1, 'float32').expandDims(1), targetRows.toFloat().expandDims(0))
          .toFloat();
        const kept: Record<string, tf.Tensor> = {};
        const first = addsValue
          ? (inputs as PassTensors & { readonly firsts: tf.Tensor; readonly firstIds: tf.Tensor })
          : undefined;
        const meanLoss = (trained: TensorRecord, output?: OutputLayer) => {
          const predictions = packedPredictions(trained, frozen, config, context, recompute, output);
          kept.logProbs = tf.keep(predictions.logProbs);
          const moved = tf.sum(tf.mul(members, tf.sub(kept.logProbs, refLogProbs).expandDims(0)), 1);
          if (first !== undefined) {
            const weights = trained[firstName] ?? embedding(frozen[outputName(config)]!, first.firstIds as Int<'R'>);
            kept.values = tf.keep(firstLogSums(weights, predictions, first, inputs.inverseTemperature));
          }
          const delta = kept.values === undefined ? moved : tf.add(moved, kept.values);
          return tf.sum(tf.mul(weights, loss<tf.Tensor>(tf, { delta, advantage })));
        };
        const lookups = {
          [lookupName]: { table: embeddingName, ids: inputs.ids },
          ...(first && { [firstName]: { table: outputName(config), ids: first.firstIds } }),
        };
        const { value, assign } = addGradients(state, names, { config, lookups }, meanLoss);
        return { outputs: { loss: value, ...returned(kept), refLogProbs }, assign };
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
): FunctionSpec {
  const names = Object.keys(layout.trained);
  return defineFunction({
    inputs: passInputs(sizes),
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
export function applyFunction(
  names: readonly string[],
  optimizer: AdamWOptions,
  maxGradientNorm: number,
): FunctionSpec<typeof adamw.stepInputs> {
  return defineFunction({
    inputs: adamw.stepInputs,
    checkNumerics: true,
    body(state, inputs) {
      const gradients = Object.fromEntries(names.map((name) => [name, state[gradientName(name)]!]));
      const norm = adamw.globalNorm(gradients);
      const scale = adamw.clipScale(norm, maxGradientNorm);
      return { outputs: { norm }, assign: adamw.update(state, gradients, inputs, optimizer, scale) };
    },
  });
}

type Outputs = ReturnType<Program['run']>;
type CallOptions = Pick<UpdateOptions, 'optimizer' | 'anchor' | 'addsValue'>;

/** One call in an update: to every replica with the same inputs, or to the first ones, each with its own inputs. */
interface UpdateCall {
  readonly name: string;
  readonly inputs?: ReplicaCall['inputs'];
  readonly each?: readonly ReplicaCall[];
}

/** The calls of an update, independent of who makes them. Receives the outputs of each call, one item for each of `each`. */
function* updateCalls(
  replicas: number,
  batch: UpdateBatch,
  shape: UpdateShape,
  { optimizer, anchor, addsValue }: CallOptions,
): Generator<UpdateCall, UpdateResult, readonly Outputs[]> {
  const { rows } = batch;
  if (rows.length > shape.rows) throw new RangeError(`${rows.length} rows do not fit a batch of ${shape.rows}`);
  const advantages = new Float32Array(shape.rows);
  advantages.set(batch.advantages);
  const logProbs: Float32Array[] = new Array(rows.length);
  const refLogProbs: Float32Array[] = new Array(rows.length);
  const values: number[] = new Array(rows.length);
  let loss = 0;
  yield { name: 'clear' };
  const passes = planPasses(rows, shape);
  for (let first = 0; first < passes.length; first += replicas) {
    const together = passes.slice(first, first + replicas);
    const each = together.map((pass, replica) => {
      const weights = new Float32Array(shape.rows);
      for (const { row } of pass) weights[row] = 1 / rows.length;
      const inverseTemperature = Float32Array.of(1 / batch.temperature);
      const inputs = { ...packPass(rows, pass, shape), inverseTemperature, advantages, weights };
      const sampled = anchor === 'sampler' && { sampled: packValues(rows, pass, shape, ({ logProbs }) => logProbs!) };
      return { replica, inputs: { ...inputs, ...sampled, ...(addsValue && packFirstTokens(rows, pass, shape)) } };
    });
    for (const [index, results] of (yield { name: 'accumulate', each }).entries()) {
      const pass = together[index]!;
      loss += floats(results.loss)[0]!;
      for (const [row, each] of valuesByRow(rows, pass, floats(results.logProbs))) logProbs[row] = each;
      for (const [row, each] of valuesByRow(rows, pass, floats(results.refLogProbs))) refLogProbs[row] = each;
      if (addsValue) for (const { row } of pass) values[row] = floats(results.values)[row]!;
    }
  }
  const inputs = adamw.stepScalars(batch.step, batch.learningRate, optimizer);
  const [{ norm } = {}] = yield { name: 'apply', inputs };
  return { logProbs, refLogProbs, ...(addsValue && { values }), loss, gradientNorm: floats(norm)[0]! };
}

/** The calls that score rows, as an update does. */
function* scoreCalls(
  replicas: number,
  rows: readonly CompletionRow[],
  temperature: number,
  shape: UpdateShape,
): Generator<UpdateCall, Float32Array[], readonly Outputs[]> {
  const logProbs: Float32Array[] = new Array(rows.length);
  const passes = planPasses(rows, shape);
  const inverseTemperature = Float32Array.of(1 / temperature);
  for (let first = 0; first < passes.length; first += replicas) {
    const together = passes.slice(first, first + replicas);
    const each = together.map((pass, replica) => ({
      replica,
      inputs: { ...packPass(rows, pass, shape), inverseTemperature },
    }));
    for (const [index, results] of (yield { name: 'score', each }).entries()) {
      for (const [row, values] of valuesByRow(rows, together[index]!, floats(results.logProbs))) logProbs[row] = values;
    }
  }
  return logProbs;
}

type Calls<Result> = Generator<UpdateCall, Result, readonly Outputs[]>;

function make<Result>(program: Program, calls: Calls<Result>): Result {
  let step = calls.next();
  while (!step.done) {
    const { name, inputs, each } = step.value;
    step = calls.next(each === undefined ? [program.run(name, inputs)] : program.runEach(name, each));
  }
  return step.value;
}

/** As {@link make}, for a program of one process, with results as promises. */
async function makeLater<Result>({ start }: Pick<Program, 'start'>, calls: Calls<Result>): Promise<Result> {
  let step = calls.next();
  while (!step.done) {
    const { name, inputs = {}, each = [{ replica: 0, inputs }] } = step.value;
    step = calls.next([await start(name, each[0]!)]);
  }
  return step.value;
}

type Rest<Of extends (replicas: number, ...rest: never[]) => unknown> =
  Parameters<Of> extends [number, ...infer Others] ? Others : never;

/** Runs an update. @throws NumericsError for a log-prob, loss or gradient that is not finite; weights are then unchanged. */
export const runUpdate = (program: Program, ...rest: Rest<typeof updateCalls>): UpdateResult =>
  make(program, updateCalls(program.replicas, ...rest));

export const runUpdateLater = (program: Program, ...rest: Rest<typeof updateCalls>): Promise<UpdateResult> =>
  makeLater(program, updateCalls(1, ...rest));

/** Log-probs of the rows' tokens at the temperature, under the current policy, computed as in an update. */
export const runScore = (program: Program, ...rest: Rest<typeof scoreCalls>): Float32Array[] =>
  make(program, scoreCalls(program.replicas, ...rest));

export const runScoreLater = (program: Program, ...rest: Rest<typeof scoreCalls>): Promise<Float32Array[]> =>
  makeLater(program, scoreCalls(1, ...rest));
