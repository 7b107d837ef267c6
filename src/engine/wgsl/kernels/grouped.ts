/**
 * @file One dispatch for many tensors: AdamW, the sums of squares of a gradient's norm, and the search for values that are not
 * finite. A table among the constants says where each tensor is; a thread finds its row by binary search.
 */
import type { GraphNode, Output } from '../../graph/graph.js';
import { sizeOf } from '../../shape.js';
import { attribute } from '../expressions.js';
import { type Dispatch, KernelWriter, literal, type Place, type Values } from '../kernel.js';

/** A word of a table: a number, or the offset of a place, known once all places are. */
export type Word = number | Place;

export interface GroupContext {
  readonly values: Values;
  stored(output: Output): Place;
  temp(size: number): Place;
  addConstant(words: readonly Word[]): Place;
  emit(node: GraphNode, dispatches: readonly Dispatch[]): void;
  readonly places: Map<string, Place>;
}

/** Finds the row of `table` whose first word is the last that is at most `i`; leaves its index in `entry`. */
function findRow(writer: KernelWriter, table: Place, rows: number, width: number): string {
  const start = writer.load(table, `middle * ${width}u`, 'int32');
  return `var entry = 0u; var end = ${rows}u;
  while (end - entry > 1u) { let middle = (entry + end) / 2u; if (u32(${start}) <= i) { entry = middle; } else { end = middle; } }`;
}

const column = (writer: KernelWriter, table: Place, width: number, index: number) =>
  `u32(${writer.load(table, `entry * ${width}u + ${index}u`, 'int32')})`;

/** Groups items by a key, in order of first appearance. */
function groupBy<Item>(items: readonly Item[], key: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return [...groups.values()];
}

/** Most partial sums of all tensors together, and fewest elements of one. */
const [mostPartials, leastChunk] = [16384, 256];

/** The sum of squares of each node's input. */
export function squaresAll(context: GroupContext, nodes: readonly GraphNode[]): void {
  const all = nodes.map((node) => ({
    node,
    place: context.stored(node.inputs[0]!),
    size: sizeOf(node.inputs[0]!.shape),
  }));
  for (const group of groupBy(all, ({ place }) => place.buffer)) {
    const total = group.reduce((sum, { size }) => sum + size, 0);
    const chunk = Math.max(leastChunk, Math.ceil(total / mostPartials));
    let start = 0;
    const rows = group.map(({ place, size }) => {
      const row = [start, place, size] as const;
      start += Math.ceil(size / chunk);
      return row;
    });
    const table = context.addConstant([...rows.flat(), start, 0, 0]);
    const partials = context.temp(start);
    const sums = context.temp(group.length);
    const partial = new KernelWriter(context.values);
    const { buffer } = group[0]!.place;
    const parts = partial.each(
      start,
      `${findRow(partial, table, group.length, 3)}
  let begin = (i - ${column(partial, table, 3, 0)}) * ${chunk}u; let stop = min(begin + ${chunk}u, ${column(partial, table, 3, 2)});
  let base = ${column(partial, table, 3, 1)};
  var sum = 0f; for (var k = begin; k < stop; k++) { let x = bitcast<f32>(${buffer}[base + k]); sum += x * x; }
  ${partial.store(partials, 'i', 'sum')}`,
    );
    const whole = new KernelWriter(context.values);
    const bound = (row: string) => `u32(${whole.load(table, `(${row}) * 3u`, 'int32')})`;
    const wholes = whole.each(
      group.length,
      `var sum = 0f; for (var k = ${bound('i')}; k < ${bound('i + 1u')}; k++) { sum += ${whole.load(partials, 'k')}; }
  ${whole.store(sums, 'i', 'sum')}`,
    );
    context.emit(group[0]!.node, [{ ...parts, reads: group.map(({ place }) => place) }, wholes]);
    group.forEach(({ node }, index) => {
      context.places.set(`${node.name}:0`, partOf(sums, index));
    });
  }
}

/** One element of a place, which moves with it. */
function partOf(whole: Place, index: number): Place {
  return {
    buffer: whole.buffer,
    size: 1,
    whole,
    get offset() {
      return whole.offset + index;
    },
    set offset(_) {
      throw new Error('a part is placed with its whole');
    },
  };
}

/** AdamW on the states of all nodes (optim/adamw.ts; the arithmetic of adamW in state-ops.ts). */
export function adamWAll(context: GroupContext, nodes: readonly GraphNode[]): void {
  const all = nodes.map((node) => {
    const own = [0, 1, 2].map((index) => context.places.get(`${node.name}:${index}`)!);
    return { node, own, gradient: context.stored(node.inputs[3]!) };
  });
  const keyOfGroup = ({ node, own, gradient }: (typeof all)[number]) =>
    [
      ...[...own, gradient].map(({ buffer }) => buffer),
      attribute(node, 'beta1'),
      attribute(node, 'beta2'),
      ...node.inputs.slice(4).map((input) => `${context.values.source(input).node.name}:${input.index}`),
    ].join();
  for (const group of groupBy(all, keyOfGroup)) {
    const { node, own, gradient } = group[0]!;
    const width = 6;
    let start = 0;
    const rows = group.map((each) => {
      const row: Word[] = [start, ...each.own, each.gradient, attribute(each.node, 'decays') === true ? 1 : 0];
      start += each.own[0]!.size;
      return row;
    });
    const table = context.addConstant(rows.flat());
    const writer = new KernelWriter(context.values);
    const [scale, rate, power1, power2, epsilon, decay] = node.inputs
      .slice(4)
      .map((input) => writer.element(input, '0u'));
    const [beta1, beta2] = [Number(attribute(node, 'beta1')), Number(attribute(node, 'beta2'))];
    const number = (value: number) => literal('float32', value);
    const at = own.map(({ buffer }, index) => `${buffer}[${column(writer, table, width, 1 + index)} + element]`);
    const main = `${findRow(writer, table, group.length, width)}
  let element = i - ${column(writer, table, width, 0)};
  let g = bitcast<f32>(${gradient.buffer}[${column(writer, table, width, 4)} + element]) * ${scale};
  let old = bitcast<f32>(${at[0]});
  let m = bitcast<f32>(${at[1]}) * ${number(beta1)} + g * ${number(1 - beta1)};
  let v = bitcast<f32>(${at[2]}) * ${number(beta2)} + g * g * ${number(1 - beta2)};
  let kept = old - select(0f, old * ${decay}, ${column(writer, table, width, 5)} == 1u);
  let rate = ${rate} * sqrt(1f - ${power2}) / (1f - ${power1});
  ${at[0]} = bitcast<u32>(kept - m * rate / (sqrt(v) + ${epsilon}));
  ${at[1]} = bitcast<u32>(m);
  ${at[2]} = bitcast<u32>(v);`;
    const dispatch = writer.each(start, main);
    context.emit(node, [{ ...dispatch, reads: group.map((each) => each.gradient) }]);
  }
}

/** Sets flag 2 n if the n-th value has a NaN, and flag 2 n + 1 if it has an infinity. */
export function checkAll(context: GroupContext, values: readonly Output[], node: GraphNode): void {
  const all = values.map((value, index) => ({ index, place: context.stored(value), size: sizeOf(value.shape) }));
  for (const group of groupBy(all, ({ place }) => place.buffer)) {
    let start = 0;
    const rows = group.map(({ index, place, size }) => {
      const row = [start, place, index] as const;
      start += size;
      return row;
    });
    const table = context.addConstant(rows.flat());
    const writer = new KernelWriter(context.values);
    const main = `${findRow(writer, table, group.length, 3)}
  let bits = ${group[0]!.place.buffer}[${column(writer, table, 3, 1)} + i - ${column(writer, table, 3, 0)}] & 0x7fffffffu;
  if (bits >= 0x7f800000u) { atomicStore(&flags[${column(writer, table, 3, 2)} * 2u + select(0u, 1u, bits == 0x7f800000u)], 1u); }`;
    context.emit(node, [{ ...writer.each(start, main), reads: group.map(({ place }) => place) }]);
  }
}
