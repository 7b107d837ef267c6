import assert from 'node:assert/strict';
import { test } from 'node:test';
import { narrow, widen } from '../../../src/model/checkpoint/dtype.js';

/** The float32 whose bits are `bits`. */
function float(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

function half(value: number, dtype: 'bfloat16' | 'float16'): number {
  const bytes = narrow(Float32Array.of(value), dtype);
  return bytes[0]! | (bytes[1]! << 8);
}

test('bfloat16 rounds to nearest, ties to even', () => {
  assert.equal(half(1, 'bfloat16'), 0x3f80);
  assert.equal(half(float(0x3f807fff), 'bfloat16'), 0x3f80, 'below the middle');
  assert.equal(half(float(0x3f808000), 'bfloat16'), 0x3f80, 'the middle goes to the even neighbour below');
  assert.equal(half(float(0x3f818000), 'bfloat16'), 0x3f82, 'the middle goes to the even neighbour above');
  assert.equal(half(float(0x3f808001), 'bfloat16'), 0x3f81, 'above the middle');
  assert.equal(half(float(0x7f7fffff), 'bfloat16'), 0x7f80, 'the largest float overflows');
  assert.equal(half(-0, 'bfloat16'), 0x8000);
  assert.equal(half(float(0x7f800001), 'bfloat16'), 0x7fc0, 'a NaN does not become infinity');
});

test('float16 rounds to nearest, ties to even, subnormals included', () => {
  assert.equal(half(1, 'float16'), 0x3c00);
  assert.equal(half(1 + 2 ** -11, 'float16'), 0x3c00, 'tie to even below');
  assert.equal(half(1 + 3 * 2 ** -11, 'float16'), 0x3c02, 'tie to even above');
  assert.equal(half(65504, 'float16'), 0x7bff);
  assert.equal(half(65519.99, 'float16'), 0x7bff);
  assert.equal(half(65520, 'float16'), 0x7c00, 'halfway to 65536 overflows');
  assert.equal(half(2 ** -24, 'float16'), 1, 'the smallest subnormal');
  assert.equal(half(2 ** -25, 'float16'), 0, 'its half ties to zero');
  assert.equal(half(2 ** -25 * 1.001, 'float16'), 1);
  assert.equal(half(-(2 ** -14) * (1 - 2 ** -11), 'float16'), 0x8400, 'rounds up into the normal numbers');
  assert.equal(half(Number.NaN, 'float16') & 0x7fff, 0x7e00);
});

test('every 16-bit number survives being widened and narrowed', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  for (const [dtype, isNan] of [
    ['bfloat16', (bits: number) => (bits & 0x7fff) > 0x7f80],
    ['float16', (bits: number) => (bits & 0x7fff) > 0x7c00],
  ] as const) {
    const floats = new Float32Array(65536);
    widen(new Uint8Array(all.buffer), dtype, floats);
    const back = new Uint16Array(narrow(floats, dtype).slice().buffer);
    for (const [i, bits] of back.entries()) {
      if (isNan(i)) assert.ok(Number.isNaN(floats[i]) && isNan(bits), `${dtype} ${i}`);
      else assert.equal(bits, i, dtype);
    }
  }
});

test('narrowing agrees with the nearest of all representable values', () => {
  // Between two neighbours x < y, any float32 goes to the nearer; checked at the middle and one float32 to each side.
  for (const dtype of ['bfloat16', 'float16'] as const) {
    const last = dtype === 'bfloat16' ? 0x7f7f : 0x7bff;
    const positive = new Float32Array(last + 1);
    widen(new Uint8Array(Uint16Array.from({ length: last + 1 }, (_, i) => i).buffer), dtype, positive);
    for (let i = 0; i < last; i += 7) {
      const middle = (positive[i]! + positive[i + 1]!) / 2;
      if (Math.fround(middle) !== middle) continue;
      assert.equal(half(middle, dtype), i % 2 === 0 ? i : i + 1, `${dtype} tie above ${positive[i]}`);
      const bits = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
      assert.equal(half(float(bits - 1), dtype), i, `${dtype} below the tie`);
      assert.equal(half(float(bits + 1), dtype), i + 1, `${dtype} above the tie`);
    }
  }
});

test('widening reads bytes at any alignment', () => {
  const bytes = new Uint8Array(9);
  bytes.set([0x80, 0x3f, 0x00, 0xc0], 1);
  const floats = new Float32Array(2);
  widen(bytes.subarray(1, 5), 'bfloat16', floats);
  assert.deepEqual([...floats], [1, -2]);
  assert.throws(() => widen(bytes.subarray(0, 3), 'bfloat16', floats), RangeError);
});
