/** @file Decoding steps and updates of a model on a WebGPU card: time, dispatches, and agreement with WebAssembly. */
import type { Engine } from '../../src/engine/backend.js';
import type { ModelConfig } from '../../src/model/network/config.js';
import { createPolicy } from '../../src/policy/policy.js';
import { squaredError } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { median } from '../measure.js';
import { loadedPolicy } from '../policy.js';
import type { Report } from './report.js';

export interface Subject {
  readonly name: string;
  readonly config: ModelConfig;
  read(name: string): Float32Array;
}

/** Counts commands to the card since the last call of `take`. */
export interface Counter {
  take(): { readonly dispatches: number; readonly encodingMilliseconds: number };
}

/** Counts dispatches and the time in which commands are recorded and submitted. */
export function openCounter(): Counter {
  let [dispatches, milliseconds, began] = [0, 0, 0];
  const pass = GPUComputePassEncoder.prototype;
  const { dispatchWorkgroups } = pass;
  pass.dispatchWorkgroups = function (...groups: Parameters<typeof dispatchWorkgroups>) {
    dispatches += 1;
    return dispatchWorkgroups.apply(this, groups);
  };
  const device = GPUDevice.prototype;
  const { createCommandEncoder } = device;
  device.createCommandEncoder = function (...given: Parameters<typeof createCommandEncoder>) {
    began = performance.now();
    return createCommandEncoder.apply(this, given);
  };
  const queue = GPUQueue.prototype;
  const { submit } = queue;
  queue.submit = function (...given: Parameters<typeof submit>) {
    submit.apply(this, given);
    milliseconds += performance.now() - began;
  };
  return {
    take() {
      const taken = { dispatches, encodingMilliseconds: milliseconds };
      [dispatches, milliseconds] = [0, 0];
      return taken;
    },
  };
}

const ids = ({ vocabSize }: ModelConfig, seed: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => (seed * 7919 + index * 104_729 + 1) % vocabSize);

/** Milliseconds of a decoding step for each number of rows. */
export async function measureDecoding(
  engine: Engine,
  counter: Counter,
  { name, config, read }: Subject,
  rows: readonly number[],
  report: Report,
): Promise<void> {
  const [prompt, maxNewTokens, slots] = [8, 17, Math.max(...rows)];
  const start = performance.now();
  const policy = createPolicy(engine, config, { sizes: { promptLengths: [prompt], maxNewTokens, slots } });
  policy.load(read);
  report('sampler', { model: name, readyMilliseconds: round(performance.now() - start) });
  for (const count of rows) {
    const steps: { at: number; counted: ReturnType<Counter['take']> }[] = [];
    const rollouts = Array.from({ length: count }, (_, row) => ({
      promptIds: ids(config, row, prompt),
      uniform: keyedRandom('webgpu', row).uniform,
      maxNewTokens,
    }));
    const onStep = () => steps.push({ at: performance.now(), counted: counter.take() });
    await policy.sample(rollouts, { temperature: 1, endIds: new Set(), onStep });
    const gaps = steps.slice(3).map(({ at }, index) => at - steps[index + 2]!.at);
    const milliseconds = median(gaps);
    const { dispatches } = steps.at(-1)!.counted;
    const encodingMilliseconds = round(median(steps.slice(3).map(({ counted }) => counted.encodingMilliseconds)));
    report('decoding step', {
      model: name,
      rows: count,
      milliseconds: round(milliseconds),
      tokensPerSecond: Math.round((1000 * count) / milliseconds),
      dispatches,
      encodingMilliseconds,
    });
  }
  policy.dispose();
}

/** Milliseconds of an update. @param microBatch rows per pass; absent: as a run chooses. */
export async function measureUpdate(
  engine: Engine,
  counter: Counter,
  { name, config, read }: Subject,
  sizes: { readonly rows: number; readonly prompt: number; readonly tokens: number; readonly microBatch?: number },
  report: Report,
): Promise<void> {
  const { rows: batchSize, prompt, tokens, microBatch } = sizes;
  const start = performance.now();
  const work = { batchSize, promptTokens: prompt, newTokens: tokens };
  const policy = loadedPolicy(engine, config, read, work, { microBatch });
  report('trainer', { model: name, ...sizes, readyMilliseconds: round(performance.now() - start) });
  const rows = Array.from({ length: batchSize }, (_, row) => ({
    promptIds: ids(config, row, prompt),
    completionIds: ids(config, row + batchSize, tokens),
  }));
  const advantages = rows.map((_, row) => (row % 2 === 0 ? 0.5 : -0.5));
  for (let step = 1; step <= 3; step += 1) {
    counter.take();
    const from = performance.now();
    const { loss, gradientNorm } = await policy.update({ rows, advantages, temperature: 1, step, learningRate: 1e-6 });
    const milliseconds = round(performance.now() - from);
    const { dispatches, encodingMilliseconds } = counter.take();
    const first = step === 1 ? { compiles: true } : {};
    report('update', {
      ...{ model: name, ...sizes, ...first, milliseconds, dispatches },
      ...{ encodingMilliseconds: round(encodingMilliseconds), loss, gradientNorm },
    });
  }
  policy.dispose();
}

/** What an engine computes over a few tokens and updates. */
async function compute(engine: Engine, { config, read }: Subject, updates: number) {
  const [rows, prompt, maxNewTokens, beta2] = [4, 6, 6, 0.1];
  const policy = createPolicy(engine, config, {
    sizes: { promptLengths: [prompt], maxNewTokens, slots: rows },
    ...(updates > 0 && {
      training: {
        batchSize: rows,
        optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
        loss: (arithmetic, row) => squaredError(arithmetic, row, beta2),
        maxGradientNorm: 1,
      },
    }),
  });
  policy.load(read);
  const found = {
    tokens: [] as number[],
    drawn: [] as number[],
    logProbs: [] as number[],
    gradientNorms: [] as number[],
  };
  const promptIds = ids(config, 1, prompt);
  const rollouts = Array.from({ length: rows }, (_, row) => ({
    promptIds,
    uniform: keyedRandom('webgpu', row).uniform,
    maxNewTokens,
  }));
  const completions = await policy.sample(rollouts, { temperature: 1, endIds: new Set() });
  found.tokens.push(...completions.flatMap(({ ids }) => ids));
  found.drawn.push(...completions.flatMap(({ logProbs }) => logProbs));
  if (updates > 0) {
    policy.loadReference(read);
    policy.loadMoments();
  }
  for (let step = 1; step <= updates; step += 1) {
    const { logProbs, gradientNorm } = await policy.update({
      rows: completions.map(({ ids: completionIds }) => ({ promptIds, completionIds })),
      advantages: completions.map((_, row) => (row % 2 === 0 ? 0.5 : -0.5)),
      temperature: 1,
      step,
      learningRate: 1e-3,
    });
    found.logProbs.push(...logProbs.flatMap((row) => Array.from(row)));
    found.gradientNorms.push(gradientNorm);
  }
  policy.dispose();
  return found;
}

/** Largest differences from WebAssembly over a few sampled tokens and updates. */
export async function measureAgreement(
  engine: Engine,
  wasm: Engine,
  subject: Subject,
  updates: number,
  report: Report,
): Promise<void> {
  const expected = await compute(wasm, subject, updates);
  const found = await compute(engine, subject, updates);
  const largest = (a: readonly number[], b: readonly number[]) =>
    a.reduce((most, value, index) => Math.max(most, Math.abs(value - b[index]!)), 0);
  report('agreement with wasm', {
    model: subject.name,
    updates,
    differentTokens: found.tokens.filter((token, index) => token !== expected.tokens[index]).length,
    drawnLogProbDifference: largest(found.drawn, expected.drawn),
    logProbDifference: largest(found.logProbs, expected.logProbs),
    gradientNormDifference: largest(found.gradientNorms, expected.gradientNorms),
  });
}

const round = (value: number) => Number(value.toPrecision(4));
