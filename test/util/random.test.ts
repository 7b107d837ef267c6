import assert from 'node:assert/strict';
import { test } from 'node:test';
import { float32Uniform, keyedRandom, rolloutRandom } from '../../src/util/random.js';

const uniforms = (random: { uniform(): number }, count: number) =>
  Array.from({ length: count }, () => random.uniform());

/** Chi-square of `counts` against equal expectations. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

test('a key always gives the same stream: stored runs depend on these numbers', () => {
  assert.deepEqual(
    uniforms(keyedRandom(1, 'stage1', '7 × 12', 0), 3),
    [0.23011908941522707, 0.04209386977886076, 0.23459712280420786],
  );
});

test('keys differ by part boundary, by type and by order', () => {
  const first = (...key: (string | number)[]) => keyedRandom(...key).uniform();
  const values = [first('a', 12), first('a1', 2), first('a', '12'), first(12, 'a'), first('a', 1, 2), first('a,12')];
  assert.equal(new Set(values).size, values.length);
  assert.throws(() => keyedRandom('a', Number.NaN), /NaN/);
});

test('rollouts of other samples, stages, problems and seeds do not share numbers', () => {
  const base = { seed: 1, stage: 's', problem: 'p', sample: 1 };
  const streams = [
    rolloutRandom(base),
    rolloutRandom({ ...base, sample: 2 }),
    rolloutRandom({ ...base, stage: 't' }),
    rolloutRandom({ ...base, problem: 'q' }),
    rolloutRandom({ ...base, seed: 0 }),
  ];
  assert.equal(new Set(streams.map((random) => random.uniform())).size, streams.length);
});

test('numbers of neighbouring keys, and neighbouring numbers of one key, are independent', () => {
  // 100 equal cells, 20,000 pairs: chi-square with 99 degrees of freedom exceeds 149 in one case of a thousand. The keys
  // are fixed, so this passes or fails for good.
  const across = new Array<number>(100).fill(0);
  const along = new Array<number>(100).fill(0);
  let previous = keyedRandom('neighbour', 0).uniform();
  for (let i = 1; i <= 20_000; i++) {
    const random = keyedRandom('neighbour', i);
    const [u, v] = [random.uniform(), random.uniform()];
    across[Math.floor(previous * 10) * 10 + Math.floor(u * 10)]!++;
    along[Math.floor(u * 10) * 10 + Math.floor(v * 10)]!++;
    previous = u;
  }
  assert.ok(chiSquare(across) < 149, `across keys: ${chiSquare(across)}`);
  assert.ok(chiSquare(along) < 149, `along a key: ${chiSquare(along)}`);
});

test('int reaches both ends evenly and rejects an empty range', () => {
  const random = keyedRandom('int');
  const counts = new Array<number>(11).fill(0);
  for (let i = 0; i < 11_000; i++) counts[random.int(2, 12) - 2]!++;
  assert.ok(chiSquare(counts) < 29.6, `${counts}`); // 10 degrees of freedom, one in a thousand
  assert.throws(() => random.int(3, 2), /3\.\.2/);
  assert.throws(() => random.int(0.5, 2), RangeError);
  assert.throws(() => random.pick([]), RangeError);
});

test('shuffle makes every order equally likely and does not change its argument', () => {
  const random = keyedRandom('shuffle');
  const items = Object.freeze(['a', 'b', 'c']);
  const counts = new Map<string, number>();
  for (let i = 0; i < 6_000; i++) {
    const order = random.shuffle(items).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  assert.ok(chiSquare([...counts.values()]) < 20.5, `${[...counts.values()]}`); // 5 degrees of freedom, one in a thousand
});

test('normal has the moments of a standard normal', () => {
  const random = keyedRandom('normal');
  const n = 40_000;
  let [sum, square, fourth] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = random.normal();
    sum += x;
    square += x ** 2;
    fourth += x ** 4;
  }
  // Standard errors: 1/sqrt(n) = 0.005, sqrt(2/n) = 0.007, sqrt(96/n) = 0.049; four of each.
  assert.ok(Math.abs(sum / n) < 0.02);
  assert.ok(Math.abs(square / n - 1) < 0.028);
  assert.ok(Math.abs(fourth / n - 3) < 0.2);
});

test('float32 uniforms never round up to 1', () => {
  assert.equal(float32Uniform(1 - 2 ** -53), 1 - 2 ** -24);
});
