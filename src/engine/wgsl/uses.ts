/** @file Finds which nodes use each value of a function, and which states its nodes read and change in place. */
import type { GraphNode, Output } from '../graph/graph.js';
import { nativeOps } from '../lowering/native-ops.js';
import { sizeOf } from '../shape.js';
import { constantOf, loops, Unsupported } from './expressions.js';
import { isHalf, keyOf, type Place } from './kernel.js';
import { kernels } from './kernels/fused.js';

const viewOps = new Set(['Reshape', 'Identity', 'CheckNumerics', 'StopGradient']);

/** Whether a node's result is its first input, in another shape or later. Kernels compute values of 2 bytes as f32. */
export const isView = ({ op, inputs: [first], outputs: [result] }: GraphNode): boolean =>
  viewOps.has(op) || (op === 'Cast' && isHalf(first!.dtype) && result!.dtype === 'float32');

/** Follows views to the output that holds the value. */
export function source(output: Output): Output {
  let value = output;
  while (isView(value.node)) value = value.node.inputs[0]!;
  return value;
}

export interface Use {
  count: number;
  /** Elements of the results that it is an operand of. */
  readonly sizes: Set<number>;
  /** Whether all its users are expressions. */
  asOperand: boolean;
  byLoop: boolean;
}

export function countUses(order: readonly GraphNode[], outputs: readonly Output[]) {
  const uses = new Map<string, Use>();
  const note = (output: Output, user?: GraphNode) => {
    const key = keyOf(source(output));
    const use = uses.get(key) ?? { count: 0, sizes: new Set<number>(), asOperand: true, byLoop: false };
    uses.set(key, use);
    use.count += 1;
    if (user === undefined || kernels[user.op] !== undefined) {
      use.asOperand = false;
      return;
    }
    use.sizes.add(
      ['InplaceUpdate', 'AssignVariableOp', 'AssignAddVariableOp'].includes(user.op)
        ? sizeOf(output.shape)
        : sizeOf(user.outputs[0]?.shape ?? []),
    );
    use.byLoop ||= loops.has(user.op);
  };
  for (const output of outputs) note(output);
  for (const node of order) {
    if (isView(node) && node.op !== 'CheckNumerics') continue;
    const isKept = ['CheckNumerics', nativeOps.sumOfSquares, nativeOps.adamW].includes(node.op);
    for (const input of node.inputs) note(input, isKept ? undefined : node);
  }
  return uses;
}

/** Most operations of an inlined value, and most over all users of a value that each of them computes again. */
const [maxInlined, maxRepeated] = [24, 6];

/** Operations of a result of `node` that is computed where it is used; undefined if it should be in memory. */
export function inliningCost(
  node: GraphNode,
  size: number,
  use: Use,
  context: {
    /** Operations of the values that are inlined. */
    readonly inlined: ReadonlyMap<string, number>;
    /** Handles of states that the function writes. */
    readonly written: ReadonlySet<GraphNode>;
    /** Whether `node` is computed in tiles, or loops over its operands; and how many of its results are used. */
    readonly isTiled: boolean;
    readonly isLoop: boolean;
    readonly results: number;
  },
): number | undefined {
  const { inlined, written, isTiled, isLoop, results } = context;
  // A kernel of tiles is not repeated for the sake of cheap operations after it.
  let cost = isTiled ? maxRepeated + 1 : 1;
  for (const input of node.inputs) {
    const value = source(input);
    cost += inlined.get(keyOf(value)) ?? 0;
    if (value.node.op === 'ReadVariableOp' && written.has(value.node.inputs[0]!.node)) return undefined;
    if (inPlaceHandles(value.node).length > 0) return undefined;
  }
  if (!use.asOperand || cost > maxInlined || (isLoop && use.byLoop)) return undefined;
  if (use.count > 1) return cost * use.count <= maxRepeated && !isLoop ? cost : undefined;
  const isHeavy = isLoop || cost > maxRepeated;
  const sameSize = [...use.sizes].every((each) => each === size);
  return !isHeavy || (sameSize && results === 1) ? cost : undefined;
}

/** The handles of the states that a node changes in place. */
function inPlaceHandles(node: GraphNode): GraphNode[] {
  const count = node.op === 'InplaceUpdate' ? 1 : node.op === nativeOps.adamW ? 3 : 0;
  if (node.op === 'AssignAddVariableOp') return [node.inputs[0]!.node];
  return node.inputs.slice(0, count).flatMap((input) => {
    let { node: from } = input;
    while (from.op === 'Reshape') from = from.inputs[0]!.node;
    return from.op === 'ReadVariableOp' ? [from.inputs[0]!.node] : [];
  });
}

/** The handles of the states that the nodes write. */
export function writtenHandles(order: readonly GraphNode[]): Set<GraphNode> {
  const assigned = order.filter(({ op }) => op === 'AssignVariableOp').map(({ inputs }) => inputs[0]!.node);
  return new Set([...order.flatMap(inPlaceHandles), ...assigned]);
}

/** State tensors in their buffers, by the node of their handle. */
export type StatePlaces = ReadonlyMap<GraphNode, Place>;

export function statePlace(states: StatePlaces, output: Output): Place {
  const { node } = source(output);
  const place = node.op === 'ReadVariableOp' ? states.get(node.inputs[0]!.node) : undefined;
  if (place === undefined) throw new Error(`${node.name} is not a state`);
  if (place.packed) throw new Unsupported('an update in place of a state in 2 bytes');
  return place;
}

/** The only value of a uniform constant. */
export function uniform(output: Output): number | undefined {
  const { op } = output.node;
  if (op === 'ZerosLike') return 0;
  if (op === 'OnesLike') return 1;
  if (op !== 'Const') return undefined;
  const { data, shape } = constantOf(output);
  return data.length === 1 || sizeOf(shape) === 1 ? data[0] : undefined;
}

/** Values as the card stores them. */
export function wordsOf(data: Float32Array | Int32Array | Uint8Array): number[] {
  if (data instanceof Uint8Array) return [...data];
  return [...new Uint32Array(data.buffer, data.byteOffset, data.length)];
}
