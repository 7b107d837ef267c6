/**
 * @file An ONNX graph under construction: operators in the order in which they run, and stored tensors. Knows the operators'
 * names and attributes, and nothing of models.
 */

/** Element types, by their number in `onnx.proto`. */
export const onnxTypes = { float32: 1, uint8: 2, int64: 7, bool: 9, float16: 10 } as const;
type OnnxType = keyof typeof onnxTypes;

export type Attribute = { readonly int: number } | { readonly ints: readonly number[] } | { readonly float: number };

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A tensor that is stored with the graph. */
export interface Initializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Little-endian, row-major; called when the file is written. */
  bytes(): Uint8Array;
}

/** An input or output of the graph. A size given as text is known only when the graph runs. */
export interface OnnxValue {
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
