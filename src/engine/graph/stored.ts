/** @file Conversion between state as functions see it and as its variable stores it: float32 may be stored as bfloat16. */
import type { GraphDType } from '../dtype.js';
import { cast } from '../lowering/emit.js';
import type { StateSpec } from '../program.js';
import { type Graph, type GraphNode, type Output, type OutputType, outputOf } from './graph.js';

/** The dtype of a state's variable. */
export function storedDtype({ dtype, stored }: StateSpec): GraphDType {
  return stored === 'bf16' ? 'bfloat16' : dtype;
}

/** Converts `value` from the state's dtype to the variable's. */
export function asStored(graph: Graph, value: Output, spec: StateSpec): Output {
  return cast(graph, value, storedDtype(spec));
}

/** The variable's content: as stored (`read`), and in the state's own dtype (`value`). */
export function readStored(
  graph: Graph,
  handle: GraphNode,
  spec: StateSpec,
  control: readonly GraphNode[] = [],
): { read: Output; value: Output } {
  const read = readVariable(graph, handle, { dtype: storedDtype(spec), shape: spec.shape }, control);
  return { read, value: cast(graph, read, spec.dtype) };
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

export function copyOf(graph: Graph, value: Output): Output {
  return graph.add('DeepCopy', [value], value, { attributes: { T: { type: value.dtype } } });
}

/**
 * Stores a copy of `value`, which has the variable's dtype. A value rounded by {@link asStored} already is a copy. Otherwise
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
  const own = arrived || value.dtype === 'bfloat16' ? value : copyOf(graph, value);
  const attributes = { dtype: { type: value.dtype } };
  return graph.addNode('AssignVariableOp', [outputOf(handle, 0), own], [], { attributes, control });
}
