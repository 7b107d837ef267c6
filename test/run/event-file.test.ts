import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventRecord, fileHeader, type SummaryEvent } from '../../src/run/tensorboard/event-file.js';
import { crc32c, readEvents } from '../helpers/event-file.js';

test('the reader of these tests computes the checksums of RFC 3720, B.4', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
});

test('a file header and events come back as they were written', () => {
  const events: SummaryEvent[] = [
    { wallTime: 1.7e9 + 0.25, step: 0, scalars: { 'train/reward': 0.5 } },
    { wallTime: 1.7e9 + 1.5, step: 300, scalars: { a: -1.5, b: 0, ü: 1e-7 } },
    { wallTime: 1.7e9 + 2, step: 2 ** 40, scalars: {} },
  ];
  const file = Buffer.concat([fileHeader(1.7e9), ...events.map(eventRecord)]);
  const [header, ...read] = readEvents(file);
  assert.deepEqual(header, { wallTime: 1.7e9, step: 0, version: 'brain.Event:2', scalars: {}, plugins: {} });
  const single = (scalars: SummaryEvent['scalars'] = {}) =>
    Object.fromEntries(Object.entries(scalars).map(([tag, value]) => [tag, Math.fround(value)]));
  assert.deepEqual(
    read,
    events.map((event) => ({ ...event, scalars: single(event.scalars), plugins: {} })),
  );
});

test('the first record, byte by byte', () => {
  // 24 bytes: field 1 a double, field 3 a text of 13 bytes.
  const header = Buffer.from(fileHeader(0));
  assert.equal(header.length, 12 + 24 + 4);
  assert.equal(header.toString('latin1', 12, 36), `\x09${'\0'.repeat(8)}\x1a\x0dbrain.Event:2`);
  // What TensorFlow's own writer puts there for a length of 24.
  assert.equal(header.toString('hex', 0, 12), '1800000000000000a37f4b22');
});
