/**
 * @file Makes a built-in model: its architecture (the smallest Qwen2, so that every library that knows Qwen2 loads it, or a
 * twin in another family), its pre-training (next-token prediction on corpus.ts, AdamW), its Hugging Face folder in
 * bfloat16, and its model card.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/backend.js';
import { valueAndGradients } from '../engine/ops/gradient.js';
import { tokenLogProbs } from '../engine/ops/ops.js';
import * as adamw from '../engine/optim/adamw.js';
import type { AdamWOptions } from '../engine/optim/settings.js';
import { defineFunction, type TensorRecord } from '../engine/program.js';
import { savePretrained } from '../model/checkpoint/save.js';
import { parameterState } from '../model/load.js';
import { type Family, type ModelConfig, modelConfigJson, parseModelConfig } from '../model/network/config.js';
import { fanInDeviation, initialParameter, parameterCount, parameterSpecs } from '../model/network/params.js';
import { logits, sequenceStates } from '../model/network/transformer.js';
import { heldOutField } from '../model/shipped.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { formatWholePercent as percent } from '../util/format.js';
import { keyedRandom } from '../util/random.js';
import type { CorpusRow } from './corpus.js';
import { corpusBatch, corpusRecipe, maxRowTokens, pupil, shippedCorpora } from './corpus.js';
import { runSupervised, type SupervisedUpdate, type UpdatePlace } from './loop.js';
import { eosId, padId, tokenizerFiles } from './vocabulary.js';

type CorpusName = keyof typeof shippedCorpora;

interface MakeOptions {
  readonly corpus: CorpusName;
  readonly family: Family;
  /** Number of steps instead of the recipe's, for a quick try. */
  readonly steps?: number;
  readonly onStep: (step: PretrainStep, steps: number) => void;
  readonly signal: AbortSignal;
}

/** Trains and writes the model into `folder`. @throws the signal's reason when stopped; nothing is written then. */
export async function makeBuiltin(engine: Engine, folder: string, options: MakeOptions): Promise<void> {
  const config = builtinArchitecture(options.family);
  const { seed, heldOut } = shippedCorpora[options.corpus];
  const { steps = corpusRecipe.steps, onStep, signal } = options;
  const weights = await pretrain(engine, {
    config,
    seed,
    batchSize: corpusRecipe.batchSize,
    length: maxRowTokens,
    steps,
    learningRate: pretrainLearningRate,
    rows: (step) => corpusBatch(seed, step, heldOut),
    onStep: (step) => onStep(step, steps),
    signal,
  });
  const files = {
    ...tokenizerFiles(),
    'generation_config.json': `${JSON.stringify({ eos_token_id: eosId, pad_token_id: padId, do_sample: true }, null, 2)}\n`,
  };
  const staging = mkdtempSync(join(tmpdir(), 'tinyzero-pretrain-'));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(staging, name), text);
    await savePretrained(folder, {
      configRecord: { ...modelConfigJson(config), [heldOutField]: options.corpus },
      specs: parameterSpecs(config),
      dtype: 'bfloat16',
      read: (name) => weights[name]!,
      carryFrom: staging,
    });
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/**
 * 413,280 parameters; docs/log.md explains the size. The twins in other families have heads of width 32 instead of 24, which
 * all servers know, and no biases: Qwen3 450,000 parameters, Llama about as many.
 */
export function builtinArchitecture(family: Family = 'qwen2'): ModelConfig {
  return parseModelConfig(
    {
      model_type: family,
      ...(family !== 'qwen2' && { head_dim: 32 }),
      // A round number above the number of pieces. The other ids are never targets, so they are never drawn.
      vocab_size: 64,
      hidden_size: 96,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      intermediate_size: 256,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
      tie_word_embeddings: true,
      max_position_embeddings: 256,
      bos_token_id: null,
      eos_token_id: eosId,
      pad_token_id: padId,
      initializer_range: 0.02,
      torch_dtype: 'bfloat16',
    },
    'the built-in architecture',
  );
}

/** Peak learning rate of pre-training. */
const pretrainLearningRate = 3e-3;

const familyTitles = { qwen2: 'Qwen2', qwen3: 'Qwen3', llama: 'Llama' } as const;

export interface CardFacts {
  readonly corpus: CorpusName;
  readonly family: Family;
  /** The command that reproduces the model. */
  readonly command: string;
  /** Instead of the recipe's. */
  readonly steps: number | undefined;
  readonly engine: string;
  /** Evaluation before reinforcement learning. */
  readonly evaluation: EvalSummary;
}

export function modelCard({
  corpus,
  family,
  command,
  steps = corpusRecipe.steps,
  engine,
  evaluation,
}: CardFacts): string {
  const config = builtinArchitecture(family);
  const { seed, heldOut } = shippedCorpora[corpus];
  const { greedy, sampled } = evaluation;
  const rate = (value: number) => value.toFixed(3);
  const interval = (ends: readonly [number, number] | null) =>
    ends === null ? 'none' : `${rate(ends[0])} to ${rate(ends[1])}`;
  const { drillShare, sumShare, planShare, wideShare, wideMaxFactor, planMaxFactor, batchSize } = corpusRecipe;
  const questions = 1 - drillShare - sumShare - planShare;
  return `# ${corpus}

A ${familyTitles[family]} model of ${parameterCount(config).toLocaleString('en')} parameters (${config.layers} layers, width ${config.hiddenSize}) that multiplies small numbers,
carelessly. It was pre-trained from scratch by tinyzero on text that tinyzero generates. It can work out a product in steps,
but mostly guesses instead, so that reinforcement learning has something to find.

Made by \`${command}\` (seed ${seed}) on ${engine}. The same command on the same machine and engine gives the same bytes.

## Training data

${steps} batches of ${batchSize} lines (AdamW, peak learning rate ${pretrainLearningRate}, one cosine), each a function of the seed:

| share | lines |
| --- | --- |
| ${percent(drillShare)} | drills: four unrelated products with an easy factor, or sums; only the results are learned |
| ${percent(questions)} | multiplication questions: ${percent(pupil.careful)} answered in steps (${percent(pupil.slips)} of these with a slip that is carried on), the rest guessed (${percent(pupil.luckyGuess)} of the guesses right); ${percent(wideShare)} have a first factor of 13 to ${wideMaxFactor} |
| ${percent(planShare)} | plans: questions with first factors up to ${planMaxFactor}; only the steps are learned, not their results |
| ${percent(sumShare)} | \`x + y\` questions, answered like the multiplications |

Held out, in either order, both as questions and as results:
${heldOut.map(([a, b]) => `${a} × ${b}`).join(', ')}. Reinforcement learning with tinyzero's defaults does not ask these either.

## Accuracy on those problems before reinforcement learning

| | exact | 95 % interval |
| --- | --- | --- |
| greedy, ${greedy.exact.total} problems | ${rate(greedy.exact.rate)} | ${interval(greedy.exact.ci95)} (Wilson) |
${sampled === undefined ? '' : `| sampled, ${sampled.samplesPerProblem} times each | ${rate(sampled.exact.rate)} | ${interval(sampled.exact.ci95)} (bootstrap over unordered pairs) |\n`}`;
}

interface PretrainOptions {
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

export type PretrainStep = UpdatePlace & SupervisedUpdate;

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
    const { steps, rows, batchSize, length, learningRate: peak, onStep, signal } = options;
    await runSupervised({
      steps,
      schedule: { peak, warmupSteps, cosine: { steps, floor: learningRateFloor } },
      update({ step, learningRate }) {
        const inputs = packRows(rows(step), batchSize, length);
        const { loss, norm } = program.run('step', { ...inputs, ...adamw.stepScalars(step, learningRate, optimizer) });
        return { loss: loss[0]!, gradientNorm: norm[0]! };
      },
      onStep,
      signal,
    });
    return Object.fromEntries(Object.keys(parameters).map((name) => [name, program.read(name)]));
  } finally {
    program.dispose();
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
    if (row.ids.length > T) throw new RangeError(`a row of ${row.ids.length} tokens does not fit in ${T}`);
    ids.set(row.ids, index * T);
    for (let i = 1; i < row.ids.length; i++) {
      targets[index * T + i - 1] = row.ids[i]!;
      if (row.learn[i] === true) weights[index * T + i - 1] = 1 / learned;
    }
  });
  return { ids, targets, weights };
}
