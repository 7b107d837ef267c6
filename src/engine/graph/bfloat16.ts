/** @file Rewrites a traced graph so that its matrix products round their operands to bfloat16. */
import { cast } from '../lowering/emit.js';
import { nativeOps } from '../lowering/native-ops.js';
import { type Attribute, type Graph, type GraphNode, type Output, outputOf } from './graph.js';
import { widenedFrom } from './stored.js';

const products = new Set(['MatMul', 'BatchMatMulV2', 'Einsum']);

/** Ops that select parts of their first input, with the attribute of its type. They are applied before widening. */
const picks: Readonly<Record<string, string>> = { GatherV2: 'Tparams', SplitV: 'T' };

/**
 * Rounds the operands of every matrix product to bfloat16; sums are float32. On a device that multiplies bfloat16,
 * state stored as bfloat16 is used without conversion, and the product's result is rounded to the nearest bfloat16 (by oneDNN
 * or cuBLAS), then widened. Elsewhere the rounded operands are widened first and the result stays float32: TensorFlow's
 * own bfloat16 product truncates its result there, which biases every value towards 0. Each operand is cast once.
 *
 * @returns a function from tensors of the old graph to those of the new one.
 */
export function castProductsToBfloat16(graph: Graph): (output: Output) => Output {
  const nodes = graph.nodes.splice(0);
  const narrowed = new Map<string, Output>();
  const rounded = new Map<string, Output>();
  /** The new outputs of replaced nodes, by output number. */
  const replaced = new Map<GraphNode, readonly Output[]>();
  const current = (output: Output): Output => replaced.get(output.node)?.[output.index] ?? output;
  const widen = (outputs: readonly Output[]) => outputs.map((output) => cast(graph, output, 'float32'));
  const once = (cache: Map<string, Output>, input: Output, make: () => Output): Output => {
    const key = `${input.node.name}:${input.index}`;
    const operand = cache.get(key) ?? make();
    cache.set(key, operand);
    return operand;
  };
  const narrow = (input: Output) => once(narrowed, input, () => widenedFrom(input) ?? cast(graph, input, 'bfloat16'));
  const round = (input: Output) =>
    widenedFrom(input) === undefined ? once(rounded, input, () => cast(graph, narrow(input), 'float32')) : input;
  for (const node of nodes) {
    node.inputs.splice(0, node.inputs.length, ...node.inputs.map(current));
    node.control.splice(
      0,
      node.control.length,
      ...node.control.map((before) => replaced.get(before)?.[0]?.node ?? before),
    );
    const [type] = node.outputs;
    const typeName = picks[node.op];
    const whole = typeName === undefined ? undefined : widenedFrom(node.inputs[0]!);
    if (node.op === nativeOps.linear && node.inputs[1]!.dtype === 'float32') {
      // It rounds its rows itself, and sums in float32. With bytes, it rounds nothing.
      node.inputs[1] = narrow(node.inputs[1]!);
      node.attributes.W = { type: 'bfloat16' };
      graph.nodes.push(node);
    } else if (node.op === nativeOps.product) {
      // It rounds operands of float32 itself, and sums in float32.
      const operands = node.inputs.map((input) => widenedFrom(input) ?? input) as [Output, Output];
      node.inputs.splice(0, 2, ...operands);
      const [Ta, Tb] = operands.map(({ dtype }) => ({ type: dtype })) as [Attribute, Attribute];
      Object.assign(node.attributes, { Ta, Tb, round: { bool: true } });
      graph.nodes.push(node);
    } else if (whole !== undefined) {
      const attributes = { ...node.attributes, [typeName as string]: { type: 'bfloat16' } } as const;
      const types = node.outputs.map(({ shape }) => ({ dtype: 'bfloat16', shape }) as const);
      const part = graph.addNode(node.op, [whole, ...node.inputs.slice(1)], types, { attributes });
      replaced.set(node, widen(types.map((_, index) => outputOf(part, index))));
    } else if (products.has(node.op) && type?.dtype === 'float32' && !graph.products.multipliesBfloat16) {
      node.inputs.splice(0, node.inputs.length, ...node.inputs.map(round));
      graph.nodes.push(node);
    } else if (products.has(node.op) && type?.dtype === 'float32') {
      const attributes = { ...node.attributes, T: { type: 'bfloat16' } } as const;
      const product = graph.add(
        node.op,
        node.inputs.map(narrow),
        { dtype: 'bfloat16', shape: type.shape },
        { attributes },
      );
      replaced.set(node, widen([product]));
    } else {
      graph.nodes.push(node);
    }
  }
  return current;
}
