/**
 * @file The parts in tinyzero: sampling, scoring or a training step on its own, on any model folder, in its own process.
 * `node dist/bench/parts.js PART.json`; the last line is JSON. bench/peers/parts.py does the same in PyTorch.
 */
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../src/engine/backend.js';
import type { Precision } from '../src/engine/choices.js';
import { valueAndGradients } from '../src/engine/ops/gradient.js';
import * as adamw from '../src/engine/optim/adamw.js';
import { defineFunction, type TensorRecord } from '../src/engine/program.js';
import { openPretrained, type Pretrained } from '../src/model/checkpoint/pretrained.js';
import { createModelProgram, parameterState } from '../src/model/load.js';
import { completionInputs, completionLogProbs, packCompletions } from '../src/model/network/log-probs.js';
import { loraTargets } from '../src/model/network/params.js';
import { planScoring, score, scoreFunctions } from '../src/model/score.js';
import { optimizer } from '../src/options/defaults.js';
import { createPolicy } from '../src/policy/policy.js';
import { mean } from '../src/util/statistics.js';
import { seededUniform, sinceStart } from './measure.js';
import { loadedPolicy } from './policy.js';

export interface Part {
  /** `step`: forward, backward, clipping and AdamW; `update`: the same with the reference's forward pass, as in a run. */
  readonly kind: 'sample' | 'score' | 'step' | 'update';
  /** A Hugging Face folder; its tokenizer is not used. */
  readonly model: string;
  readonly vocabulary: number;
  /** Number of sequences, and their prompt and completion tokens. */
  readonly rows: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Sampling: sequences that share a prompt. */
  readonly samples: number;
  readonly precision: Precision;
  /** Counted runs. The first run, which compiles, is timed separately. */
  readonly runs: number;
  /** Implementation on the Python side. */
  readonly code?: 'transformers' | 'batched';
  readonly compiled?: boolean;
  /** Rank of adapters on all linear layers, which alone are trained. */
  readonly loraRank?: number;
}

export interface PartResult {
  /** Seconds from the start of the process until the model is loaded. */
  readonly loadSeconds: number;
  readonly firstSeconds: number;
  readonly seconds: readonly number[];
  /** Values of the first runs (tokens drawn, mean score or loss), on which all sides must agree. */
  readonly values: readonly number[];
}

/** Runs the part once and returns its value. */
type Run = () => Promise<number>;

const prepare: Record<Part['kind'], (engine: Engine, model: Pretrained, part: Part) => Promise<Run>> = {
  sample: sampling,
  score: scoring,
  step: trainingStep,
  update: policyUpdate,
};

if (process.argv[2] !== undefined) {
  console.log(JSON.stringify(await measure(JSON.parse(readFileSync(process.argv[2], 'utf8')) as Part)));
}

async function measure(part: Part): Promise<PartResult> {
  const run = await prepare[part.kind](await openEngine('tensorflow'), openPretrained(part.model), part);
  const loadSeconds = sinceStart();
  const seconds: number[] = [];
  const values: number[] = [];
  for (let time = 0; time <= part.runs; time++) {
    const began = performance.now();
    values.push(await run());
    seconds.push((performance.now() - began) / 1000);
  }
  return { loadSeconds, firstSeconds: seconds[0]!, seconds: seconds.slice(1), values: values.slice(0, 3) };
}

/** Token ids that are the same in every run and on every side, and different in every row. */
function ids({ vocabulary }: Part, row: number, count: number): number[] {
  const uniform = seededUniform(row + 1);
  return Array.from({ length: count }, () => Math.floor(uniform() * vocabulary));
}

function rowsOf(part: Part) {
  return Array.from({ length: part.rows }, (_, row) => ({
    promptIds: ids(part, row, part.promptTokens),
    completionIds: ids(part, row + part.rows, part.newTokens),
  }));
}

async function sampling(engine: Engine, model: Pretrained, part: Part): Promise<Run> {
  const { rows, samples, promptTokens, newTokens: maxNewTokens, precision } = part;
  const promptLengths = new Array<number>(rows / samples).fill(promptTokens);
  const policy = createPolicy(engine, model.config, {
    sizes: { promptLengths, maxNewTokens, slots: rows },
    precision,
  });
  policy.load(model.weights.read);
  return async () => {
    const rollouts = Array.from({ length: rows }, (_, row) => ({
      promptIds: ids(part, Math.floor(row / samples), promptTokens),
      uniform: seededUniform(row),
      maxNewTokens,
    }));
    const completions = await policy.sample(rollouts, { temperature: 1, endIds: new Set() });
    return completions.reduce((sum, completion) => sum + completion.ids.length, 0);
  };
}

async function scoring(engine: Engine, model: Pretrained, part: Part): Promise<Run> {
  const scored = rowsOf(part);
  const plan = planScoring(model.config, scored);
  const program = await createModelProgram(engine, model, {
    state: {},
    functions: scoreFunctions(model.config, plan.groups),
  });
  return async () => {
    const logProbs = await score(program, plan, scored, { temperature: 1 });
    return mean(logProbs.map((row) => row.reduce((sum, value) => sum + value, 0)));
  };
}

/** An update of a run, with its gradient in passes. Rows have the same length, so nothing is saved by packing. */
async function policyUpdate(engine: Engine, model: Pretrained, part: Part): Promise<Run> {
  const { rows: batchSize, loraRank } = part;
  const { config, weights } = model;
  const policy = loadedPolicy(
    engine,
    config,
    weights.read,
    { ...part, batchSize },
    {
      dtypeOf: weights.dtypeOf,
      ...(loraRank !== undefined && { lora: { rank: loraRank, alpha: 2 * loraRank, targets: loraTargets } }),
    },
  );
  const advantages = new Array<number>(batchSize).fill(0.5);
  let step = 0;
  return async () => {
    step += 1;
    return (await policy.update({ rows: rowsOf(part), advantages, temperature: 1, step, learningRate: 1e-4 })).loss;
  };
}

/** The loss has the form of A*PO's. */
async function trainingStep(engine: Engine, model: Pretrained, part: Part): Promise<Run> {
  const { config } = model;
  const { rows: B, newTokens: W } = part;
  const T = part.promptTokens + W;
  const parameters = parameterState(config);
  const names = Object.keys(parameters);
  const program = await createModelProgram(engine, model, {
    state: adamw.optimizerState(parameters),
    functions: {
      step: defineFunction({
        inputs: { ...completionInputs(B, T, W), ...adamw.stepInputs },
        precision: part.precision,
        body(state, inputs) {
          const loss = (record: TensorRecord) => {
            const sums = tf.sum(completionLogProbs(record, config, inputs), 1);
            return tf.mean(tf.square(tf.sub(tf.mul(sums, 1e-3), 0.5)));
          };
          const { value, gradients } = valueAndGradients(state, names, loss);
          const scale = adamw.clipScale(adamw.globalNorm(gradients), 1);
          return { outputs: { loss: value }, assign: adamw.update(state, gradients, inputs, optimizer, scale) };
        },
      }),
    },
  });
  const batch = packCompletions(rowsOf(part), B, T, W);
  let step = 0;
  return async () => {
    step += 1;
    const { loss } = program.run('step', {
      ...batch,
      inverseTemperature: Float32Array.of(1),
      ...adamw.stepScalars(step, 1e-4, optimizer),
    });
    return loss?.[0] as number;
  };
}
