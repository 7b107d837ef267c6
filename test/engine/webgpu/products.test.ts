/** Products in tiles and with few rows, as on a card, against sums in float64. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { agreementCheck } from '../../../src/cli/doctor/engine.js';
import { openEngine } from '../../../src/engine/backend.js';
import { swiglu } from '../../../src/engine/ops/ops.js';
import type { FunctionSpec, Program, TensorSpec } from '../../../src/engine/program.js';
import { openDawn } from '../../../src/engine/webgpu/dawn.js';
import type { WebGpuDevice } from '../../../src/engine/webgpu/device.js';
import { dispatchesOf, openCompiler } from '../../../src/engine/wgsl/program.js';
import { sharedBytes, type Tile, type Tuning, threadsOf, tuningOf } from '../../../src/engine/wgsl/tuning.js';
import { assertClose } from '../../helpers/close.js';
import { noise } from '../../helpers/subjects.js';
import { webGpuTest } from '../../helpers/webgpu.js';

interface Case {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly batchA?: readonly number[];
  readonly batchB?: readonly number[];
}

let opened: Promise<WebGpuDevice> | undefined;
const open = () => (opened ??= openDawn());

/** As on a card, even where the adapter is software. */
async function cardTuning(): Promise<Tuning> {
  return tuningOf({ ...(await open()).facts, software: false });
}

async function smallTuning(): Promise<Tuning> {
  return { ...(await cardTuning()), threads: 32, tiles: smallTiles };
}

const sizes = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const float = (...shape: number[]): TensorSpec => ({ dtype: 'float32', shape });

function spec({ M, N, K, transposeA = false, transposeB = false, batchA = [], batchB = [] }: Case): FunctionSpec {
  return {
    inputs: {
      a: float(...batchA, ...(transposeA ? [K, M] : [M, K])),
      b: float(...batchB, ...(transposeB ? [N, K] : [K, N])),
    },
    body: (_, { a, b }) => ({ outputs: { y: tf.matMul(a as tf.Tensor, b as tf.Tensor, transposeA, transposeB) } }),
  };
}

/** Results in float64 for factors of noise. */
function exact({ M, N, K, transposeA, transposeB, batchA = [], batchB = [] }: Case, a: Float32Array, b: Float32Array) {
  const count = Math.max(sizes(batchA), sizes(batchB));
  const at = (values: Float32Array, batch: readonly number[], number: number, index: number) =>
    values[(sizes(batch) === 1 ? 0 : number * (values.length / count)) + index]!;
  return Array.from({ length: count * M * N }, (_, i) => {
    const [number, m, n] = [Math.floor(i / (M * N)), Math.floor(i / N) % M, i % N];
    let sum = 0;
    for (let k = 0; k < K; k += 1) {
      sum +=
        at(a, batchA, number, transposeA ? k * M + m : m * K + k) *
        at(b, batchB, number, transposeB ? n * K + k : k * N + n);
    }
    return sum;
  });
}

async function check(tuning: Tuning, cases: readonly Case[]): Promise<void> {
  const functions = Object.fromEntries(cases.map((each, index) => [`f${index}`, spec(each)]));
  const program = openCompiler(await open(), tuning)({ state: {}, functions });
  for (const [index, each] of cases.entries()) {
    const [a, b] = [
      noise(sizes(each.batchA ?? []) * each.M * each.K, 1),
      noise(sizes(each.batchB ?? []) * each.K * each.N, 2),
    ];
    assert.equal(dispatchesOf(program)?.[`f${index}`], 1);
    assertClose(JSON.stringify(each), program.run(`f${index}`, { a, b }).y!, exact(each, a, b), tolerance);
  }
  program.dispose();
}

const tolerance = { relative: 1e-5, absolute: 1e-4 };

const layouts = [
  { transposeA: false, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: false },
  { transposeA: true, transposeB: true },
];

/** A software adapter takes a second to compile a tile of a card's size, and a hundredth of that for a small one. */
const smallTiles: readonly Tile[] = [
  { rows: 8, columns: 8, own: 4, slices: 1, depth: 4 },
  { rows: 16, columns: 8, own: 8, slices: 1, depth: 2 },
  { rows: 8, columns: 12, own: 4, slices: 4, depth: 2 },
];

webGpuTest('products in tiles: whole and ragged sides, every layout of the factors', async () => {
  const tuning = await cardTuning();
  const tiles = process.env.TINYZERO_TEST_GPU === '1' ? [...smallTiles, ...tuning.tiles] : smallTiles;
  for (const [index, tile] of tiles.entries()) {
    if (threadsOf(tile) > tuning.threads || sharedBytes(tile) > tuning.sharedBytes) continue;
    const whole = tile.slices * tile.depth;
    const ragged = { M: tile.rows + 5, N: tile.columns + 3, K: whole + 1 };
    const even = { M: tile.rows, N: tile.columns, K: 2 * whole };
    const only = { ...tuning, fewRows: 0, tiles: [tile] };
    await check(only, [
      { ...even, ...layouts[index % 4]! },
      { ...ragged, ...layouts[(index + 1) % 4]! },
    ]);
  }
});

webGpuTest('products of few rows, whose sums several threads divide', async () => {
  const tuning = { ...(await smallTuning()), groups: 8 };
  await check(tuning, [
    { M: 1, N: 70, K: 133, transposeB: true },
    { M: 4, N: 33, K: 64, transposeB: true },
    { M: 3, N: 37, K: 50, transposeA: true },
    { M: 2, N: 32, K: 256 },
  ]);
});

webGpuTest('products of batches, of which one factor may have a single one', async () => {
  const tuning = await smallTuning();
  await check(tuning, [
    { M: 9, N: 6, K: 11, batchA: [2, 3], batchB: [2, 3], transposeB: true },
    { M: 17, N: 20, K: 8, batchA: [3], batchB: [1] },
    { M: 2, N: 10, K: 40, batchA: [1, 2], batchB: [1, 2], transposeB: true },
  ]);
});

webGpuTest('what follows a product is computed in its kernel, unless it needs other elements of it', async () => {
  const [rows, width, inner] = [6, 16, 12];
  const functions: Record<string, FunctionSpec> = {
    // One kernel for both products and SwiGLU.
    gated: {
      inputs: { x: float(rows, inner), gate: float(width, inner), up: float(width, inner) },
      body: (_, { x, gate, up }) => {
        const product = (matrix: unknown) => tf.matMul(x as tf.Tensor2D, matrix as tf.Tensor2D, false, true);
        return { outputs: { y: swiglu(product(gate), product(up)) } };
      },
    },
    residual: {
      inputs: { x: float(rows, inner), w: float(inner, width), b: float(width), r: float(rows, width) },
      body: (_, { x, w, b, r }) => ({
        outputs: { y: tf.add(tf.add(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), b as tf.Tensor), r as tf.Tensor) },
      }),
    },
    turned: {
      inputs: { x: float(rows, inner), w: float(inner, width) },
      body: (_, { x, w }) => ({
        outputs: { y: tf.add(tf.transpose(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D)), 1) },
      }),
    },
    unlike: {
      inputs: { x: float(rows, inner), w: float(inner, width), z: float(width, inner), v: float(inner, rows) },
      body: (_, { x, w, z, v }) => {
        const [one, other] = [
          tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D),
          tf.matMul(z as tf.Tensor2D, v as tf.Tensor2D),
        ];
        return { outputs: { y: tf.add(one, tf.reshape(other, [rows, width])) } };
      },
    },
  };
  const gpu = await open();
  const make = (tuning: Tuning): Program => openCompiler(gpu, tuning)({ state: {}, functions });
  const tuning = await smallTuning();
  const [card, plain] = [make(tuning), make({ ...tuning, threads: 1 })];
  assert.deepEqual(dispatchesOf(card), { gated: 1, residual: 1, turned: 2, unlike: 2 });
  for (const [name, { inputs }] of Object.entries(functions)) {
    const values = Object.fromEntries(
      Object.entries(inputs!).map(([input, { shape }], index) => [input, noise(sizes(shape), index)]),
    );
    assertClose(name, card.run(name, values).y!, plain.run(name, values).y!, tolerance);
  }
  card.dispose();
  plain.dispose();
});

webGpuTest('a block with kernels as on a card equals those of wasm and NumPy', async () => {
  const createProgram = openCompiler(await open(), await smallTuning());
  const { ok, found } = await agreementCheck({ ...(await openEngine('webgpu')), createProgram });
  assert.ok(ok, found);
});
