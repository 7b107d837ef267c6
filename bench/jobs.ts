/**
 * @file The whole job, as all sides of the comparison read it from a JSON file: problems, numbers of samples and
 * hyperparameters. Problems are pairs of factors.
 */
import { readFileSync } from 'node:fs';
import {
  allProducts,
  type HeldOutSplit,
  heldOutSplits,
  type Product,
  pairName,
  splitProducts,
} from '../src/data/multiplication.js';
import type { Wording } from '../src/data/prompt.js';
import type { Freeze } from '../src/engine/choices.js';
import { describePretrained } from '../src/model/checkpoint/pretrained.js';
import { parameterCount } from '../src/model/network/params.js';
import { describeModel } from '../src/model/open.js';
import { endTokens } from '../src/model/prompt-input.js';
import { builtinModel, shippedModel } from '../src/model/shipped.js';
import { openProblems } from '../src/options/problems.js';
import {
  completeSettings,
  defaultOptions,
  heldOutSplitOf,
  type Settings,
  warmupSteps,
} from '../src/options/settings.js';
import type { MultiplicationRewardOptions } from '../src/reward/multiplication.js';
import { keyedRandom } from '../src/util/random.js';
import { silentReporter } from '../src/util/reporter.js';

type Factors = readonly [number, number];

export interface WholeJob {
  /** A Hugging Face folder; `out` is the folder for the trained weights, which does not exist yet. */
  readonly model: string;
  readonly out: string;
  /** Distinct problems to train on, and to evaluate before and after. */
  readonly train: readonly Factors[];
  readonly heldOut: readonly Factors[];
  /** How a problem is asked. If the model has a chat template, the question is a user message. */
  readonly wording: Wording;
  /** How answers are read and rewarded; see `multiplicationReward`. */
  readonly reward: MultiplicationRewardOptions['kind'];
  readonly reads: MultiplicationRewardOptions['read'];
  /** Stage 1: samples per problem. */
  readonly samples: number;
  /** Stage 2: indices into `train` that each epoch visits, one rollout each; one update per `batchSize` rollouts. */
  readonly rows: readonly number[];
  readonly epochs: number;
  /** Whether tinyzero redraws the rows by the samples of stage 1. The peers have no such option. */
  readonly curriculum: Settings['curriculum'];
  /** Weights that are not trained. */
  readonly freeze: Freeze;
  readonly batchSize: number;
  /** Evaluation: samples per problem, besides the greedy completion. */
  readonly evalSamples: number;
  /** Tokens of every completion, or their limit if one of `endIds` can end it. */
  readonly newTokens: number;
  /** Empty: completions never end early, so that all sides draw the same number of tokens, and none counts as cut off. */
  readonly endIds: readonly number[];
  readonly beta1: number;
  readonly beta2: number;
  readonly temperature: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Fraction of the learning rate that a cosine decay reaches at the last update. */
  readonly decayTo: number;
  readonly maxGradientNorm: number;
  readonly seed: number;
}

/** The parts of the job in order; `load` is from the start of the process. */
export const phaseNames = ['load', 'evalBefore', 'stage1', 'stage2', 'evalAfter', 'save'] as const;

/** A side's result: seconds, completions, tokens and mean reward by phase; the rewards also of `evalBeforeGreedy` etc. */
export interface JobResult {
  readonly phases: Readonly<Record<string, number>>;
  readonly sequences: Readonly<Record<string, number>>;
  readonly tokens: Readonly<Record<string, number>>;
  readonly rewards: Readonly<Record<string, number>>;
  readonly updates: number;
  readonly firstTokenSeconds?: number | undefined;
}

export type JobSize = Pick<WholeJob, 'samples' | 'epochs' | 'evalSamples' | 'newTokens'> & {
  readonly problems: number;
};

/** Full size: 4,000 sequences in stage 1, 1,500 in stage 2, and 1,300 in each evaluation, of 32 tokens each. */
export const fullSize: JobSize = { problems: 500, samples: 8, epochs: 3, evalSamples: 64, newTokens: 32 };

/** The model of the job. */
export const builtin = describePretrained(shippedModel(builtinModel));
const heldOut = heldOutSplitOf(builtin.configRecord) as HeldOutSplit;
const settings = completeSettings(defaultOptions(), {
  heldOut,
  hasChatTemplate: false,
  parameters: parameterCount(builtin.config),
});
/** Its problems: those for training, and its held-out ones. */
const own = splitProducts(settings.min, settings.max, heldOutSplits[heldOut]);

/** What a job takes over from settings, with `updates` updates. */
function jobSettings(settings: Settings, updates: number) {
  const { model, wording, reward, rewardReads, curriculum, freeze, batchSize, beta1, beta2, temperature } = settings;
  const { lr, decayTo, maxGradientNorm, seed } = settings;
  const rate = { learningRate: lr, warmupSteps: warmupSteps(settings, updates), decayTo };
  const asked = { model, wording, reward, reads: rewardReads, temperature, seed };
  return { ...asked, curriculum, freeze, batchSize, beta1, beta2, ...rate, maxGradientNorm };
}

const common = { ...jobSettings({ ...settings, seed: 1 }, 47), model: builtin.folder };

const factors = ({ a, b }: Product): Factors => [a, b];
const eachOnce = (train: readonly unknown[]) => train.map((_, i) => i);

/** Distinct problems with factors in 2..40, and completions of exactly `newTokens`: the same work on every side. */
export function forcedJob(out: string, { problems, ...size }: JobSize): WholeJob {
  const clusters = new Set(own.heldOut.map(pairName));
  const others = allProducts(2, 40).filter((problem) => !clusters.has(pairName(problem)));
  if (problems > others.length) throw new RangeError(`there are ${others.length} distinct problems`);
  const train = keyedRandom('bench').shuffle(others).slice(0, problems);
  // A small job also evaluates on fewer problems.
  const share = Math.min(1, problems / fullSize.problems);
  const evaluated = own.heldOut.slice(0, Math.ceil(own.heldOut.length * share));
  const pairs = { train: train.map(factors), rows: eachOnce(train), heldOut: evaluated.map(factors) };
  return { ...common, ...size, ...pairs, out, endIds: [] };
}

/**
 * The job from which the built-in model learns: completions can end, and the problems are its 101 training problems, sampled
 * and visited so often that stage 1 has about 4,000 sequences and stage 2 about 1,500. Shows that every side learns.
 */
export function naturalJob(out: string): WholeJob {
  const size = { samples: 40, epochs: 15, evalSamples: fullSize.evalSamples, newTokens: settings.maxNewTokens };
  const problems = { train: own.train.map(factors), rows: eachOnce(own.train), heldOut: own.heldOut.map(factors) };
  return { ...common, ...size, ...problems, out, endIds: builtin.generation.eosTokenIds };
}

/**
 * The job of `tinyzero train --model FOLDER --wording number --seed SEED`, with its problems and every default.
 *
 * @param limit rows and held-out problems at most, to try the sides.
 */
export async function realJob(model: string, { seed, limit }: { readonly seed: number; readonly limit: number }) {
  const signal = new AbortController().signal;
  const described = await describeModel(model, silentReporter, signal);
  const options = defaultOptions({ model, seed, wording: 'number' });
  const context = { taskApi: () => import('../src/index.js'), reporter: silentReporter, signal };
  const { settings, problems } = await openProblems(options, described, context);
  const pairOf = ({ value }: { readonly value: unknown }) => factors(value as Product);
  const rows = problems.rows.slice(0, limit);
  const { epochs, numSamples: samples, evalSamples, maxNewTokens: newTokens, batchSize } = settings;
  return (out: string): WholeJob => ({
    ...jobSettings(settings, Math.ceil((epochs * rows.length) / batchSize)),
    ...{ out, rows, epochs, samples, evalSamples, newTokens },
    // The rows are drawn in the order in which their problems are listed.
    train: problems.train.slice(0, Math.max(...rows) + 1).map(pairOf),
    heldOut: problems.test.slice(0, limit).map(pairOf),
    endIds: [...endTokens(described)],
  });
}

export function readJob(path: string): WholeJob {
  return JSON.parse(readFileSync(path, 'utf8')) as WholeJob;
}
