/**
 * @file The checks of `doctor` that load the tensor library: speed of matrix products, correctness of gradients, and
 * agreement between compiled, op-by-op and WebAssembly runs of the same program. With `--model`: opens the model as every
 * command does and checks all tensors against the config, without computing or downloading; a hub id is looked up in the
 * cache.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../../engine/backend.js';
import { bf16WithoutInstructions } from '../../engine/choices.js';
import type { TypedArray } from '../../engine/dtype.js';
import { linear } from '../../engine/ops/ops.js';
import { stepScalars } from '../../engine/optim/adamw.js';
import { defineFunction, type Program } from '../../engine/program.js';
import { describePretrained, openWeights } from '../../model/checkpoint/pretrained.js';
import { loadTokenizer } from '../../model/checkpoint/tokenizer.js';
import { ggufFolder, isGguf, openGgufWeights } from '../../model/gguf/open.js';
import { resolveModel } from '../../model/hub/model.js';
import { hubSettings } from '../../model/hub/repo.js';
import { loraTargets, parameterCount } from '../../model/network/params.js';
import { createPolicy } from '../../policy/policy.js';
import { builtinArchitecture } from '../../pretrain/builtin.js';
import { trainedModel } from '../../run/checkpoints.js';
import { policyGradient } from '../../stage2/loss.js';
import { UserError } from '../../util/errors.js';
import { formatBytes } from '../../util/format.js';
import { adamOptions, batch, blockProgram, fixedNumbers, initialParameters, parameterNames } from './block.js';
import { type Check, failedCheck } from './machine.js';

/** A check with its name, so that an exception can be reported under it. */
export type EngineCheck = readonly [name: string, run: (engine: Engine) => Promise<Check>];

const engineChecks: readonly EngineCheck[] = [
  ['instructions', instructionsCheck],
  ['matmul', matmulCheck],
  ['gradients', (engine) => gradientCheck(engine)],
  ['agreement', (engine) => agreementCheck(engine)],
  ['training step', (engine) => trainingCheck(engine)],
];

export function checksOf(engine: Engine): readonly EngineCheck[] {
  return engine.onFallback === undefined ? engineChecks : [...engineChecks, ['compiled', compiledCheck]];
}

/** The instruction set that the kernels use, and whether `--precision bf16` speeds up products. */
async function instructionsCheck({ name, device, instructions, multipliesBfloat16 }: Engine): Promise<Check> {
  const common = { name: 'instructions', ok: true, needed: false, expected: 'any' };
  if (name === 'wasm') return { ...common, found: 'WebAssembly SIMD; --precision bf16 is unavailable' };
  if (name === 'webgpu')
    return { ...common, found: 'those of the graphics card; --precision bf16 halves the memory of sampling weights' };
  const limit = process.env.TINYZERO_CPU ? ` (limited by TINYZERO_CPU=${process.env.TINYZERO_CPU})` : '';
  const set = device === 'gpu' ? 'GPU' : (instructions ?? 'chosen by TensorFlow');
  const bf16 = multipliesBfloat16
    ? '--precision bf16 makes products faster and halves the memory of sampling weights'
    : bf16WithoutInstructions;
  return { ...common, found: `${set}${limit}; ${bf16}` };
}

const reinstall = 'Run `tinyzero engine install --force`. If the problem persists, please report it with this output.';

/** Far below any idle machine; only a starved or emulated engine is slower. */
const workingGflops = { tensorflow: 5, webgpu: 5, wasm: 0.5 } as const;

/** Milliseconds after which the measurement is not repeated. */
const maxMatmulMs = 2000;

async function matmulCheck(engine: Engine): Promise<Check> {
  const size = engine.name === 'tensorflow' ? 1024 : 512;
  const program = engine.createProgram({
    state: { a: { dtype: 'float32', shape: [size, size] }, b: { dtype: 'float32', shape: [size, size] } },
    functions: {
      multiply: defineFunction({
        inputs: {},
        outputs: { corner: 'float32' },
        body: ({ a, b }) => {
          const product = linear(a!, b!);
          return { outputs: { corner: tf.slice(product, [0, 0], [1, 1]) } }; // one number crosses, not a million
        },
      }),
    },
  });
  try {
    program.fill('a', 0.5);
    program.fill('b', 2);
    const corner = program.run('multiply').corner[0]!;
    const times: number[] = [];
    const began = performance.now();
    while (times.length < 7 && performance.now() - began < maxMatmulMs) {
      const start = performance.now();
      program.run('multiply');
      times.push(performance.now() - start);
    }
    const gflops = (2 * size ** 3) / (Math.min(...times) * 1e6);
    return judgeProduct(engine.name, { size, corner, gflops });
  } finally {
    program.dispose();
  }
}

/** The check of a product of `size` x `size` matrices whose elements must all be `size`. */
export function judgeProduct(
  engine: keyof typeof workingGflops,
  { size, corner, gflops }: { readonly size: number; readonly corner: number; readonly gflops: number },
): Check {
  if (corner !== size) {
    const common = { name: 'matmul', ok: false, needed: true };
    return { ...common, found: `wrong: ${corner}`, expected: `${size}`, fix: reinstall };
  }
  return {
    name: 'matmul',
    ok: gflops >= workingGflops[engine],
    needed: false, // a slow machine gives the same results
    found: `${gflops < 10 ? Number(gflops.toPrecision(2)) : Math.round(gflops)} GFLOP/s (${size} x ${size})`,
    expected: `${workingGflops[engine]} GFLOP/s or more`,
    fix: 'Everything works, but slowly. Check what else is running on this machine; an emulated processor is always slow.',
  };
}

/** Step of the finite differences, chosen so that float32 rounding and the formula's truncation error are similar. */
const epsilon = 5e-3;
const maxGradientError = 1e-3;

/**
 * Compares each parameter's gradient with fourth-order finite differences of the loss along one direction per parameter.
 * `spec` is a parameter so that a test can pass a wrong gradient.
 */
export async function gradientCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const program = engine.createProgram(spec);
  try {
    const start = initialParameters();
    writeAll(program, start);
    const gradients = program.run('gradients', batch);
    let worst = { name: '', error: 0 };
    for (const [index, name] of parameterNames.entries()) {
      const values = start[name]!;
      const direction = fixedNumbers(values.length, 100 + index, 1).map(Math.sign);
      const lossAt = (distance: number) => {
        program.write(
          name,
          values.map((value, at) => value + distance * direction[at]!),
        );
        return program.run('loss', batch).loss[0]!;
      };
      const near = lossAt(epsilon) - lossAt(-epsilon);
      const far = lossAt(2 * epsilon) - lossAt(-2 * epsilon);
      const numeric = (8 * near - far) / (12 * epsilon);
      program.write(name, values);
      const gradient = gradients[name]!;
      const analytic = gradient.reduce((sum, value, at) => sum + value * direction[at]!, 0);
      // Relative to the gradient's size, not the derivative's, which may happen to be small in this direction.
      const scale = gradient.reduce((sum, value) => sum + Math.abs(value), 0) / Math.sqrt(gradient.length);
      const error = orInfinity(Math.abs(numeric - analytic) / scale);
      if (error > worst.error) worst = { name, error };
    }
    return {
      name: 'gradients',
      ok: worst.error <= maxGradientError,
      needed: true,
      found: `worst of ${parameterNames.length} off by ${worst.error.toExponential(1)} from finite differences (${worst.name})`,
      expected: `at most ${maxGradientError}`,
      fix: reinstall,
    };
  } finally {
    program.dispose();
  }
}

/**
 * The loss of block.ts at its initial parameters, computed independently in float64 with NumPy. Detects engines that agree
 * on a wrong result.
 */
const referenceLoss = 3.52476297;
const maxDifference = 1e-4;

/** Compares loss and gradients: compiled, op by op, on WebAssembly, and the NumPy reference. */
export async function agreementCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const wasm = await openEngine('wasm');
  const ways: [string, Program<typeof spec.functions>][] = [
    [engine.name === 'wasm' ? 'wasm' : 'compiled', engine.createProgram(spec)],
  ];
  if (engine.name !== 'wasm') {
    ways.push(['op by op', engine.createEagerProgram(spec)]);
    ways.push(['wasm', wasm.createEagerProgram(spec)]);
  }
  try {
    const results = ways.map(([name, program]) => {
      writeAll(program, initialParameters());
      return [name, program.run('gradients', batch)] as const;
    });
    const [firstName, first] = results[0]!;
    let worst = {
      name: `${firstName} loss`,
      difference: orInfinity(Math.abs(first.loss![0]! - referenceLoss)),
    };
    for (const [name, result] of results.slice(1)) {
      for (const [tensor, values] of Object.entries(result)) {
        const difference = relativeDifference(first[tensor]!, values);
        if (difference > worst.difference) worst = { name: `${name} ${tensor}`, difference };
      }
    }
    return {
      name: 'agreement',
      ok: worst.difference <= maxDifference,
      needed: true,
      found: `${[...ways.map(([name]) => name), 'reference'].join(' = ')} within ${worst.difference.toExponential(1)} (${worst.name})`,
      expected: `equal within ${maxDifference}`,
      fix: reinstall,
    };
  } finally {
    for (const [, program] of ways) program.dispose();
  }
}

/** Plans the programs that train the built-in model, and those of its adapters, without running them. */
async function compiledCheck(engine: Engine): Promise<Check> {
  const sentences: string[] = [];
  engine.onFallback!((sentence) => sentences.push(sentence));
  const config = builtinArchitecture();
  for (const lora of [undefined, { rank: 8, alpha: 16, targets: loraTargets }]) {
    const training = { batchSize: 4, loss: policyGradient, maxGradientNorm: 1, optimizer: adamOptions, lora };
    createPolicy(engine, config, { sizes: { promptLengths: [8], maxNewTokens: 16, slots: 4 }, training }).dispose();
  }
  return {
    name: 'compiled',
    ok: sentences.length === 0,
    needed: false, // op by op gives the same results
    found: sentences[0] ?? 'sampling and training of the built-in model, with all weights and with adapters',
    expected: 'every program compiled for this card',
    fix: 'Everything works, but slowly. Please report it with this output.',
  };
}

const trainingSteps = 20;

/** A few optimiser steps on the same small batch, during which the loss must fall. */
export async function trainingCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const program = engine.createProgram(spec);
  try {
    for (const name of Object.keys(spec.state)) {
      if (!parameterNames.includes(name)) program.fill(name, 0);
      else program.write(name, initialParameters()[name]!);
    }
    const losses: number[] = [];
    const times: number[] = [];
    for (let step = 1; step <= trainingSteps; step += 1) {
      const start = performance.now();
      const { loss } = program.run('step', { ...batch, ...stepScalars(step, 0.02, adamOptions) });
      times.push(performance.now() - start);
      losses.push(loss[0]!);
    }
    const [first = Number.NaN, last = Number.NaN] = [losses[0], losses.at(-1)];
    const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
    return {
      name: 'training step',
      ok: last < first / 2,
      needed: true,
      found: `loss ${first.toFixed(3)} -> ${last.toFixed(3)} in ${trainingSteps} steps of ${median.toFixed(1)} ms`,
      expected: 'a loss that falls by half or more',
      fix: reinstall,
    };
  } finally {
    program.dispose();
  }
}

function writeAll(program: Program, values: Readonly<Record<string, TypedArray>>): void {
  for (const [name, array] of Object.entries(values)) program.write(name, array);
}

/** Replaces NaN by infinity, since comparisons with NaN are false and would hide it. */
function orInfinity(error: number): number {
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

/** Largest difference of two arrays, relative to the largest magnitude in the first. */
function relativeDifference(a: TypedArray, b: TypedArray): number {
  let largest = 0;
  let difference = 0;
  for (let index = 0; index < a.length; index += 1) {
    const [x, y] = [Number(a[index]), Number(b[index])];
    if (!Number.isFinite(x) || !Number.isFinite(y)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(x));
    difference = Math.max(difference, Math.abs(x - y));
  }
  return largest === 0 ? difference : difference / largest;
}

export async function modelCheck(reference: string): Promise<Check> {
  const common = {
    name: 'model',
    needed: true,
    expected: 'a complete Hugging Face folder, or a GGUF file, of a qwen2, qwen3 or llama model',
    fix: 'Check the name. A hub model is downloaded by any command that uses it.',
  };
  try {
    const gguf = isGguf(reference);
    const place = gguf
      ? ggufFolder(reference)
      : await resolveModel(trainedModel(reference), { settings: { ...hubSettings(), offline: true } });
    const { config } = describePretrained(place);
    const weights = gguf ? openGgufWeights(reference, config) : openWeights(place, config);
    const { dtype, byteLength } = weights;
    weights.close();
    loadTokenizer(place);
    const parameters = parameterCount(config).toLocaleString('en');
    const found = gguf ? reference : place;
    return { ...common, ok: true, found: `${found}: ${parameters} parameters, ${dtype}, ${formatBytes(byteLength)}` };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return failedCheck(common, error.parts);
  }
}
