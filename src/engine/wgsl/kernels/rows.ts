/** @file Shared parts of kernels that work on rows: loops divided among the lanes of a workgroup, and sums over them. */
import type { GraphNode } from '../../graph/graph.js';
import { sizeOf } from '../../shape.js';
import { reductionOf } from '../expressions.js';
import { type Dispatch, KernelWriter, literal, maxSlots, type Place, type Values } from '../kernel.js';
import type { Tuning } from '../tuning.js';

/** What a kernel may use while it is written. */
export interface KernelContext {
  readonly values: Values;
  /** Threads per row: 1 on a software renderer, where barriers are slow. */
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

/** A kernel that sums `term` (of `row` and `column`) over all rows, then runs `store` (of `column` and `sum`). */
export function columnSums(
  writer: KernelWriter,
  { rows, columns, threads }: { readonly rows: number; readonly columns: number; readonly threads: number },
  term: string,
  store: string,
): Dispatch {
  // This many neighbouring threads read neighbouring columns; groups of them divide the rows.
  const width = 16;
  if (threads < 2 * width) {
    const all = `for (var row = 0u; row < ${rows}u; row++) { sum += ${term}; }`;
    return writer.each(columns, `let column = i; var sum = 0f; ${all} ${store}`);
  }
  const slices = threads / width;
  writer.share(`lanes: array<f32, ${threads}>`);
  const main = `let column = tile * ${width}u + local.x % ${width}u; let slice = local.x / ${width}u; var sum = 0f;
  if (column < ${columns}u) { for (var row = slice; row < ${rows}u; row += ${slices}u) { sum += ${term}; } }
  lanes[local.x] = sum; workgroupBarrier();
  for (var half = ${slices / 2}u; half > 0u; half /= 2u) {
    if (slice < half) { lanes[local.x] += lanes[local.x + half * ${width}u]; } workgroupBarrier(); }
  if (slice == 0u && column < ${columns}u) { sum = lanes[local.x]; ${store} }`;
  return writer.perTile(Math.ceil(columns / width), threads, main);
}

/** Whether several threads should divide each sum of a reduction: few results of many elements. */
export function isWide({ op, inputs, outputs }: GraphNode, { threads }: Tuning): boolean {
  const fewestElements = 64;
  const mostResults = 65536;
  if (threads === 1 || !['Sum', 'Mean', 'Max'].includes(op) || inputs[0]!.dtype !== 'float32') return false;
  const size = sizeOf(outputs[0]!.shape);
  return size > 0 && size <= mostResults && sizeOf(inputs[0]!.shape) / size >= fewestElements;
}

/** A reduction whose results several threads share. */
export const wideReduction: Kernel = ({ values, threads, result }, node) => {
  const writer = new KernelWriter(values);
  const { x, count, at, first, next, result: value } = reductionOf(node, 'row');
  const main = `var sum = ${first};
  ${overRow(count, threads, `let x = ${writer.element(x, at)}; sum = ${next};`)}
  ${combined(writer, threads, 'sum', node.op === 'Max' ? 'max' : 'sum')}
  if (lane == 0u) { ${writer.store(result(node, 0), 'row', value)} }`;
  return [writer.perRow(sizeOf(node.outputs[0]!.shape), threads, main)];
};

/** Whether a sum has more operands than a kernel may have: that of a large model's squared gradients has one per weight. */
export const isLongSum = ({ op, inputs }: GraphNode): boolean => op === 'AddN' && inputs.length >= maxSlots / 2;

/** A sum of many tensors, some at a time. */
export const longSum: Kernel = ({ values, result, scratch }, node) => {
  const size = sizeOf(node.outputs[0]!.shape);
  const [dispatches, together]: [Dispatch[], number] = [[], maxSlots / 2];
  let before: Place | undefined;
  for (let start = 0; start < node.inputs.length; start += together) {
    const writer = new KernelWriter(values);
    const terms = node.inputs.slice(start, start + together).map((x) => writer.element(x, 'i'));
    if (before !== undefined) terms.unshift(writer.load(before, 'i'));
    before = start + together < node.inputs.length ? scratch(size) : result(node, 0);
    dispatches.push(writer.each(size, writer.store(before, 'i', terms.join(' + '))));
  }
  return dispatches;
};
