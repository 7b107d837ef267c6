/**
 * @file An ONNX graph and its file. The graph has operators, in the order in which they run, and stored tensors. The file
 * (`onnx.proto3`, IR version 8) contains the tensors; if it would exceed protobuf's limit, they are in files next to it.
 * Tensors are read one after another and are never all in memory. Independent of models.
 */
import { basename } from 'node:path';
import type { Message } from '../../engine/graph/protobuf.js';
import * as proto from '../../engine/graph/protobuf.js';
import { writeLargeFile } from '../../util/large-file.js';
import { packageVersion } from '../../util/machine.js';

/** Element types, by their number in `onnx.proto`. */
export const onnxTypes = { float32: 1, uint8: 2, int64: 7, bool: 9, float16: 10 } as const;
type OnnxType = keyof typeof onnxTypes;

type Attribute = { readonly int: number } | { readonly ints: readonly number[] } | { readonly float: number };

interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A tensor that is stored with the graph. */
interface Initializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Little-endian, row-major; called when the file is written. */
  bytes(): Uint8Array;
}

/** An input or output of the graph. A size given as text is known only when the graph runs. */
interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly nodes: OnnxNode[];
  readonly initializers: Initializer[];
  readonly inputs: OnnxValue[];
  readonly outputs: OnnxValue[];
}

export function emptyGraph(): OnnxGraph {
  return { nodes: [], initializers: [], inputs: [], outputs: [] };
}

/** Adds an operator with one output. @returns the output's name. */
export function apply(
  graph: OnnxGraph,
  op: string,
  inputs: readonly string[],
  attributes: OnnxNode['attributes'] = {},
  output = `t${graph.nodes.length}`,
): string {
  graph.nodes.push({ op, inputs, outputs: [output], attributes });
  return output;
}

/** As {@link apply}, for an operator with `count` outputs. */
export function applyMany(
  graph: OnnxGraph,
  op: string,
  inputs: readonly string[],
  count: number,
  attributes: OnnxNode['attributes'] = {},
): string[] {
  const outputs = Array.from({ length: count }, (_, i) => `t${graph.nodes.length}_${i}`);
  graph.nodes.push({ op, inputs, outputs, attributes });
  return outputs;
}

/** A small tensor of int64; a single number without `shape` is a list of one. */
export function integers(graph: OnnxGraph, values: readonly number[], shape = [values.length]): string {
  const name = `int_${shape.length}_${values.join('_')}`.replaceAll('-', 'm');
  const data = BigInt64Array.from(values, BigInt);
  return constant(graph, { name, type: 'int64', shape, bytes: new Uint8Array(data.buffer) });
}

/** A small tensor of float32. */
export function floats(graph: OnnxGraph, name: string, values: Float32Array, shape = [values.length]): string {
  return constant(graph, { name, type: 'float32', shape, bytes: new Uint8Array(values.slice().buffer) });
}

/** A single float32 number. */
export function scalar(graph: OnnxGraph, value: number): string {
  return floats(graph, `float_${value}`, Float32Array.of(value), []);
}

/** A tensor whose data is in memory; an existing one of that name is reused. @returns the name. */
export function constant(
  graph: OnnxGraph,
  { bytes, ...rest }: Omit<Initializer, 'bytes' | 'byteLength'> & { readonly bytes: Uint8Array },
): string {
  return store(graph, { ...rest, byteLength: bytes.byteLength, bytes: () => bytes });
}

/** Adds a tensor unless one of that name exists. @returns the name. */
export function store(graph: OnnxGraph, initializer: Initializer): string {
  if (!graph.initializers.some(({ name }) => name === initializer.name)) graph.initializers.push(initializer);
  return initializer.name;
}

const irVersion = 8;
/** The operators of ONNX 1.12. */
const opset = 17;
/** Protobuf's limit is 2^31 - 1, which readers apply to the whole file; browsers apply it to an ArrayBuffer. */
const maxBytes = 2_000_000_000;

interface OnnxFiles {
  /** Names of the files with the tensors' data; empty if it is inside. */
  readonly dataFiles: readonly string[];
}

/** @throws the system error of the failing call; an older file is then unchanged. */
export async function writeOnnx(path: string, graph: OnnxGraph, limit = maxBytes): Promise<OnnxFiles> {
  const total = graph.initializers.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (total < limit) {
    await writeModel(path, graph, (tensor) => ({ parts: [tensor], fields: [] }));
    return { dataFiles: [] };
  }
  const dataFiles: string[] = [];
  const places = new Map<Initializer, External>();
  for (const chunk of chunksOf(graph.initializers.filter(isLarge), limit)) {
    const location = `${basename(path)}_data${dataFiles.length === 0 ? '' : `_${dataFiles.length}`}`;
    let offset = 0;
    const bytes = chunk.reduce((sum, { byteLength }) => sum + byteLength, 0);
    await writeLargeFile(`${path.slice(0, -basename(path).length)}${location}`, bytes, async (append) => {
      for (const tensor of chunk) {
        places.set(tensor, { location, offset, length: tensor.byteLength });
        await append(checkedBytes(tensor));
        offset += tensor.byteLength;
      }
    });
    dataFiles.push(location);
  }
  await writeModel(path, graph, (tensor) => {
    const place = places.get(tensor);
    return place === undefined ? { parts: [tensor], fields: [] } : { parts: [], fields: Object.entries(place) };
  });
  return { dataFiles };
}

interface External {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Shapes and other small tensors stay in the file: readers need them to build the graph. */
const isLarge = ({ byteLength }: Initializer) => byteLength > 1024;

function chunksOf(tensors: readonly Initializer[], limit: number): Initializer[][] {
  const chunks: Initializer[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    if (chunks.length === 0 || tensor.byteLength > room) {
      chunks.push([]);
      room = limit;
    }
    chunks.at(-1)!.push(tensor);
    room -= tensor.byteLength;
  }
  return chunks;
}

/** A tensor's data, or the fields that locate it. */
type Placed = (tensor: Initializer) => {
  readonly parts: readonly Initializer[];
  readonly fields: readonly (readonly [string, string | number])[];
};

async function writeModel(path: string, graph: OnnxGraph, place: Placed): Promise<void> {
  // The graph is the last field of the model and the tensors are the last of the graph, so that their data can follow.
  const model = proto.message();
  proto.integer(model, 1, irVersion);
  proto.string(model, 2, 'tinyzero');
  proto.string(model, 3, packageVersion());
  const operators = proto.message();
  proto.string(operators, 1, '');
  proto.integer(operators, 2, opset);
  proto.nested(model, 8, operators);

  const body = proto.message();
  proto.string(body, 2, 'model');
  for (const [index, node] of graph.nodes.entries()) proto.nested(body, 1, encodeNode(node, `n${index}`));
  for (const value of graph.inputs) proto.nested(body, 11, encodeValue(value));
  for (const value of graph.outputs) proto.nested(body, 12, encodeValue(value));
  const tensors = graph.initializers.map((tensor) => {
    const { parts, fields } = place(tensor);
    const header = encodeTensor(tensor, fields);
    const data = parts.length === 0 ? proto.message() : prefix(9, tensor.byteLength);
    const dataBytes = parts.length === 0 ? 0 : tensor.byteLength;
    const whole = prefix(5, header.size + data.size + dataBytes);
    return { whole, header, data, parts, size: whole.size + header.size + data.size + dataBytes };
  });
  const length = body.size + tensors.reduce((sum, { size }) => sum + size, 0);
  const head = [model, prefix(7, length), body];
  const bytes = head.reduce((sum, { size }) => sum + size, length - body.size);
  await writeLargeFile(path, bytes, async (append) => {
    for (const part of head) await append(proto.toBytes(part));
    for (const { whole, header, data, parts } of tensors) {
      for (const part of [whole, header, data]) await append(proto.toBytes(part));
      for (const tensor of parts) await append(checkedBytes(tensor));
    }
  });
}

function checkedBytes(tensor: Initializer): Uint8Array {
  const bytes = tensor.bytes();
  if (bytes.byteLength === tensor.byteLength) return bytes;
  throw new Error(`${tensor.name} has ${bytes.byteLength} bytes, not ${tensor.byteLength}`);
}

/** Tag and length of a field whose content follows. */
function prefix(field: number, length: number): Message {
  const target = proto.message();
  proto.lengthPrefix(target, field, length);
  return target;
}

function encodeNode({ op, inputs, outputs, attributes }: OnnxNode, name: string): Message {
  const node = proto.message();
  for (const input of inputs) proto.string(node, 1, input);
  for (const output of outputs) proto.string(node, 2, output);
  proto.string(node, 3, name);
  proto.string(node, 4, op);
  for (const [key, value] of Object.entries(attributes)) proto.nested(node, 5, encodeAttribute(key, value));
  return node;
}

function encodeAttribute(name: string, value: Attribute): Message {
  const attribute = proto.message();
  proto.string(attribute, 1, name);
  if ('float' in value) {
    proto.float(attribute, 2, value.float);
    proto.integer(attribute, 20, 1);
  } else if ('int' in value) {
    proto.integer(attribute, 3, value.int);
    proto.integer(attribute, 20, 2);
  } else {
    for (const each of value.ints) proto.integer(attribute, 8, each);
    proto.integer(attribute, 20, 7);
  }
  return attribute;
}

function encodeTensor({ name, type, shape }: Initializer, external: readonly (readonly [string, string | number])[]) {
  const tensor = proto.message();
  for (const size of shape) proto.integer(tensor, 1, size);
  proto.integer(tensor, 2, onnxTypes[type]);
  proto.string(tensor, 8, name);
  for (const [key, value] of external) {
    const entry = proto.message();
    proto.string(entry, 1, key);
    proto.string(entry, 2, String(value));
    proto.nested(tensor, 13, entry);
  }
  if (external.length > 0) proto.integer(tensor, 14, 1);
  return tensor;
}

function encodeValue({ name, type, shape }: OnnxValue): Message {
  const sizes = proto.message();
  for (const size of shape) {
    const dimension = proto.message();
    if (typeof size === 'number') proto.integer(dimension, 1, size);
    else proto.string(dimension, 2, size);
    proto.nested(sizes, 1, dimension);
  }
  const tensor = proto.message();
  proto.integer(tensor, 1, onnxTypes[type]);
  proto.nested(tensor, 2, sizes);
  const typed = proto.message();
  proto.nested(typed, 1, tensor);
  const value = proto.message();
  proto.string(value, 1, name);
  proto.nested(value, 2, typed);
  return value;
}
