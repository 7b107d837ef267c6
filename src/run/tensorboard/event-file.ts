/**
 * @file Writes TensorBoard event files: TFRecords (tensorflow/core/lib/io/record_writer.h) that each hold an Event message
 * (tensorflow/core/util/event.proto) with scalars or with values of the plugins for hyperparameters
 * (tensorboard/plugins/hparams/plugin_data.proto), texts and histograms (tensorboard/plugins/histogram/summary_v2.py).
 */
import crc32c from 'crc-32/crc32c.js';
import {
  bytes,
  double,
  float,
  integer,
  type Message,
  message,
  nested,
  string,
  toBytes,
} from '../../engine/graph/protobuf.js';

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

/** Types of tensors (tensorflow/core/framework/types.proto). */
const dataTypes = { float: 1, double: 2, string: 7 } as const;
const tensorData = 2; // DATA_CLASS_TENSOR

/** Options of the run, shown and compared under HParams. `startTime`: seconds since 1970. */
export function hparamsValue(options: Readonly<Record<string, unknown>>, startTime: number): Message {
  const session = message();
  for (const [name, value] of Object.entries(options)) {
    const known = protobufValue(value);
    if (known === undefined) continue;
    const entry = message();
    string(entry, 1, name);
    nested(entry, 2, known);
    nested(session, 1, entry);
  }
  double(session, 5, startTime);
  return hparamsData('_hparams_/session_start_info', 3, session);
}

/** The run is finished. */
export function endValue(endTime: number): Message {
  const session = message();
  integer(session, 1, 1); // STATUS_SUCCESS
  double(session, 2, endTime);
  return hparamsData('_hparams_/session_end_info', 4, session);
}

function hparamsData(tag: string, field: number, content: Message): Message {
  const data = message();
  integer(data, 1, 0); // version
  nested(data, field, content);
  const tensor = message();
  integer(tensor, 1, dataTypes.float);
  nested(tensor, 2, message());
  return pluginValue(tag, 'hparams', tensor, { content: toBytes(data) });
}

/** A google.protobuf.Value; undefined for values that it cannot represent. */
function protobufValue(value: unknown): Message | undefined {
  const result = message();
  if (typeof value === 'number') double(result, 2, value);
  else if (typeof value === 'string') string(result, 3, value);
  else if (typeof value === 'boolean') integer(result, 4, Number(value));
  else return undefined;
  return result;
}

/** Markdown. */
export function textValue(tag: string, markdown: string): Message {
  const tensor = message();
  integer(tensor, 1, dataTypes.string);
  nested(tensor, 2, shapeOf(1));
  string(tensor, 8, markdown);
  return pluginValue(tag, 'text', tensor, { dataClass: tensorData });
}

/** `counts[k]` times the value k. */
export function histogramValue(tag: string, counts: readonly number[]): Message {
  const buckets = counts.flatMap((count, k) => [k - 0.5, k + 0.5, count]);
  const tensor = message();
  integer(tensor, 1, dataTypes.double);
  nested(tensor, 2, shapeOf(counts.length, 3));
  bytes(tensor, 4, new Uint8Array(Float64Array.from(buckets).buffer));
  return pluginValue(tag, 'histograms', tensor, { dataClass: tensorData });
}

function shapeOf(...sizes: readonly number[]): Message {
  const shape = message();
  for (const size of sizes) {
    const dimension = message();
    integer(dimension, 1, size);
    nested(shape, 2, dimension);
  }
  return shape;
}

function pluginValue(
  tag: string,
  plugin: string,
  tensor: Message,
  { content, dataClass }: { readonly content?: Uint8Array; readonly dataClass?: number },
): Message {
  const data = message();
  string(data, 1, plugin);
  if (content !== undefined) bytes(data, 2, content);
  const metadata = message();
  nested(metadata, 1, data);
  if (dataClass !== undefined) integer(metadata, 4, dataClass);
  const value = message();
  string(value, 1, tag);
  nested(value, 8, tensor);
  nested(value, 9, metadata);
  return value;
}
