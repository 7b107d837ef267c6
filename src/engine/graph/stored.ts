/**
 * @file Conversion between state as functions see it and as its variable stores it: float32 may be stored as bfloat16 or float16, or
 * as bytes, each row after its scale (native/math/bytes.h).
 */
import { type GraphDType, halfTypes } from '../dtype.js';
import { cast } from '../lowering/emit.js';
import type { StateSpec, TensorSpec } from '../program.js';
import { type Shape, sizeOf } from '../shape.js';
import { type Graph, type GraphNode, type Output, type OutputType, outputOf } from './graph.js';

/** The native ops between floats `[..., D]` and bytes `[..., D + scaleBytes]`. */
export const byteOps = { quantize: 'TinyzeroQuantize', dequantize: 'TinyzeroDequantize' } as const;

/** Bytes of a row's scale. */
export const scaleBytes = 4;

const withScale = ([...shape]: Shape): Shape => [...shape.slice(0, -1), shape.at(-1)! + scaleBytes];

/** Dtype and shape of a state's variable. */
export function storedType({
  dtype,
  shape,
  stored,
}: StateSpec): OutputType & { readonly dtype: Exclude<GraphDType, 'resource'> } {
  if (stored === 'int8') return { dtype: 'uint8', shape: withScale(shape) };
  return { dtype: stored === undefined ? dtype : halfTypes[stored], shape };
}

/** How memory that a variable keeps is fed: numbers of 2 bytes in pairs, as int32. */
export function fedType({ dtype, shape, stored }: StateSpec): TensorSpec {
  return stored === undefined ? { dtype, shape } : { dtype: 'int32', shape: [sizeOf(shape) / 2] };
}

/** Memory that was fed so, as the variable's dtype and shape; nothing is copied. */
export function asHeld(graph: Graph, fed: Output, shape: Output, spec: StateSpec): Output {
  if (spec.stored === undefined) return fed;
  const { dtype } = storedType(spec);
  const types = { T: { type: fed.dtype }, type: { type: dtype } } as const;
  const halves = graph.add('Bitcast', [fed], { dtype, shape: [...fedType(spec).shape, 2] }, { attributes: types });
  const attributes = { T: { type: dtype }, Tshape: { type: shape.dtype } } as const;
  return graph.add('Reshape', [halves, shape], { dtype, shape: spec.shape }, { attributes });
}

/** Converts `value` from the state's dtype to the variable's. */
export function asStored(graph: Graph, value: Output, spec: StateSpec): Output {
  const type = storedType(spec);
  return spec.stored === 'int8' ? graph.add(byteOps.quantize, [value], type) : cast(graph, value, type.dtype);
}

/** The value of the given dtype and shape that `source` stores. */
export function widen(graph: Graph, source: Output, { dtype, shape }: OutputType): Output {
  return isBytes(source) ? graph.add(byteOps.dequantize, [source], { dtype, shape }) : cast(graph, source, dtype);
}

const isBytes = ({ dtype }: Output) => dtype === 'uint8';

/** The variable's content: as stored (`read`), and in the state's own dtype (`value`). */
export function readStored(
  graph: Graph,
  handle: GraphNode,
  spec: StateSpec,
  control: readonly GraphNode[] = [],
): { read: Output; value: Output } {
  const read = readVariable(graph, handle, storedType(spec), control);
  return { read, value: widen(graph, read, spec) };
}

/** The content of a variable of this dtype and shape. */
export function readVariable(
  graph: Graph,
  handle: GraphNode,
  { dtype, shape }: OutputType,
  control: readonly GraphNode[] = [],
): Output {
  const options = { attributes: { dtype: { type: dtype } }, control };
  return graph.add('ReadVariableOp', [outputOf(handle, 0)], { dtype, shape }, options);
}

/** The bfloat16 tensor that `output` was widened from, if it was. */
export function widenedFrom({ node }: Output): Output | undefined {
  const [source] = node.inputs;
  return node.op === 'Cast' && source?.dtype === 'bfloat16' ? source : undefined;
}

/** The bytes that `output` was widened from, if it was. */
export function bytesOf({ node }: Output): Output | undefined {
  return node.op === byteOps.dequantize ? node.inputs[0] : undefined;
}

/** What `output` was widened from, if it was: bfloat16, float16 or bytes. */
export function storedSource(output: Output): Output | undefined {
  const [source] = output.node.inputs;
  const isHalf = output.node.op === 'Cast' && source?.dtype === 'float16';
  return isHalf ? source : (widenedFrom(output) ?? bytesOf(output));
}

export function copyOf(graph: Graph, value: Output): Output {
  return graph.add('DeepCopy', [value], value, { attributes: { T: { type: value.dtype } } });
}

/**
 * Stores a copy of `value`, which has the variable's dtype. A value converted by {@link asStored} already is a copy. Otherwise
 * the state could share memory with an input (owned by JavaScript), a constant, or another state that is later updated in
 * place. Multiplying by 1 would not prevent this, since TensorFlow simplifies x * 1 to x.
 *
 * @param arrived whether the value comes from another replica, into memory of its own.
 */
export function addStore(
  graph: Graph,
  value: Output,
  handle: GraphNode,
  control: readonly GraphNode[] = [],
  arrived = false,
): GraphNode {
  const isConverted = ['bfloat16', 'float16', 'uint8'].includes(value.dtype);
  const own = arrived || isConverted ? value : copyOf(graph, value);
  const attributes = { dtype: { type: value.dtype } };
  return graph.addNode('AssignVariableOp', [outputOf(handle, 0), own], [], { attributes, control });
}
