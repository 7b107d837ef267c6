/**
 * @file Writes TensorBoard event files: TFRecords (tensorflow/core/lib/io/record_writer.h) that each hold an Event message
 * (tensorflow/core/util/event.proto) with scalars and with what plugins.ts makes.
 */
import crc32c from 'crc-32/crc32c.js';
import { double, float, integer, type Message, message, nested, string, toBytes } from '../../engine/graph/protobuf.js';

export interface SummaryEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly scalars?: Readonly<Record<string, number>>;
  /** Summary.Value messages of plugins. */
  readonly values?: readonly Message[];
}

/** The first record of a file. */
export function fileHeader(wallTime: number): Uint8Array {
  const event = message();
  double(event, 1, wallTime);
  string(event, 3, 'brain.Event:2');
  return frame(toBytes(event));
}

export function eventRecord({ wallTime, step, scalars = {}, values = [] }: SummaryEvent): Uint8Array {
  const summary = message();
  for (const [tag, value] of Object.entries(scalars)) nested(summary, 1, scalarValue(tag, value));
  for (const value of values) nested(summary, 1, value);
  const event = message();
  double(event, 1, wallTime);
  integer(event, 2, step);
  nested(event, 5, summary);
  return frame(toBytes(event));
}

function scalarValue(tag: string, value: number): Message {
  const result = message();
  string(result, 1, tag);
  float(result, 2, value);
  return result;
}

/** Length (uint64), its checksum, the data, its checksum; all little-endian. */
function frame(data: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.byteLength));
  return Buffer.concat([length, checksum(length), data, checksum(data)]);
}

/** CRC-32C, masked as TFRecord requires, so that data which contains checksums can itself be checksummed. */
function checksum(data: Uint8Array): Buffer {
  const crc = crc32c.buf(data) >>> 0;
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const result = Buffer.alloc(4);
  result.writeUInt32LE(masked);
  return result;
}
