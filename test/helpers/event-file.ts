/**
 * @file Reads TensorBoard's event files as the format is documented, independent of the code that writes them: frames with both
 * checksums, and the message fields of scalars.
 */
import assert from 'node:assert/strict';
import { fields } from './protobuf.js';

export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly version?: string;
  readonly scalars: Record<string, number>;
  /** Tags of values that are no scalars, with the name of their plugin. */
  readonly plugins: Record<string, string>;
}

/** CRC-32C, one bit at a time: the polynomial 0x1EDC6F41, reflected. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

function masked(data: Uint8Array): number {
  const crc = crc32c(data);
  return Number((BigInt((crc >>> 15) | (crc << 17)) + 0xa282ead8n) & 0xffffffffn);
}

export function readEvents(file: Buffer): ReadEvent[] {
  const events: ReadEvent[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    assert.equal(file.readUInt32LE(at + 8), masked(file.subarray(at, at + 8)), 'checksum of the length');
    const data = file.subarray(at + 12, at + 12 + length);
    assert.equal(data.length, length, 'the last record is whole');
    assert.equal(file.readUInt32LE(at + 12 + length), masked(data), 'checksum of the data');
    events.push(readEvent(data));
    at += 16 + length;
  }
  return events;
}

function readEvent(data: Buffer): ReadEvent {
  let event: ReadEvent = { wallTime: 0, step: 0, scalars: {}, plugins: {} };
  for (const { field, value } of fields(data)) {
    if (field === 1) event = { ...event, wallTime: (value as Buffer).readDoubleLE() };
    else if (field === 2) event = { ...event, step: Number(value) };
    else if (field === 3) event = { ...event, version: String(value) };
    else if (field === 5) {
      for (const { value: scalar } of fields(value as Buffer)) {
        const parts = new Map(fields(scalar as Buffer).map((part) => [part.field, part.value]));
        const tag = String(parts.get(1));
        const metadata = parts.get(9) as Buffer | undefined;
        if (metadata === undefined) event.scalars[tag] = (parts.get(2) as Buffer).readFloatLE();
        else event.plugins[tag] = String(fields(fields(metadata)[0]!.value as Buffer)[0]!.value);
      }
    } else assert.fail(`field ${field}`);
  }
  return event;
}
