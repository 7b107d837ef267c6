import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { checksumOf, emptyChecksum, extendChecksum, sameChecksum, useCrc32 } from '../../src/util/checksum.js';
import { keyedRandom } from '../../src/util/random.js';

const bytes = Uint8Array.from({ length: 1500 }, (_, i) => (i * 37) ^ (i >> 3));
const sound = checksumOf(bytes);

test('a checksum is the same however the bytes are cut', () => {
  assert.deepEqual(checksumOf('123456789'), { bytes: 9, crc32: 'cbf43926' });
  for (const cut of [0, 1, 7, 1000, 1500]) {
    const first = extendChecksum(emptyChecksum, bytes.subarray(0, cut));
    assert.deepEqual(extendChecksum(first, bytes.subarray(cut)), sound);
  }
});

test('every flipped bit and every burst of up to 32 bits is noticed', () => {
  const damaged = Uint8Array.from(bytes);
  const flip = (bit: number) => {
    damaged[bit >> 3]! ^= 1 << (bit & 7);
  };
  for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
    flip(bit);
    assert.ok(!sameChecksum(checksumOf(damaged), sound), `bit ${bit}`);
    flip(bit);
  }
  const { uniform } = keyedRandom('bursts');
  for (let burst = 0; burst < 2000; burst += 1) {
    const start = Math.floor(uniform() * (8 * bytes.length - 32));
    const bits = [0, ...Array.from({ length: 31 }, (_, i) => i + 1).filter(() => uniform() < 0.5)];
    for (const bit of bits) flip(start + bit);
    assert.ok(!sameChecksum(checksumOf(damaged), sound), `bits ${bits} from ${start}`);
    for (const bit of bits) flip(start + bit);
  }
  assert.deepEqual(checksumOf(damaged), sound);
});

test('a faster function is used for all that follows', (t) => {
  let calls = 0;
  t.after(() => useCrc32(crc32));
  useCrc32((part, before) => {
    calls += 1;
    return crc32(part, before);
  });
  assert.deepEqual(checksumOf(bytes), sound);
  assert.equal(calls, 1);
});
