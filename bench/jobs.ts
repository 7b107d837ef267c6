/**
 * @file The whole job, as all sides of the comparison read it from a JSON file: problems, numbers of samples and
 * hyperparameters. Problems are pairs of factors, in the wording of the built-in model.
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
import { describePretrained } from '../src/model/checkpoint/pretrained.js';
import { parameterCount } from '../src/model/network/params.js';
import { builtinModel, shippedModel } from '../src/model/shipped.js';
import { completeSettings, defaultOptions, heldOutSplitOf, warmupSteps } from '../src/options/settings.js';
import { keyedRandom } from '../src/util/random.js';

type Factors = readonly [number, number];

export interface WholeJob {
  /** A Hugging Face folder; `out` is the folder for the trained weights, which does not exist yet. */
  readonly model: string;
  readonly out: string;
  /** Distinct problems to train on, and to evaluate before and after. */
  readonly train: readonly Factors[];
  readonly heldOut: readonly Factors[];
  /** Stage 1: samples per problem. */
  readonly samples: number;
  /** Stage 2: visits per problem, one rollout each; one update per `batchSize` rollouts. */
  readonly epochs: number;
  readonly batchSize: number;
  /** Evaluation: samples per problem, besides the greedy completion. */
  readonly evalSamples: number;
  /** Tokens of every completion, or their limit if `endId` can end it. */
  readonly newTokens: number;
  /** Null: completions never end early, so that all sides draw the same number of tokens. */
  readonly endId: number | null;
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

/** A side's result: seconds, completions, tokens and mean reward by phase. */
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

const common = {
  model: builtin.folder,
  batchSize: settings.batchSize,
  beta1: settings.beta1,
  beta2: settings.beta2,
  temperature: settings.temperature,
  learningRate: settings.lr,
  warmupSteps: warmupSteps(settings, 47),
  decayTo: settings.decayTo,
  maxGradientNorm: settings.maxGradientNorm,
  seed: 1,
};

const factors = ({ a, b }: Product): Factors => [a, b];

/** Distinct problems with factors in 2..40, and completions of exactly `newTokens`: the same work on every side. */
export function forcedJob(out: string, { problems, ...size }: JobSize): WholeJob {
  const clusters = new Set(own.heldOut.map(pairName));
  const others = allProducts(2, 40).filter((problem) => !clusters.has(pairName(problem)));
  if (problems > others.length) throw new RangeError(`there are ${others.length} distinct problems`);
  const train = keyedRandom('bench').shuffle(others).slice(0, problems);
  // A small job also evaluates on fewer problems.
  const share = Math.min(1, problems / fullSize.problems);
  const evaluated = own.heldOut.slice(0, Math.ceil(own.heldOut.length * share));
  return { ...common, ...size, out, train: train.map(factors), heldOut: evaluated.map(factors), endId: null };
}

/**
 * The job from which the built-in model learns: completions can end, and the problems are its 101 training problems, sampled
 * and visited so often that stage 1 has about 4,000 sequences and stage 2 about 1,500. Shows that every side learns.
 */
export function naturalJob(out: string): WholeJob {
  const size = { samples: 40, epochs: 15, evalSamples: fullSize.evalSamples, newTokens: settings.maxNewTokens };
  const [endId] = builtin.generation.eosTokenIds;
  const problems = { train: own.train.map(factors), heldOut: own.heldOut.map(factors) };
  return { ...common, ...size, ...problems, out, endId: endId as number };
}

export function readJob(path: string): WholeJob {
  return JSON.parse(readFileSync(path, 'utf8')) as WholeJob;
}
