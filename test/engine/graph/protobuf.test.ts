/** Wire bytes against values worked by hand from protobuf.dev/programming-guides/encoding. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as proto from '../../../src/engine/graph/protobuf.js';

function bytesOf(write: (message: proto.Message) => void): string {
  const message = proto.message();
  write(message);
  const bytes = proto.toBytes(message);
  assert.equal(bytes.byteLength, message.size);
  return Buffer.from(bytes).toString('hex');
}

const integers: [value: number, varint: string][] = [
  [0, '00'],
  [1, '01'],
  [127, '7f'],
  // 128 = 1 << 7: low seven bits 0 with the continuation bit, then 1.
  [128, '8001'],
  // The guide's example: 150 = 0b1_0010110.
  [150, '9601'],
  [16383, 'ff7f'],
  [16384, '808001'],
  [2 ** 31, '8080808008'],
  [Number.MAX_SAFE_INTEGER, 'ffffffffffffff0f'],
  // Two's complement of 64 bits: nine groups of ones and the last bit.
  [-1, 'ffffffffffffffffff01'],
  [-2, 'feffffffffffffffff01'],
  [-128, '80ffffffffffffffff01'],
];
for (const [value, varint] of integers) {
  test(`integer ${value}`, () => {
    // Field 1, wire type 0: tag 0x08.
    assert.equal(
      bytesOf((message) => proto.integer(message, 1, value)),
      `08${varint}`,
    );
  });
}

test('a field number above 15 takes a tag of two bytes', () => {
  // 16 << 3 = 128.
  assert.equal(
    bytesOf((message) => proto.integer(message, 16, 1)),
    '800101',
  );
});

test('strings are UTF-8 with their length in bytes', () => {
  // The guide's example, field 2 "testing"; and two bytes for one letter.
  assert.equal(
    bytesOf((message) => proto.string(message, 2, 'testing')),
    '120774657374696e67',
  );
  assert.equal(
    bytesOf((message) => proto.string(message, 2, 'π')),
    '1202cf80',
  );
  assert.equal(
    bytesOf((message) => proto.string(message, 2, '')),
    '1200',
  );
});

test('floats are little-endian', () => {
  // 1.0 is 0x3f800000, tag 5 << 3 | 5 = 0x2d; -0 keeps its sign.
  assert.equal(
    bytesOf((message) => proto.float(message, 5, 1)),
    '2d0000803f',
  );
  assert.equal(
    bytesOf((message) => proto.float(message, 5, -0)),
    '2d00000080',
  );
});

test('packed integers are one field', () => {
  // The guide's example: field 6, 3, 270 and 86942.
  assert.equal(
    bytesOf((message) => proto.packedIntegers(message, 6, [3, 270, 86942])),
    '3206038e029ea705',
  );
  assert.equal(
    bytesOf((message) => proto.packedIntegers(message, 6, [-1])),
    '320affffffffffffffffff01',
  );
  assert.equal(
    bytesOf((message) => proto.packedIntegers(message, 6, [])),
    '3200',
  );
});

test('nested messages carry their length at any depth and size', () => {
  // The guide's example: field 3 with field 1 = 150 inside.
  const inner = proto.message();
  proto.integer(inner, 1, 150);
  assert.equal(
    bytesOf((message) => proto.nested(message, 3, inner)),
    '1a03089601',
  );
  const long = proto.message();
  proto.bytes(long, 1, new Uint8Array(300));
  const middle = proto.message();
  proto.nested(middle, 1, long);
  // 300 bytes + tag + two bytes of length = 303 = 0xaf 0x02; with the tag of `long` and two bytes 306 = 0xb2 0x02.
  assert.match(
    bytesOf((message) => proto.nested(message, 1, middle)),
    /^0ab2020aaf020aac02(00){300}$/,
  );
});

test('numbers that an integer field cannot hold exactly are rejected', () => {
  for (const value of [0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => bytesOf((message) => proto.integer(message, 1, value)), /is not a safe integer/);
  }
});
