/**
 * @file The gain from compiling: a compiled training step against the same step op by op (native tfjs), and cached decoding.
 * `npm run bench:engine` runs every case in its own process, with its own thread setting, and prints a table; the last line
 * is JSON. A single case: `node dist/bench/engine.js CASE`.
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../src/engine/backend.js';
import { valueAndGradients } from '../src/engine/ops/gradient.js';
import { tokenLogProbs } from '../src/engine/ops/ops.js';
import * as adamw from '../src/engine/optim/adamw.js';
import {
  defineFunction,
  type Program,
  type ProgramSpec,
  type TensorRecord,
  type TensorSpec,
} from '../src/engine/program.js';
import { parameterState } from '../src/model/load.js';
import type { ModelConfig } from '../src/model/network/config.js';
import { fanInDeviation, initialParameter, parameterSpecs } from '../src/model/network/params.js';
import { logits, sequenceStates } from '../src/model/network/transformer.js';
import { samplingParts } from '../src/model/sampling/program.js';
import { medium, qwen2Config } from './checkpoints.js';
import { median, seededUniform } from './measure.js';

interface TrainSize {
  readonly config: ModelConfig;
  /** B rows of T tokens. */
  readonly rows: number;
  readonly length: number;
}

const tiny = qwen2Config({ layers: 4, width: 128, heads: 4, kvHeads: 2, ffn: 384, vocabulary: 64 });
const sizes: Record<string, TrainSize> = {
  tiny: { config: tiny, rows: 64, length: 40 },
  medium: {
    config: qwen2Config(medium),
    rows: 8,
    length: 64,
  },
};
const decodeSlots = [64, 512];
const cachePositions = 48;

/** Case name -> TensorFlow's threads (undefined: as tinyzero chooses them) and what to measure there. */
const cases: Record<string, { threads?: number; measure: (engine: Engine) => Record<string, number> }> = {
  peak: { threads: availableParallelism(), measure: matmulPeak },
};
for (const [name, size] of Object.entries(sizes)) {
  for (const mode of ['compiled', 'composed', 'eager'] as const) {
    cases[`train.${name}.${mode}`] = {
      // TensorFlow's own choice, all processors, is better for tfjs-node.
      ...(mode === 'eager' && { threads: availableParallelism() }),
      measure: (engine) => train(engine, mode, size),
    };
  }
}
for (const slots of decodeSlots) {
  const measure = (engine: Engine) => decode(engine, slots);
  cases[`decode.${slots}.threads1`] = { threads: 1, measure };
  cases[`decode.${slots}.threads${availableParallelism()}`] = { measure };
}

const [only] = process.argv.slice(2);
if (only !== undefined) {
  const chosen = cases[only];
  if (chosen === undefined) throw new Error(`no case ${only}; there are ${Object.keys(cases).join(', ')}`);
  console.log(JSON.stringify(chosen.measure(await openEngine('tensorflow'))));
} else {
  runAll();
}

function runAll(): void {
  const results: Record<string, Record<string, number>> = {};
  for (const [name, { threads }] of Object.entries(cases)) {
    const given = { TF_NUM_INTRAOP_THREADS: `${threads}`, TF_NUM_INTEROP_THREADS: `${threads}` };
    const env = { ...process.env, ...(threads !== undefined && given) };
    const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], { env, encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`${name} failed:\n${run.stderr}`);
    results[name] = JSON.parse(run.stdout.trim().split('\n').at(-1) as string);
    console.log(name.padEnd(24), format(results[name] as Record<string, number>));
  }
  const ms = (name: string) => results[name]?.stepMs as number;
  const peak = results.peak?.gflops as number;
  const summary = Object.fromEntries(
    Object.keys(sizes).map((name) => {
      const compiled = `train.${name}.compiled`;
      return [
        name,
        {
          compiledOverEager: ms(`train.${name}.eager`) / ms(compiled),
          shareOfPeak: (results[compiled]?.gflops as number) / peak,
        },
      ];
    }),
  );
  for (const [name, { compiledOverEager, shareOfPeak }] of Object.entries(summary)) {
    console.log(
      `training step, ${name}: compiled ${compiledOverEager.toFixed(2)} times as fast as eager, ` +
        `${(100 * shareOfPeak).toFixed(0)} % of the matmul peak`,
    );
  }
  console.log(JSON.stringify({ cores: availableParallelism(), processor: cpus()[0]?.model, results, summary }));
}

function format(result: Record<string, number>): string {
  return Object.entries(result)
    .map(([key, value]) => `${key} ${value >= 100 ? value.toFixed(0) : value.toFixed(2)}`)
    .join('   ');
}

/** Square float32 products of size 2,048: the most that the engine achieves on this machine. */
function matmulPeak(engine: Engine): Record<string, number> {
  const n = 2048;
  const square: TensorSpec = { dtype: 'float32', shape: [n, n] };
  const program = engine.createProgram({
    state: { a: square, b: square },
    functions: {
      multiply: {
        inputs: {},
        body: ({ a, b }) => ({ outputs: { sum: tf.sum(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D)) } }),
      },
    },
  });
  program.fill('a', 1);
  program.fill('b', 1);
  const { stepMs, cpuMs } = measureSteps(12, () => program.run('multiply'));
  return { stepMs, cpuMs, gflops: (2 * n ** 3) / stepMs / 1e6 };
}

function train(
  engine: Engine,
  mode: 'compiled' | 'composed' | 'eager',
  { config, rows: B, length: T }: TrainSize,
): Record<string, number> {
  const parameters = parameterState(config);
  const names = Object.keys(parameters);
  const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
  const spec: ProgramSpec = {
    state: { ...parameters, ...adamw.optimizerState(parameters) },
    functions: {
      step: defineFunction({
        inputs: {
          ids: { dtype: 'int32', shape: [B, T] },
          targets: { dtype: 'int32', shape: [B * T] },
          ...adamw.stepInputs,
        },
        body(state, inputs) {
          const { ids, targets } = inputs;
          const loss = (record: TensorRecord) => {
            const states = sequenceStates(record, config, ids).reshape([B * T, config.hiddenSize]);
            return tf.neg(tf.mean(tokenLogProbs(logits(record, config, states), targets)));
          };
          const { value, gradients } = valueAndGradients(state, names, loss);
          const scale = adamw.clipScale(adamw.globalNorm(gradients), 1);
          return { outputs: { loss: value }, assign: adamw.update(state, gradients, inputs, options, scale) };
        },
      }),
    },
  };
  const began = performance.now();
  const create = {
    compiled: engine.createProgram,
    composed: engine.createComposedProgram,
    eager: engine.createEagerProgram,
  };
  const program = create[mode](spec);
  const buildMs = performance.now() - began;
  initialise(program, config);
  const tokens = (shift: number) => Int32Array.from({ length: B * T }, (_, i) => (i * 7 + shift) % config.vocabSize);
  let step = 0;
  const run = () => {
    step += 1;
    program.run('step', { ids: tokens(step), targets: tokens(step + 7), ...adamw.stepScalars(step, 1e-3, options) });
  };
  const first = performance.now();
  run();
  const firstMs = performance.now() - first;
  const { stepMs, cpuMs } = measureSteps(20, run);
  const gflops = trainFlops(config, B, T) / stepMs / 1e6;
  return { stepMs, cpuMs, tokensPerSecond: (B * T * 1000) / stepMs, gflops, buildMs, firstMs };
}

function decode(engine: Engine, slots: number): Record<string, number> {
  const cache = { slots, positions: cachePositions, prompts: 1, promptPositions: 1, chunk: 1, admissions: 1 };
  const parts = samplingParts(tiny, cache, { greedy: false, topK: 0, topP: 1 });
  const state = { ...parameterState(tiny), ...parts.state };
  const program = engine.createProgram({ state, functions: parts.functions });
  initialise(program, tiny);
  const uniform = seededUniform(1);
  let tokens = Int32Array.from({ length: slots }, (_, slot) => slot % tiny.vocabSize);
  let position = 0;
  const { stepMs, cpuMs } = measureSteps(100, () => {
    const outputs = program.run(`decode.${slots}`, {
      tokens,
      positions: new Int32Array(slots).fill(position % cachePositions),
      uniforms: Float32Array.from({ length: slots }, uniform),
      inverseTemperature: Float32Array.of(1),
    });
    tokens = outputs.tokens as Int32Array<ArrayBuffer>;
    position += 1;
  });
  return { stepMs, cpuMs, tokensPerSecond: (slots * 1000) / stepMs };
}

/**
 * Median time over `count` runs after two warm-up runs, and their mean processor time over all threads, which is the better
 * measure on a busy machine.
 */
function measureSteps(count: number, run: () => void): { stepMs: number; cpuMs: number } {
  run();
  run();
  const before = process.cpuUsage();
  const times = Array.from({ length: count }, () => {
    const began = performance.now();
    run();
    return performance.now() - began;
  });
  const { user, system } = process.cpuUsage(before);
  return { stepMs: median(times), cpuMs: (user + system) / 1000 / count };
}

/** Multiply-adds of the matrix products count two; backward twice forward; attention's products included. */
function trainFlops(config: ModelConfig, B: number, T: number): number {
  const { hiddenSize: D, heads: H, kvHeads: K, headDim: C, ffnSize: F, vocabSize: V, layers } = config;
  const perToken = layers * (2 * D * H * C + 2 * D * K * C + 3 * D * F + 2 * T * H * C) + D * V;
  return 6 * perToken * B * T;
}

function initialise(program: Program, config: ModelConfig): void {
  const shapes = parameterSpecs(config);
  const uniform = seededUniform(1);
  for (const name of Object.keys(program.spec.state)) {
    const shape = shapes[name];
    if (shape === undefined) program.fill(name, 0);
    else program.write(name, initialParameter(name, shape, fanInDeviation(name, shape, config), uniform));
  }
}
