/**
 * @file What `doctor` asks of an engine: does it multiply fast, are its gradients right, and do compiled, op-by-op and
 * WebAssembly runs of one program get the same numbers.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../../engine/backend.js';
import { bf16WithoutInstructions } from '../../engine/choices.js';
import type { TypedArray } from '../../engine/dtype.js';
import { linear } from '../../engine/ops/ops.js';
import { stepScalars } from '../../engine/optim/adamw.js';
import type { Program } from '../../engine/program.js';
import { adamOptions, batch, blockProgram, fixedNumbers, initialParameters, parameterNames } from './block.js';
import type { Check } from './check.js';

/** A name and what computes it, so that a check that throws is reported as that check. */
export type EngineCheck = readonly [name: string, run: (engine: Engine) => Promise<Check>];

export const engineChecks: readonly EngineCheck[] = [
  ['instructions', instructionsCheck],
  ['matmul', matmulCheck],
  ['gradients', (engine) => gradientCheck(engine)],
  ['agreement', (engine) => agreementCheck(engine)],
  ['training step', (engine) => trainingCheck(engine)],
];

/** What the kernels use of the processor, and whether `--precision bf16` makes products faster on it. */
async function instructionsCheck({ name, device, instructions, multipliesBfloat16 }: Engine): Promise<Check> {
  const common = { name: 'instructions', ok: true, needed: false, expected: 'any' };
  if (name === 'wasm') return { ...common, found: 'WebAssembly SIMD; --precision bf16 is unavailable' };
  const limit = process.env.TINYZERO_CPU ? ` (limited by TINYZERO_CPU=${process.env.TINYZERO_CPU})` : '';
  const set = device === 'gpu' ? 'GPU' : (instructions ?? "TensorFlow's own choice");
  const bf16 = multipliesBfloat16
    ? '--precision bf16 makes products faster and halves the memory of sampling weights'
    : bf16WithoutInstructions;
  return { ...common, found: `${set}${limit}; ${bf16}` };
}

const reinstall = 'Run `tinyzero engine install --force`; if it stays, please report it with this output.';

/** Far below any idle machine: an engine that gets less is starved or emulated. */
const workingGflops = { tensorflow: 5, wasm: 0.5 } as const;

/** The measurement is not repeated beyond this time. */
const maxMatmulMs = 2000;

async function matmulCheck(engine: Engine): Promise<Check> {
  const size = engine.name === 'wasm' ? 512 : 1024;
  const program = engine.createProgram({
    state: { a: { dtype: 'float32', shape: [size, size] }, b: { dtype: 'float32', shape: [size, size] } },
    functions: {
      multiply: {
        inputs: {},
        body: ({ a, b }) => {
          const product = linear(a as tf.Tensor, b as tf.Tensor);
          return { outputs: { corner: tf.slice(product, [0, 0], [1, 1]) } }; // one number crosses, not a million
        },
      },
    },
  });
  try {
    program.fill('a', 0.5);
    program.fill('b', 2);
    const corner = Number(program.run('multiply').corner?.[0]);
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

/** What `doctor` says of a product of `size` x `size` matrices whose elements are all `size`. */
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
    needed: false, // a slow machine computes the same
    found: `${gflops.toFixed(gflops < 10 ? 1 : 0)} GFLOP/s (${size} x ${size})`,
    expected: `${workingGflops[engine]} GFLOP/s or more`,
    fix: 'Everything works, but slowly. See what else runs on this machine; an emulated processor is always slow.',
  };
}

/** Step of the finite differences: the rounding of float32 and the missing terms of the formula weigh about the same. */
const epsilon = 5e-3;
const maxGradientError = 1e-3;

/**
 * Each parameter's gradient against differences of the loss along one direction per parameter, by the formula with an
 * error of the fourth order in the step. `spec` is a parameter so that a test can give it a wrong gradient.
 */
export async function gradientCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const program = engine.createProgram(spec);
  try {
    const start = initialParameters();
    writeAll(program, start);
    const gradients = program.run('gradients', batch);
    let worst = { name: '', error: 0 };
    for (const [index, name] of parameterNames.entries()) {
      const values = start[name] as Float32Array;
      const direction = fixedNumbers(values.length, 100 + index, 1).map(Math.sign);
      const lossAt = (distance: number) => {
        program.write(name, values.map((value, at) => value + distance * (direction[at] as number)) as Float32Array);
        return Number(program.run('loss', batch).loss?.[0]);
      };
      const near = lossAt(epsilon) - lossAt(-epsilon);
      const far = lossAt(2 * epsilon) - lossAt(-2 * epsilon);
      const numeric = (8 * near - far) / (12 * epsilon);
      program.write(name, values);
      const gradient = gradients[name] as Float32Array;
      const analytic = gradient.reduce((sum, value, at) => sum + value * (direction[at] as number), 0);
      // Relative to what the direction could show at most: a derivative that happens to be small is no worse.
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
 * The loss of block.ts at its initial parameters, in float64 by NumPy from the formulas. It ties every engine to a
 * number from outside, so that engines which agree on something wrong are found.
 */
const referenceLoss = 3.52476297;
const maxDifference = 1e-4;

/** Loss and gradients: compiled, op by op, on WebAssembly, and from outside. */
export async function agreementCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const wasm = await openEngine('wasm');
  const ways: [string, Program][] = [[engine.name === 'wasm' ? 'wasm' : 'compiled', engine.createProgram(spec)]];
  if (engine.name !== 'wasm') {
    ways.push(['op by op', engine.createEagerProgram(spec)]);
    ways.push(['wasm', wasm.createEagerProgram(spec)]);
  }
  try {
    const results = ways.map(([name, program]) => {
      writeAll(program, initialParameters());
      return [name, program.run('gradients', batch)] as const;
    });
    const [[firstName, first]] = results as [readonly [string, Record<string, TypedArray>]];
    let worst = {
      name: `${firstName} loss`,
      difference: orInfinity(Math.abs(Number(first.loss?.[0]) - referenceLoss)),
    };
    for (const [name, result] of results.slice(1)) {
      for (const [tensor, values] of Object.entries(result)) {
        const difference = relativeDifference(first[tensor] as TypedArray, values);
        if (difference > worst.difference) worst = { name: `${name} ${tensor}`, difference };
      }
    }
    return {
      name: 'agreement',
      ok: worst.difference <= maxDifference,
      needed: true,
      found: `${[...ways.map(([name]) => name), 'reference'].join(' = ')} to ${worst.difference.toExponential(1)} (${worst.name})`,
      expected: `equal to ${maxDifference}`,
      fix: reinstall,
    };
  } finally {
    for (const [, program] of ways) program.dispose();
  }
}

const trainingSteps = 20;

/** A few real optimiser steps: the loss must fall, and keep falling, on the same small batch. */
export async function trainingCheck(engine: Engine, spec = blockProgram): Promise<Check> {
  const program = engine.createProgram(spec);
  try {
    for (const name of Object.keys(spec.state)) {
      if (!parameterNames.includes(name)) program.fill(name, 0);
      else program.write(name, initialParameters()[name] as Float32Array);
    }
    const losses: number[] = [];
    const times: number[] = [];
    for (let step = 1; step <= trainingSteps; step += 1) {
      const start = performance.now();
      const { loss } = program.run('step', { ...batch, ...stepScalars(step, 0.02, adamOptions) });
      times.push(performance.now() - start);
      losses.push(Number(loss?.[0]));
    }
    const [first = Number.NaN, last = Number.NaN] = [losses[0], losses.at(-1)];
    const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] as number;
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

/** NaN compares as neither larger nor smaller, and so would be forgotten. */
function orInfinity(error: number): number {
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

/** Largest difference of two arrays over the largest magnitude of the first. */
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
