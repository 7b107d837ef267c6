/**
 * @file Oracles of sampling: a naive sampler that runs the whole model for every token and draws in double precision,
 * and the chi-square test of draws against a distribution.
 */
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../src/engine/backend.js';
import type { EngineName } from '../../src/engine/choices.js';
import { type FunctionSpec, type FunctionSpecs, type Program, withFunctions } from '../../src/engine/program.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createModelProgram } from '../../src/model/load.js';
import type { ModelConfig } from '../../src/model/network/config.js';
import { logits, sequenceStates } from '../../src/model/network/transformer.js';
import type { DrawOptions } from '../../src/model/sampling/draw.js';
import type { CacheSizes } from '../../src/model/sampling/kv-cache.js';
import { type SamplingFunctions, samplingParts } from '../../src/model/sampling/program.js';
import type { Rollout } from '../../src/model/sampling/sample.js';
import { rolloutRandom } from '../../src/util/random.js';
import { type FixtureModel, fixture } from './files.js';

export const allTokens: DrawOptions = { greedy: false, topK: 0, topP: 1 };

export interface Sampler {
  readonly program: Program;
  /** The same program, for `sample`. */
  readonly sampling: Program<SamplingFunctions>;
  readonly config: ModelConfig;
  readonly sizes: CacheSizes;
}

/** Longest sequence that {@link naiveCompletion} can run. */
const naiveLength = 64;

/** A program that samples from a fixture with `sizes`, and has the function that the naive sampler needs. */
export async function fixtureSampler(
  engineName: EngineName,
  model: FixtureModel,
  sizes: CacheSizes,
  draw: DrawOptions = allTokens,
  more: (config: ModelConfig) => Record<string, FunctionSpec> = () => ({}),
): Promise<Sampler> {
  const pretrained = openPretrained(fixture(model));
  const { config } = pretrained;
  const parts = samplingParts(config, sizes, draw);
  const allLogits: FunctionSpec = {
    inputs: { ids: { dtype: 'int32', shape: [1, naiveLength] }, last: { dtype: 'int32', shape: [1] } },
    body: (state, { ids, last }) => {
      const states = sequenceStates(state, config, ids as tf.Tensor).reshape([naiveLength, config.hiddenSize]);
      return { outputs: { logits: logits(state, config, tf.gather(states, last as tf.Tensor1D)) } };
    },
  };
  const engine = await openEngine(engineName);
  const functions: FunctionSpecs = { ...parts.functions, allLogits, ...more(config) };
  const program = await createModelProgram(engine, pretrained, { state: parts.state, functions });
  pretrained.weights.close();
  return { program, sampling: withFunctions(program, parts.functions), config, sizes };
}

/** Rollouts with prompts of the given lengths and random ids; equal `prompt` numbers mean equal prompts. */
export function rollouts(
  config: ModelConfig,
  plans: readonly { prompt: number; length: number; maxNewTokens: number }[],
  seed = 0,
): (() => Rollout)[] {
  return plans.map(({ prompt, length, maxNewTokens }, sample) => {
    const promptRandom = rolloutRandom({ seed, stage: 'prompt', problem: `${prompt}`, sample: 0 });
    const promptIds = Array.from({ length }, () => promptRandom.int(0, config.vocabSize - 1));
    // A rollout consumes its generator, so each run gets new ones.
    return () => {
      const { uniform } = rolloutRandom({ seed, stage: 'test', problem: `${prompt}`, sample });
      return { promptIds, maxNewTokens, uniform };
    };
  });
}

/** The tokens with a probability above zero, most likely first (equal ones by id), in double precision. */
export function distribution(
  logitValues: ArrayLike<number>,
  temperature: number,
  { topK, topP }: DrawOptions,
): { id: number; probability: number }[] {
  const scaled = Array.from(logitValues, (value) => value / temperature);
  const largest = scaled.reduce((a, b) => Math.max(a, b));
  const weighted = scaled.map((value, id) => ({ id, weight: Math.exp(value - largest) }));
  weighted.sort((a, b) => b.weight - a.weight || a.id - b.id);
  const kept = topK > 0 ? weighted.slice(0, topK) : weighted;
  const limit = topP * kept.reduce((sum, { weight }) => sum + weight, 0);
  const nucleus: typeof kept = [];
  let before = 0;
  for (const each of kept) {
    if (topP < 1 && nucleus.length > 0 && before >= limit) break;
    nucleus.push(each);
    before += each.weight;
  }
  return nucleus.map(({ id, weight }) => ({ id, probability: weight / before }));
}

/** The completion of `rollout` without caches, batches or the graph's way of drawing. */
export function naiveCompletion(
  { program }: Sampler,
  rollout: Rollout,
  temperature: number,
  draw: DrawOptions,
): { ids: number[]; logProbs: number[] } {
  const ids: number[] = [];
  const logProbs: number[] = [];
  while (ids.length < rollout.maxNewTokens) {
    const sequence = [...rollout.promptIds, ...ids];
    const padded = new Int32Array(naiveLength);
    padded.set(sequence);
    const { logits: values } = program.run('allLogits', { ids: padded, last: Int32Array.of(sequence.length - 1) });
    const scale = draw.greedy ? 1 : temperature;
    const whole = distribution(values as Float32Array, scale, allTokens);
    const id = draw.greedy
      ? (whole[0] as { id: number }).id
      : inverseCdf(distribution(values as Float32Array, scale, draw), rollout.uniform(), draw);
    ids.push(id);
    logProbs.push(Math.log((whole.find((each) => each.id === id) as { probability: number }).probability));
  }
  return { ids, logProbs };
}

/** Candidates are in the order of their ids, or most likely first if top-k or top-p sorted them. */
function inverseCdf(candidates: { id: number; probability: number }[], uniform: number, draw: DrawOptions): number {
  const sorted = draw.topK > 0 || draw.topP < 1;
  const ordered = sorted ? candidates : candidates.toSorted((a, b) => a.id - b.id);
  let sum = 0;
  for (const { id, probability } of ordered) {
    sum += probability;
    if (sum > uniform) return id;
  }
  return (ordered.at(-1) as { id: number }).id;
}

/**
 * p-value of Pearson's chi-square test that `drawn` comes from `expected`; tokens that should come fewer than ten times
 * are counted together. 0 when an impossible token was drawn.
 */
export function chiSquarePValue(
  drawn: ArrayLike<number>,
  expected: readonly { id: number; probability: number }[],
): number {
  const counts = new Map<number, number>();
  for (const id of Array.from(drawn)) counts.set(id, (counts.get(id) ?? 0) + 1);
  let statistic = 0;
  let bins = 0;
  let rareExpected = 0;
  let rareFound = 0;
  const add = (found: number, mean: number) => {
    statistic += (found - mean) ** 2 / mean;
    bins += 1;
  };
  for (const { id, probability } of expected) {
    const mean = probability * drawn.length;
    const found = counts.get(id) ?? 0;
    counts.delete(id);
    if (mean >= 10) add(found, mean);
    else {
      rareExpected += mean;
      rareFound += found;
    }
  }
  if (counts.size > 0) return 0;
  if (rareExpected > 0) add(rareFound, rareExpected);
  return upperGamma((bins - 1) / 2, statistic / 2);
}

/** Regularised upper incomplete gamma function Q(a, x), by the series of P or the continued fraction of Q (DLMF 8). */
function upperGamma(a: number, x: number): number {
  if (x <= 0) return 1;
  const factor = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = 1; term > sum * 1e-15; n++) {
      term *= x / (a + n);
      sum += term;
    }
    return 1 - factor * sum;
  }
  let b = x + 1 - a;
  let c = Number.MAX_VALUE;
  let d = 1 / b;
  let fraction = d;
  for (let n = 1; n < 10_000; n++) {
    const an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    fraction *= c * d;
    if (Math.abs(c * d - 1) < 1e-15) break;
  }
  return factor * fraction;
}

/** Stirling's series after shifting the argument above 10: 14 digits. */
function logGamma(x: number): number {
  let shift = 0;
  while (x < 10) {
    shift -= Math.log(x);
    x += 1;
  }
  const inverse = 1 / (x * x);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / x;
  return shift + (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
}
