/**
 * The native product of matrices against sums in float64: every layout of its factors, sizes that are no multiple of tiles or
 * blocks, and bits of an element that do not depend on the others.
 */
import assert from 'node:assert/strict';
import { nativeOps } from '../../../src/engine/lowering/native-ops.js';
import type { KernelsAddon } from '../../../src/engine/native.js';
import { rounded } from '../../helpers/bfloat16.js';
import { assertClose } from '../../helpers/close.js';
import { nativeTest } from '../../helpers/native.js';
import { openKernels, runOwnOp } from '../../helpers/own-op.js';
import { noise } from '../../helpers/subjects.js';

interface Case {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly narrowA: boolean;
  readonly narrowB: boolean;
  readonly round: boolean;
}

const plain = { transposeA: false, transposeB: false, narrowA: false, narrowB: false, round: false };

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: values.length }, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** a `[M, K]` and b `[K, N]`, laid out as the case says. */
function multiply(addon: KernelsAddon, each: Case, a: Float32Array, b: Float32Array): Float32Array {
  const { M, N, K } = each;
  const left = each.transposeA
    ? { shape: [K, M], values: transposed(a, M, K), narrow: each.narrowA }
    : { shape: [M, K], values: a, narrow: each.narrowA };
  const right = each.transposeB
    ? { shape: [N, K], values: transposed(b, K, N), narrow: each.narrowB }
    : { shape: [K, N], values: b, narrow: each.narrowB };
  return runOwnOp(addon, nativeOps.product, [left, right], {
    Ta: { type: each.narrowA ? 'bfloat16' : 'float32' },
    Tb: { type: each.narrowB ? 'bfloat16' : 'float32' },
    transpose_a: { bool: each.transposeA },
    transpose_b: { bool: each.transposeB },
    round: { bool: each.round },
  }) as Float32Array;
}

function assertExact(addon: KernelsAddon, each: Case): void {
  const { M, N, K } = each;
  const [a, b] = [noise(M * K, 1), noise(K * N, 2)];
  const found = multiply(addon, each, a, b);
  const x = each.narrowA || each.round ? rounded(a) : a;
  const w = each.narrowB || each.round ? rounded(b) : b;
  const exact: number[] = [];
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k]! * w[k * N + n]!;
      exact.push(sum);
    }
  }
  // Each of K terms up to 1 adds a rounding of 2^-24 of the sum so far, at most sqrt(K) as terms of either sign add up.
  assertClose(JSON.stringify(each), found, exact, { relative: 1e-5, absolute: K * 2 ** -24 * 4 });
}

const flags = [false, true];
for (const transposeA of flags) {
  for (const transposeB of flags) {
    const name = `a product ${transposeA ? 'of a transposed' : 'of a'} and ${transposeB ? 'a transposed' : 'a'} matrix`;
    nativeTest(`${name} is that of float64`, (t) => {
      const addon = openKernels();
      if (addon === undefined) return t.skip('this engine has no kernels addon');
      for (const [M, N, K] of [
        [1, 1, 1],
        [7, 33, 5],
        [100, 29, 401],
        [13, 201, 800],
        [530, 600, 9],
      ] as const) {
        for (const [narrowA, narrowB, round] of [
          [false, false, false],
          [false, true, true],
          [true, true, false],
        ] as const) {
          assertExact(addon, { M, N, K, transposeA, transposeB, narrowA, narrowB, round });
        }
      }
    });
  }
}

nativeTest('a sum over nothing is 0, and a result of no rows is empty', (t) => {
  const addon = openKernels();
  if (addon === undefined) return t.skip('this engine has no kernels addon');
  const none = new Float32Array(0);
  assert.deepEqual(multiply(addon, { ...plain, M: 2, N: 3, K: 0 }, none, none), new Float32Array(6));
  assert.deepEqual(multiply(addon, { ...plain, M: 0, N: 3, K: 2 }, none, noise(6, 1)), none);
});

nativeTest('a row has the same bits alone, among a few and among many', (t) => {
  const addon = openKernels();
  if (addon === undefined) return t.skip('this engine has no kernels addon');
  const [N, K] = [700, 900];
  const [a, b] = [noise(900 * K, 3), noise(K * N, 4)];
  const rowsOf = (M: number) =>
    multiply(addon, { ...plain, transposeB: true, M, N, K }, a.slice(0, M * K), b).slice(0, N);
  const alone = rowsOf(1);
  for (const M of [2, 17, 300, 900]) assert.deepEqual(rowsOf(M), alone, `${M} rows`);
});

nativeTest('NaN and infinities stay visible in their row alone', (t) => {
  const addon = openKernels();
  if (addon === undefined) return t.skip('this engine has no kernels addon');
  const [M, N, K] = [20, 40, 30];
  const a = noise(M * K, 5);
  a[3 * K + 7] = Number.NaN;
  a[5 * K + 1] = Number.POSITIVE_INFINITY;
  for (const round of flags) {
    const y = multiply(addon, { ...plain, M, N, K, round }, a, noise(K * N, 6));
    for (let m = 0; m < M; m++) {
      const finite = y.slice(m * N, (m + 1) * N).every(Number.isFinite);
      assert.equal(finite, m !== 3 && m !== 5, `row ${m}`);
    }
  }
});
