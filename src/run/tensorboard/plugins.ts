/**
 * @file Summary values of TensorBoard's plugins for hyperparameters (tensorboard/plugins/hparams/plugin_data.proto), texts and
 * histograms (tensorboard/plugins/histogram/summary_v2.py).
 */
import { bytes, double, integer, type Message, message, nested, string, toBytes } from '../../engine/graph/protobuf.js';

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

/** A google.protobuf.Value; undefined for what has no place in it. */
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
