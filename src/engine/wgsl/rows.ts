/** @file Shared parts of kernels that work on rows: loops divided among the lanes of a workgroup, and sums over them. */
import type { GraphNode } from '../graph/graph.js';
import { type Dispatch, type KernelWriter, literal, type Place, type Values } from './kernel.js';

/** What a kernel gets to write itself. */
export interface KernelContext {
  readonly values: Values;
  /** Threads per row: 1 on a processor that pretends to be a card, where barriers are slow. */
  readonly threads: number;
  /** The place of result `index` of `node`. */
  result(node: GraphNode, index: number): Place;
  /** Memory for `size` elements that only this node's kernels use. */
  scratch(size: number): Place;
}

export type Kernel = (context: KernelContext, node: GraphNode) => Dispatch[];

export const float = (value: number) => literal('float32', value);

/** Statements that leave the sum (or maximum) of every lane's `name` in `name`. */
export function combined(writer: KernelWriter, threads: number, name: string, how: 'sum' | 'max'): string {
  if (threads === 1) return '';
  writer.share(`lanes: array<f32, ${threads}>`);
  const next = how === 'sum' ? 'lanes[lane] + lanes[lane + half]' : 'max(lanes[lane], lanes[lane + half])';
  return `lanes[lane] = ${name}; workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) { if (lane < half) { lanes[lane] = ${next}; } workgroupBarrier(); }
  ${name} = lanes[0]; workgroupBarrier();`;
}

/** A loop over a row's elements, shared by the lanes. */
export const overRow = (count: number, threads: number, body: string) =>
  `for (var k = lane; k < ${count}u; k += ${threads}u) { ${body} }`;
