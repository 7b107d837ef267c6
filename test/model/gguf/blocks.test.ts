/** The block formats, number by number: what a few bytes mean, and what a few numbers become. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dequantize, formatName, quantize, type TensorFormat, tensorFormats } from '../../../src/model/gguf/blocks.js';

function widened(bytes: readonly number[], format: TensorFormat): number[] {
  const values = new Float32Array(32);
  dequantize(Uint8Array.from(bytes), format, values);
  return [...values];
}

/** 0.5 and -2 as float16, little-endian. */
const half = [0x00, 0x38];
const minusTwo = [0x00, 0xc0];
/** Low halves 0..15, high halves 15..0. */
const nibbles = Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));

test('q8_0: a float16 scale times signed bytes', () => {
  const bytes = Array.from({ length: 32 }, (_, i) => (i * 8 - 128) & 0xff);
  const expected = Array.from({ length: 32 }, (_, i) => (i * 8 - 128) / 2);
  assert.deepEqual(widened([...half, ...bytes], tensorFormats.q8_0), expected);
});

test('q4_0: low halves first, then high halves, eight below', () => {
  const expected = [...nibbles.keys()].map((i) => (i - 8) / 2).concat([...nibbles.keys()].map((i) => (7 - i) / 2));
  assert.deepEqual(widened([...half, ...nibbles], tensorFormats.q4_0), expected);
});

test('q4_1: scale and smallest value', () => {
  const expected = [...nibbles.keys()].map((i) => i / 2 - 2).concat([...nibbles.keys()].map((i) => (15 - i) / 2 - 2));
  assert.deepEqual(widened([...half, ...minusTwo, ...nibbles], tensorFormats.q4_1), expected);
});

test('q8_0 comes back within half a step of each block; halves round away from zero', () => {
  // Block 1 has the scale 1, block 2 is all zeros.
  const values = new Float32Array(64);
  values.set([127, 0.5, -0.5, 1.49, -126.5, 3]);
  const bytes = quantize(values, tensorFormats.q8_0);
  assert.equal(bytes.length, 68);
  const back = new Float32Array(64);
  dequantize(bytes, tensorFormats.q8_0, back);
  assert.deepEqual([...back.subarray(0, 6)], [127, 1, -1, 1, -127, 3]);
  assert.ok(back.subarray(6).every((value) => value === 0));
});

test('a format that is not read has a name', () => {
  assert.equal(formatName(14), 'q6_K');
  assert.equal(formatName(99), 'type 99');
});
