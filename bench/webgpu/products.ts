/**
 * @file Matrix products on a WebGPU card: speed of large ones, bandwidth of those with few rows, and every tile at the
 * sizes of decoding. Checks a few elements of each against sums in float64.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Program } from '../../src/engine/program.js';
import type { WebGpuDevice } from '../../src/engine/webgpu/device.js';
import { openCompiler } from '../../src/engine/wgsl/program.js';
import { sharedBytes, type Tile, type Tuning, threadsOf, tuningOf } from '../../src/engine/wgsl/tuning.js';
import { seededUniform } from '../measure.js';
import type { Report } from './report.js';

interface Sizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

const nameOf = ({ rows, columns, own, slices, depth }: Tile) =>
  `${rows}x${columns} own ${own} slices ${slices} depth ${depth}`;

/** @param seconds that each product may be repeated for. */
export function measureProducts(gpu: WebGpuDevice, report: Report, seconds: number): void {
  // The kernels of a card, even on a software renderer.
  const tuning = tuningOf({ ...gpu.facts, software: false });
  const large = gpu.facts.software ? [128] : [512, 1024, 2048];
  for (const size of large) {
    const sizes = { M: size, N: size, K: size };
    for (const [kernel, each] of [
      ['tiled', tuning],
      ['a thread per element', { ...tuning, threads: 1 }],
    ] as const) {
      const { seconds: second, error } = time(gpu, each, sizes, seconds);
      report('product', {
        size,
        kernel,
        gflops: Math.round((2 * size ** 3) / second / 1e9),
        microseconds: round(second * 1e6),
        error,
      });
    }
  }
  const width = gpu.facts.software ? 256 : 8192;
  for (const rows of [1, 2, 4, 8, 16, 64]) {
    const { seconds: second, error } = time(gpu, tuning, { M: rows, N: width, K: width }, seconds);
    const gigabytes = (4 * width * width) / second / 1e9;
    report('few rows', { rows, width, gigabytesPerSecond: round(gigabytes), microseconds: round(second * 1e6), error });
  }
}

/** Every tile, and the kernel for few rows, at the sizes of a decoding step of SmolLM2-135M. */
export function measureTiles(gpu: WebGpuDevice, report: Report, seconds: number): void {
  const tuning = tuningOf({ ...gpu.facts, software: false });
  const shapes = gpu.facts.software
    ? [[48, 40]]
    : [
        [576, 576],
        [1536, 576],
        [576, 1536],
        [49_152, 576],
      ];
  for (const M of [4, 16, 64]) {
    for (const [N, K] of shapes as [number, number][]) {
      const tilings: (readonly [string, Tuning])[] = tuning.tiles
        .filter((tile) => threadsOf(tile) <= tuning.threads && sharedBytes(tile) <= tuning.sharedBytes)
        .map((tile) => [nameOf(tile), { ...tuning, fewRows: 0, tiles: [tile] }]);
      tilings.push(['chosen', tuning]);
      if (M <= 16) tilings.push(['few rows', { ...tuning, fewRows: M }]);
      const microseconds = Object.fromEntries(
        tilings.map(([name, each]) => [name, round(time(gpu, each, { M, N, K }, seconds).seconds * 1e6)]),
      );
      report('tiles', { M, N, K, microseconds });
    }
  }
}

/** Seconds of `x [M, K] w^T [N, K]`, without waiting in between, and the largest error of a few elements. */
function time(gpu: WebGpuDevice, tuning: Tuning, { M, N, K }: Sizes, most: number) {
  const program = openCompiler(
    gpu,
    tuning,
  )({
    state: {
      x: { dtype: 'float32', shape: [M, K] },
      w: { dtype: 'float32', shape: [N, K] },
      y: { dtype: 'float32', shape: [M, N] },
    },
    functions: {
      multiply: {
        inputs: {},
        body: ({ x, w }) => ({ assign: { y: tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D, false, true) } }),
      },
      first: { inputs: {}, body: ({ y }) => ({ outputs: { y: tf.slice(y!, [0, 0], [1, 1]) } }) },
    },
  });
  const [x, w] = [noise(M * K, 1), noise(N * K, 2)];
  program.write('x', x);
  program.write('w', w);
  repeat(program, 1);
  const once = Math.max(repeat(program, 3) / 3, 1e-6);
  const count = Math.max(1, Math.min(500, Math.floor(most / once)));
  const taken = repeat(program, count) / count;
  const found = program.read('y');
  let error = 0;
  for (let probe = 0; probe < 50; probe += 1) {
    const [m, n] = [(probe * 7919) % M, (probe * 104_729) % N];
    let sum = 0;
    for (let k = 0; k < K; k += 1) sum += x[m * K + k]! * w[n * K + k]!;
    error = Math.max(error, Math.abs(sum - found[m * N + n]!));
  }
  program.dispose();
  return { seconds: taken, error };
}

/** Seconds of so many products, and one read. */
function repeat(program: Program, count: number): number {
  const start = performance.now();
  for (let run = 0; run < count; run += 1) program.run('multiply');
  program.run('first');
  return (performance.now() - start) / 1000;
}

function noise(size: number, seed: number): Float32Array {
  const uniform = seededUniform(seed);
  return Float32Array.from({ length: size }, () => uniform() - 0.5);
}

const round = (value: number) => Number(value.toPrecision(4));
