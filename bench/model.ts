/**
 * @file The model at a real size: Qwen2.5-0.5B's own config with random weights, stored as bfloat16 (1 GB in the
 * temporary folder). Loading, scoring 4 x 64 tokens, generating 4 x 64, and a training step, each in a process of its own
 * with its peak memory. `npm run bench:model`; the last line is JSON. bench/model-reference.py does the same in PyTorch.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../src/engine/backend.js';
import type { Program, ProgramSpec } from '../src/engine/program.js';
import { createModelProgram, parameterState, samplingSizes } from '../src/model/load.js';
import { completionInputs, completionLogProbs, packCompletions } from '../src/model/logprobs.js';
import { openPretrained, type Pretrained } from '../src/model/pretrained.js';
import { type Rollout, sample, samplingParts } from '../src/model/sample.js';
import { score, scoreFunctions, scoreGroups } from '../src/model/score.js';
import * as adamw from '../src/optim/adamw.js';
import { seededUniform } from './measure.js';
import { qwenHalfBillion, writeRandomCheckpoint } from './random-checkpoint.js';

const rows = 4;
const promptTokens = 16;
const completionTokens = 48;
const newTokens = 64;

type Figures = Record<string, number>;

const cases: Record<string, (engine: Engine, model: Pretrained) => Promise<Figures>> = {
  load,
  score: scoring,
  generate,
  step,
};

/** Token ids that are the same in every run, and in no two rows. */
function ids(row: number, count: number): number[] {
  const uniform = seededUniform(row + 1);
  return Array.from({ length: count }, () => Math.floor(uniform() * qwenHalfBillion.vocab_size));
}

const scored = Array.from({ length: rows }, (_, row) => ({
  promptIds: ids(row, promptTokens),
  completionIds: ids(row + rows, completionTokens),
}));

const [only, folder] = process.argv.slice(2);
if (only === undefined) await runAll();
else {
  const measure = cases[only];
  if (measure === undefined || folder === undefined)
    throw new Error(`no case ${only}; there are ${Object.keys(cases)}`);
  const figures = await measure(await openEngine('tensorflow'), openPretrained(folder));
  console.log(JSON.stringify({ ...figures, peakGigabytes: process.resourceUsage().maxRSS / 1e6 }));
}

async function runAll(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'tinyzero-bench-'));
  try {
    const made = join(scratch, 'model');
    await writeRandomCheckpoint(made);
    const results: Record<string, Figures> = {};
    for (const name of Object.keys(cases)) {
      const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name, made], { encoding: 'utf8' });
      if (run.status !== 0) throw new Error(`${name} failed (${run.signal ?? run.status}):\n${run.stderr}`);
      const figures: Figures = JSON.parse(run.stdout.trim().split('\n').at(-1) as string);
      results[name] = figures;
      const texts = Object.entries(figures).map(([key, value]) => `${key} ${value.toFixed(value < 100 ? 2 : 0)}`);
      console.log(name.padEnd(10), texts.join('   '));
    }
    console.log(JSON.stringify({ cores: availableParallelism(), processor: cpus()[0]?.model, results }));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function load(engine: Engine, model: Pretrained): Promise<Figures> {
  const before = process.cpuUsage();
  const { seconds } = await loaded(engine, model, { state: {}, functions: {} });
  const { user, system } = process.cpuUsage(before);
  return { loadSeconds: seconds, loadCpuSeconds: (user + system) / 1e6 };
}

async function loaded(
  engine: Engine,
  model: Pretrained,
  parts: ProgramSpec,
): Promise<{ program: Program; seconds: number }> {
  const began = performance.now();
  const program = await createModelProgram(engine, model, parts);
  return { program, seconds: (performance.now() - began) / 1000 };
}

async function scoring(engine: Engine, model: Pretrained): Promise<Figures> {
  const groups = scoreGroups(model.config, scored);
  const { program } = await loaded(engine, model, { state: {}, functions: scoreFunctions(model.config, groups) });
  const run = () => score(program, groups, scored, { temperature: 1 });
  return twice(rows * (promptTokens + completionTokens), run);
}

async function generate(engine: Engine, model: Pretrained): Promise<Figures> {
  const promptLengths = scored.map(({ promptIds }) => promptIds.length);
  const sizes = samplingSizes(model.config, { promptLengths, rollouts: rows, maxNewTokens: newTokens });
  const parts = samplingParts(model.config, sizes, { greedy: false, topK: 0, topP: 1 });
  const { program } = await loaded(engine, model, parts);
  const run = () => {
    const rollouts = scored.map(({ promptIds }, row): Rollout => {
      return { promptIds, uniform: seededUniform(row), maxNewTokens: newTokens };
    });
    return sample(program, sizes, rollouts, { temperature: 1, endIds: new Set() });
  };
  return twice(rows * newTokens, run);
}

/** Forward, backward, clipping and AdamW of the A*PO loss. */
async function step(engine: Engine, model: Pretrained): Promise<Figures> {
  const { config } = model;
  const parameters = parameterState(config);
  const names = Object.keys(parameters);
  const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
  const inputs = completionInputs(rows, promptTokens + completionTokens, completionTokens);
  const { program } = await loaded(engine, model, {
    state: adamw.optimizerState(parameters),
    functions: {
      step: {
        inputs: { ...inputs, ...adamw.stepInputs },
        body(state, given) {
          const loss = (...values: tf.Tensor[]) => {
            const record = Object.fromEntries(names.map((name, index) => [name, values[index] as tf.Tensor]));
            const sums = tf.sum(completionLogProbs(record, config, given), 1);
            return tf.mean(tf.square(tf.sub(tf.mul(sums, 1e-3), 0.5))) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => state[name] as tf.Tensor));
          const gradients = Object.fromEntries(names.map((name, index) => [name, grads[index] as tf.Tensor]));
          const norm = adamw.globalNorm(gradients);
          const scale = adamw.clipScale(norm, 1);
          return { outputs: { loss: value, norm }, assign: adamw.update(state, gradients, given, optimizer, scale) };
        },
      },
    },
  });
  let number = 0;
  return twice(rows * (promptTokens + completionTokens), async () => {
    number += 1;
    const { loss, norm } = program.run('step', {
      ...packCompletions(scored, rows, promptTokens + completionTokens, completionTokens),
      inverseTemperature: Float32Array.of(1),
      ...adamw.stepScalars(number, 1e-6, optimizer),
    });
    if (!(Number.isFinite(loss?.[0]) && (norm?.[0] as number) > 0)) throw new Error(`loss ${loss}, norm ${norm}`);
  });
}

/** Seconds of a first run, which prepares the graph, and tokens a second of the one after it. */
async function twice(tokens: number, run: () => Promise<unknown>): Promise<Figures> {
  const seconds: number[] = [];
  for (let time = 0; time < 2; time++) {
    const began = performance.now();
    await run();
    seconds.push((performance.now() - began) / 1000);
  }
  const [firstSeconds, secondSeconds] = seconds as [number, number];
  return { firstSeconds, secondSeconds, tokensPerSecond: tokens / secondSeconds };
}
