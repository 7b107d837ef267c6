/**
 * The forward pass, log-probs, cached greedy decoding, the A*PO loss, its gradients and three clipped AdamW steps agree
 * with the Python reference (test/fixtures/README.md), on TensorFlow and on wasm.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../src/engine/backend.js';
import type { EngineName } from '../../src/engine/choices.js';
import * as adamw from '../../src/engine/optim/adamw.js';
import type { AdamWOptions } from '../../src/engine/optim/settings.js';
import { defineFunction, type Program, type TensorSpec } from '../../src/engine/program.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { completionInputs, completionLogProbs, packCompletions } from '../../src/model/network/log-probs.js';
import { parameterSpecs } from '../../src/model/network/params.js';
import { logits, sequenceStates } from '../../src/model/network/transformer.js';
import { draw, drawInputs } from '../../src/model/sampling/draw.js';
import * as cache from '../../src/model/sampling/kv-cache.js';
import { nativeTest } from '../helpers/native.js';
import { webGpuTest } from '../helpers/webgpu.js';

const fixtures = join(import.meta.dirname, '../../../test/fixtures');
const folders = ['qwen2-tied-f32', 'qwen2-untied-bf16', 'qwen3-tied', 'llama'];
const int = (...shape: number[]): TensorSpec => ({ dtype: 'int32', shape });
const scalar: TensorSpec = { dtype: 'float32', shape: [] };

for (const folder of folders) {
  nativeTest(`${folder} on tensorflow agrees with the reference`, () => checkParity(folder, 'tensorflow'));
  test(`${folder} on wasm agrees with the reference`, () => checkParity(folder, 'wasm'));
}

// One family: a software adapter takes long to compile shaders.
webGpuTest('qwen3-tied on webgpu agrees with the reference', () => checkParity('qwen3-tied', 'webgpu'));

async function checkParity(folder: string, engineName: EngineName): Promise<void> {
  const { config, weights } = openPretrained(join(fixtures, folder));
  const expected = JSON.parse(readFileSync(join(fixtures, folder, 'expected.json'), 'utf8'));
  const specs = Object.fromEntries(
    Object.entries(parameterSpecs(config)).map(([name, shape]): [string, TensorSpec] => [
      name,
      { dtype: 'float32', shape },
    ]),
  );
  const engine = await openEngine(engineName);
  const names = Object.keys(specs);
  const prompts: { ids: number[]; last_logits: number[]; continuation_ids: number[] }[] = expected.prompts;
  const T = Math.max(...prompts.map(({ ids, continuation_ids }) => ids.length + continuation_ids.length));
  const W = Math.max(...prompts.map(({ continuation_ids }) => continuation_ids.length));
  const B = prompts.length;
  const promptPositions = Math.max(...prompts.map(({ ids }) => ids.length - 1));
  const sizes = {
    slots: B,
    positions: Math.max(...prompts.map(({ ids }) => ids.length)) + expected.greedy.new_tokens,
    prompts: B,
    promptPositions,
    chunk: promptPositions,
    admissions: B,
  };
  const batches = [expected.a2po, expected.a2po_clipped];
  const rows = batches[0].prompt_ids.length;
  const lengths = (key: string) => batches.flatMap((batch) => batch[key].map((ids: number[]) => ids.length));
  const lossW = Math.max(...lengths('completion_ids'));
  const lossT = Math.max(...lengths('prompt_ids')) + lossW;
  const optimizer = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 };
  assert.deepEqual(batches[0].optimizer.betas, [optimizer.beta1, optimizer.beta2]);

  const program = engine.createProgram({
    state: { ...specs, ...adamw.optimizerState(specs), ...cache.cacheState(config, sizes) },
    functions: {
      lastLogits: defineFunction({
        inputs: { ids: int(1, T), last: int(1) },
        body: (state, { ids, last }) => {
          const states = sequenceStates(state, config, ids).reshape([T, config.hiddenSize]);
          return { outputs: { logits: logits(state, config, tf.gather(states, last as tf.Tensor1D)) } };
        },
      }),
      logProbs: defineFunction({
        inputs: completionInputs(B, T, W),
        body: (state, inputs) => ({ outputs: { logProbs: completionLogProbs(state, config, inputs) } }),
      }),
      prefill: cache.prefillFunction(config, sizes),
      admit: cache.admitFunction(config, sizes),
      decode: defineFunction({
        inputs: { tokens: int(B), positions: int(B), ...drawInputs(B) },
        body: (state, inputs) => {
          const next = cache.decodeLogits(state, config, sizes, inputs.tokens, inputs.positions);
          const drawn = draw(next.logits, inputs, { greedy: true, topK: 0, topP: 1 });
          return { outputs: { tokens: drawn.tokens, logProbs: drawn.logProbs }, assign: next.assign };
        },
      }),
      step: defineFunction({
        inputs: {
          ...completionInputs(rows, lossT, lossW),
          refSums: { dtype: 'float32', shape: [rows] },
          targetsA: { dtype: 'float32', shape: [rows] },
          beta2: scalar,
          ...adamw.stepInputs,
        },
        checkNumerics: true,
        body: (state, inputs) => {
          let sums: tf.Tensor | undefined;
          const loss = (...parameters: tf.Tensor[]) => {
            const record = Object.fromEntries(names.map((name, index) => [name, parameters[index] as tf.Tensor]));
            sums = tf.keep(tf.sum(completionLogProbs(record, config, inputs), 1));
            const implicit = tf.mul(inputs.beta2, tf.sub(sums, inputs.refSums));
            return tf.mean(tf.square(tf.sub(implicit, inputs.targetsA))) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => state[name] as tf.Tensor));
          const gradients = Object.fromEntries(names.map((name, index) => [name, grads[index] as tf.Tensor]));
          const norm = adamw.globalNorm(gradients);
          const norms = tf.stack(names.map((name) => tf.norm(gradients[name] as tf.Tensor)));
          return {
            outputs: { loss: value, sums: sums as tf.Tensor, norm, norms },
            assign: adamw.update(state, gradients, inputs, optimizer, adamw.clipScale(norm, 1)),
          };
        },
      }),
    },
  });
  const load = () => {
    for (const name of names) program.write(name, weights.read(name));
    for (const name of Object.keys(program.spec.state)) if (!(name in specs)) program.fill(name, 0);
  };
  load();
  checkLogits(program, prompts, T);
  checkLogProbs(program, prompts, [B, T, W]);
  checkGreedy(program, expected.greedy, prompts, sizes.promptPositions);
  for (const batch of batches) {
    load();
    checkTraining(program, batch, names, optimizer, [rows, lossT, lossW]);
  }
  program.dispose();
  weights.close();
}

function checkLogits(program: Program, prompts: { ids: number[]; last_logits: number[] }[], T: number): void {
  for (const { ids, last_logits: expected } of prompts) {
    const padded = new Int32Array(T);
    padded.set(ids);
    const { logits: actual } = program.run('lastLogits', { ids: padded, last: Int32Array.of(ids.length - 1) });
    const largest = Math.max(...expected.map(Math.abs));
    assertClose('logits', actual as Float32Array, expected, 2e-4 * largest);
  }
}

function checkLogProbs(
  program: Program,
  prompts: { ids: number[]; continuation_ids: number[] }[],
  [B, T, W]: number[],
): void {
  const rows = prompts.map(({ ids, continuation_ids }) => ({ promptIds: ids, completionIds: continuation_ids }));
  for (const temperature of [1, 0.7]) {
    const packed = packCompletions(rows, B as number, T as number, W as number);
    const { logProbs } = program.run('logProbs', { ...packed, inverseTemperature: Float32Array.of(1 / temperature) });
    prompts.forEach((prompt, row) => {
      const expected = (prompt as unknown as Record<string, number[]>)[`logp_temperature_${temperature}`] as number[];
      const actual = (logProbs as Float32Array).subarray(row * (W as number), row * (W as number) + expected.length);
      assertClose(`log-probs at temperature ${temperature}`, actual, expected, 1e-4);
    });
  }
}

function checkGreedy(
  program: Program,
  greedy: { new_tokens: number; ids: number[][]; prompt_ids: number[][] },
  prompts: unknown[],
  T: number,
): void {
  const B = prompts.length;
  const ids = new Int32Array(B * T);
  greedy.prompt_ids.forEach((prompt, row) => {
    ids.set(prompt.slice(0, -1), row * T);
  });
  const rows = Int32Array.from({ length: B }, (_, row) => row);
  program.run('prefill', { ids, offset: Int32Array.of(0) });
  program.run('admit', { prompts: rows, slots: rows });
  let tokens = Int32Array.from(greedy.prompt_ids, (prompt) => prompt.at(-1)!);
  const positions = Int32Array.from(greedy.prompt_ids, (prompt) => prompt.length - 1);
  const drawn: number[][] = greedy.prompt_ids.map(() => []);
  for (let step = 0; step < greedy.new_tokens; step++) {
    const inputs = { tokens, positions, uniforms: new Float32Array(B), inverseTemperature: Float32Array.of(1) };
    tokens = program.run('decode', inputs).tokens as Int32Array<ArrayBuffer>;
    drawn.forEach((row, index) => {
      row.push(tokens[index]!);
      (positions as Int32Array)[index]! += 1;
    });
  }
  assert.deepEqual(drawn, greedy.ids);
}

interface Batch {
  readonly beta2: number;
  readonly temperature: number;
  readonly prompt_ids: number[][];
  readonly completion_ids: number[][];
  readonly logp_ref_sums: number[];
  readonly rewards: number[];
  readonly v_star: number[];
  readonly optimizer: { readonly lr: number };
  readonly steps: {
    readonly step: number;
    readonly loss: number;
    readonly logp_sums: number[];
    readonly total_grad_norm: number;
    readonly grad_norms?: Record<string, number>;
    readonly param_norms_after: Record<string, number>;
  }[];
}

function checkTraining(
  program: Program,
  batch: Batch,
  names: string[],
  optimizer: AdamWOptions,
  [B, T, W]: number[],
): void {
  const rows = batch.prompt_ids.map((promptIds, row) => ({
    promptIds,
    completionIds: batch.completion_ids[row]!,
  }));
  for (const step of batch.steps) {
    const result = program.run('step', {
      ...packCompletions(rows, B as number, T as number, W as number),
      inverseTemperature: Float32Array.of(1 / batch.temperature),
      refSums: Float32Array.from(batch.logp_ref_sums),
      targetsA: Float32Array.from(batch.rewards, (reward, row) => reward - batch.v_star[row]!),
      beta2: Float32Array.of(batch.beta2),
      ...adamw.stepScalars(step.step, batch.optimizer.lr, optimizer),
    });
    assertRelative('loss', result.loss?.[0], step.loss, 1e-4);
    assertRelative('gradient norm', result.norm?.[0], step.total_grad_norm, 1e-3);
    names.forEach((name, index) => {
      const expected = step.grad_norms?.[name];
      if (expected !== undefined) assertRelative(`gradient norm of ${name}`, result.norms?.[index], expected, 1e-3);
      const norm = Math.hypot(...(program.read(name) as Float32Array));
      assertRelative(`norm of ${name} after step ${step.step}`, norm, step.param_norms_after[name]!, 1e-3);
    });
  }
}

function assertClose(what: string, actual: ArrayLike<number>, expected: number[], tolerance: number): void {
  assert.equal(actual.length, expected.length, what);
  expected.forEach((value, index) => {
    const difference = Math.abs(actual[index]! - value);
    assert.ok(difference <= tolerance, `${what}[${index}]: ${actual[index]} instead of ${value}, off by ${difference}`);
  });
}

function assertRelative(what: string, actual: number | undefined, expected: number, tolerance: number): void {
  const difference = Math.abs((actual as number) - expected);
  assert.ok(difference <= tolerance * Math.abs(expected) + 1e-9, `${what}: ${actual} instead of ${expected}`);
}
