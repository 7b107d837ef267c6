/**
 * @file How fast this machine samples and trains at the sizes of a run: a policy is built, and steps of sampling and passes of an
 * update are timed. The cost of a model grows in proportion to its layers, so a large model is not built whole. Two parts of it
 * are measured instead, with random weights: a few layers with a small vocabulary, and one layer with the whole vocabulary.
 */
import type { ModelConfig } from '../../model/network/config.js';
import { elementCount, parameterCount, parameterSpecs } from '../../model/network/params.js';
import { decodeBatches } from '../../model/sampling/program.js';
import type { PolicyLayout } from '../../policy/layout.js';
import { createPolicy, type Policy, type PolicyEngine, type PolicyOptions } from '../../policy/policy.js';
import type { UpdateShape } from '../../policy/update-shape.js';
import { keyedRandom } from '../../util/random.js';
import { mean } from '../../util/statistics.js';

/** Seconds on this machine. */
export interface Speed {
  /** Building the sampling part of a program, loading weights, compiling. */
  readonly openSampling: number;
  /** The same for updates, in a program that samples. */
  readonly openUpdates: number;
  /** One prefill of as many prompts as the caches hold. */
  readonly prefill: number;
  /** Filling some slots from there. */
  readonly admit: number;
  /** A decoding step: a fixed part, and a part for each row. */
  readonly step: { readonly fixed: number; readonly perRow: number };
  /** One pass of an update. */
  readonly pass: number;
  /** The rest of an update: clearing gradients, and AdamW. */
  readonly rest: number;
}

/** The work of a run, as its policy sees it. */
export interface SpeedWork {
  readonly options: PolicyOptions & { readonly training: NonNullable<PolicyOptions['training']> };
  readonly caches: PolicyLayout['sizes'];
  readonly shape: UpdateShape;
  /** Token ids of distinct prompts. */
  readonly prompts: readonly (readonly number[])[];
  /** Completions of each prompt that are sampled together. */
  readonly samplesPerPrompt: number;
}

/** A model of at most this many parameters is measured whole. */
const smallModel = 2 ** 24;
/** Enough weights that a step does not find all of them in a processor's cache. */
const weightsMeasured = 2 ** 23;
const smallVocabulary = 512;

/** How the model is measured: `layers` of it with a small vocabulary, and one with the whole one; `whole`: all at once. */
export function measuredParts(config: ModelConfig): { readonly layers: number; readonly whole: boolean } {
  if (parameterCount(config) <= smallModel) return { layers: config.layers, whole: true };
  const layer = parameterCount({ ...config, layers: 2 }) - parameterCount({ ...config, layers: 1 });
  return { layers: Math.min(config.layers, Math.max(2, Math.ceil(weightsMeasured / layer))), whole: false };
}

/** Measures the speed of a run's policy. @throws UserError when the engine lacks memory. */
export async function measureSpeed(engine: PolicyEngine, config: ModelConfig, work: SpeedWork): Promise<Speed> {
  const { layers, whole } = measuredParts(config);
  if (whole) return await timePart(engine, config, work);
  const head = await timePart(engine, { ...config, layers: 1 }, work);
  const vocabSize = Math.min(config.vocabSize, smallVocabulary);
  const body = await timePart(engine, { ...config, layers, vocabSize }, work);
  const all = (part: (speed: Speed) => number) => {
    const layer = part(body) / layers;
    return config.layers * layer + Math.max(0, part(head) - layer);
  };
  return {
    openSampling: all(({ openSampling }) => openSampling),
    openUpdates: all(({ openUpdates }) => openUpdates),
    prefill: all(({ prefill }) => prefill),
    admit: all(({ admit }) => admit),
    step: { fixed: all(({ step }) => step.fixed), perRow: all(({ step }) => step.perRow) },
    pass: all(({ pass }) => pass),
    rest: all(({ rest }) => rest),
  };
}

async function timePart(engine: PolicyEngine, config: ModelConfig, work: SpeedWork): Promise<Speed> {
  const { options, caches, shape } = work;
  const clock = stopwatch();
  const policy = createPolicy(engine, config, {
    ...options,
    sizes: { ...options.sizes, slots: caches.slots },
    training: { ...options.training, shape },
  });
  try {
    const read = arbitraryWeights(config);
    policy.load(read);
    const loaded = clock();
    const sampling = await timeSampling(policy, work);
    clock();
    policy.loadReference(read);
    policy.loadMoments();
    const referenceLoaded = clock();
    const { first, pass, rest } = await timeUpdates(policy, work);
    return {
      openSampling: loaded + sampling.compiling,
      openUpdates: referenceLoaded + Math.max(0, first - pass - rest),
      prefill: sampling.prefill,
      admit: sampling.admit,
      step: sampling.step,
      pass,
      rest,
    };
  } finally {
    policy.dispose();
  }
}

/** Tokens of each timed completion. The first step also prefills and fills slots. */
const tokensTimed = 4;

async function timeSampling(policy: Policy, { caches, prompts, samplesPerPrompt }: SpeedWork) {
  const { slots, admissions } = caches;
  const run = async (count: number, samplesEach: number) => {
    const rollouts = Array.from({ length: count }, (_, i) => ({
      promptIds: inVocabulary(prompts[Math.floor(i / samplesEach) % prompts.length]!, policy.config),
      uniform: keyedRandom('speed', i).uniform,
      maxNewTokens: tokensTimed,
    }));
    const clock = stopwatch();
    const steps: number[] = [];
    await policy.sample(rollouts, { temperature: 1, endIds: new Set(), onStep: () => steps.push(clock()) });
    const [first = 0, ...others] = steps;
    const step = mean(others);
    const prefills = Math.ceil(Math.min(Math.ceil(count / samplesEach), prompts.length) / caches.prompts);
    return { first, step, filling: Math.max(0, first - step), prefills, admits: Math.ceil(count / admissions) };
  };
  const compiled = await run(slots, samplesPerPrompt);
  const full = await run(slots, samplesPerPrompt);
  const compiling = Math.max(0, compiled.first - full.first);
  const batches = decodeBatches(caches);
  const few = batches.find((rows) => rows <= slots / 4);
  if (few === undefined) {
    return { compiling, prefill: full.filling / full.prefills, admit: 0, step: { fixed: full.step, perRow: 0 } };
  }
  const compiledSmall = await run(few, 1);
  const small = await run(few, 1);
  // There is a function for every size of a batch.
  const others = (batches.length - 1) * Math.max(0, compiledSmall.first - small.first);
  const perRow = Math.min(full.step / slots, Math.max(0, full.step - small.step) / (slots - few));
  const step = { fixed: full.step - slots * perRow, perRow };
  return { compiling: compiling + others, ...fillingParts(full, small), step };
}

interface Filling {
  /** Seconds for these prefills and admissions together. */
  readonly filling: number;
  readonly prefills: number;
  readonly admits: number;
}

/** Seconds of one prefill and of one admission, from two measurements; never negative. */
function fillingParts(one: Filling, other: Filling): { readonly prefill: number; readonly admit: number } {
  const determinant = one.prefills * other.admits - other.prefills * one.admits;
  const prefill = (one.filling * other.admits - other.filling * one.admits) / determinant;
  const admit = (one.prefills * other.filling - other.prefills * one.filling) / determinant;
  if (prefill >= 0 && admit >= 0) return { prefill, admit };
  return admit >= 0
    ? { prefill: 0, admit: one.filling / one.admits }
    : { prefill: one.filling / one.prefills, admit: 0 };
}

/** `first`: the first update, of one pass, which compiles. */
async function timeUpdates(policy: Policy, { options, shape, prompts }: SpeedWork) {
  const { maxNewTokens } = options.sizes;
  const longest = prompts.reduce((a, b) => (b.length > a.length ? b : a));
  const own = longest.length + maxNewTokens - (shape.sharedPrefix ?? 0);
  const perPass = shape.sequences * Math.max(1, Math.floor((shape.length - (shape.sharedPrefix ?? 0)) / own));
  let step = 0;
  const run = async (passes: number) => {
    const count = Math.min(shape.rows, passes * perPass);
    const random = keyedRandom('speed', passes);
    const rows = Array.from({ length: count }, () => ({
      promptIds: inVocabulary(longest, policy.config),
      completionIds: Array.from({ length: maxNewTokens }, () => random.int(0, policy.config.vocabSize - 1)),
      logProbs: new Float32Array(maxNewTokens),
    }));
    const clock = stopwatch();
    step += 1;
    const advantages = rows.map((_, row) => (row % 2 === 0 ? 0.5 : -0.5));
    await policy.update({ rows, advantages, temperature: 1, step, learningRate: 1e-6 });
    return clock();
  };
  const first = await run(1);
  const one = await run(1);
  if (shape.rows < 2 * perPass) return { first, pass: one, rest: 0 };
  const pass = Math.min(one, Math.max(0, (await run(2)) - one));
  return { first, pass, rest: one - pass };
}

/** Tokens of a smaller vocabulary. Equal tokens stay equal, so a shared prefix stays shared. */
const inVocabulary = (ids: readonly number[], { vocabSize }: ModelConfig) => ids.map((id) => id % vocabSize);

/** Small random numbers; a prime number of them, repeated, so that the rows of a matrix differ. */
function arbitraryWeights(config: ModelConfig): (name: string) => Float32Array {
  const specs = parameterSpecs(config);
  const random = keyedRandom('speed');
  const block = Float32Array.from({ length: 10_007 }, () => 0.04 * (random.uniform() - 0.5));
  return (name) => {
    const values = new Float32Array(elementCount(specs[name]!));
    if (name.endsWith('norm.weight')) return values.fill(1);
    for (let at = 0; at < values.length; at += block.length) {
      values.set(block.subarray(0, Math.min(block.length, values.length - at)), at);
    }
    return values;
  };
}

/** Seconds since the last call. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}
