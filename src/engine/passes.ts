/** @file Rewrites of a traced graph that keep its meaning: matrix products in bfloat16, marking nodes for XLA. */
import { cast } from './emit.js';
import type { Graph, GraphNode, Output } from './graph.js';

const products = new Set(['MatMul', 'BatchMatMulV2', 'Einsum']);

/**
 * Rounds the operands of every matrix product to bfloat16. The product's own result is bfloat16 too, widened at once;
 * the sum inside the product is float32 (oneDNN and cuBLAS both accumulate so). Each operand is cast once.
 *
 * @returns what a tensor of the old graph is now.
 */
export function castProductsToBfloat16(graph: Graph): (output: Output) => Output {
  const nodes = graph.nodes.splice(0);
  const narrow = new Map<string, Output>();
  const replaced = new Map<GraphNode, Output>();
  const current = (output: Output): Output => replaced.get(output.node) ?? output;
  for (const node of nodes) {
    node.inputs.splice(0, node.inputs.length, ...node.inputs.map(current));
    node.control.splice(0, node.control.length, ...node.control.map((before) => replaced.get(before)?.node ?? before));
    const [type] = node.outputs;
    if (!products.has(node.op) || type?.dtype !== 'float32') {
      graph.nodes.push(node);
      continue;
    }
    const operands = node.inputs.map((input) => {
      const key = `${input.node.name}:${input.index}`;
      const operand = narrow.get(key) ?? cast(graph, input, 'bfloat16');
      narrow.set(key, operand);
      return operand;
    });
    const attributes = { ...node.attributes, T: { type: 'bfloat16' } } as const;
    const product = graph.add(node.op, operands, { dtype: 'bfloat16', shape: type.shape }, { attributes });
    replaced.set(node, cast(graph, product, 'float32'));
  }
  return current;
}

/** Asks TensorFlow to cluster the function's nodes for XLA, whatever the process's own XLA flags say. */
export function compileWithXla(graph: Graph): void {
  for (const node of graph.nodes) node.attributes._XlaCompile = { bool: true };
}
