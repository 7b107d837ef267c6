/**
 * @file Kernels that handle many tensors in one dispatch: AdamW, the sums of squares of a gradient's norm, sums and zeros of
 * gradients, and the search for values that are not finite. A table among the constants says where each tensor is; a thread
 * finds its row by binary search.
 */
import type { GraphNode, Output } from '../../graph/graph.js';
import { take } from '../../shape.js';
import { attribute } from '../expressions.js';
import { type Dispatch, KernelWriter, literal, type Place, piecesOf, type Values } from '../kernel.js';
import type { Word } from '../memory.js';

export interface GroupContext {
  readonly values: Values;
  stored(output: Output): Place;
  temp(size: number): Place;
  addConstant(words: readonly Word[]): Place;
  emit(node: GraphNode, dispatches: readonly Dispatch[]): void;
  readonly places: Map<string, Place>;
}

/** A state to which a value is added, or without a value one that is set to zero. */
interface Addition {
  readonly node: GraphNode;
  readonly to: Place;
  readonly from?: Place | undefined;
}

/** Collects nodes until `flush` emits the kernels for all of them. */
export function openGroups(context: GroupContext) {
  const [squares, adam, adds]: [GraphNode[], GraphNode[], Addition[]] = [[], [], []];
  return {
    squares,
    adam,
    /** No state may occur twice. */
    adds,
    flush(): void {
      if (squares.length > 0) squaresAll(context, squares.splice(0));
      if (adam.length > 0) adamWAll(context, adam.splice(0));
      if (adds.length > 0) addAll(context, adds.splice(0));
    },
    check(values: readonly Output[], node: GraphNode): void {
      checkAll(context, values, node);
    },
  };
}

/** Finds the last row of `table` whose first word is at most `i`; leaves its index in `entry`. */
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
function squaresAll(context: GroupContext, nodes: readonly GraphNode[]): void {
  const all = nodes.flatMap((node) => piecesOf(context.stored(node.inputs[0]!)).map((place) => ({ node, place })));
  const sums = new Map<GraphNode, Place[]>();
  for (const group of groupBy(all, ({ place }) => place.buffer)) {
    const total = group.reduce((sum, { place }) => sum + place.size, 0);
    const chunk = Math.max(leastChunk, Math.ceil(total / mostPartials));
    let start = 0;
    const rows = group.map(({ place }) => {
      const row = [start, place, place.size] as const;
      start += Math.ceil(place.size / chunk);
      return row;
    });
    const table = context.addConstant([...rows.flat(), start, 0, 0]);
    const partials = context.temp(start);
    const sum = context.temp(group.length);
    const partial = new KernelWriter(context.values);
    const parts = partial.each(
      start,
      `${findRow(partial, table, group.length, 3)}
  let begin = (i - ${column(partial, table, 3, 0)}) * ${chunk}u; let stop = min(begin + ${chunk}u, ${column(partial, table, 3, 2)});
  let base = ${column(partial, table, 3, 1)};
  var sum = 0f; for (var k = begin; k < stop; k++) { let x = bitcast<f32>(${partial.array(group[0]!.place)}[base + k]); sum += x * x; }
  ${partial.store(partials, 'i', 'sum')}`,
    );
    const whole = new KernelWriter(context.values);
    const bound = (row: string) => `u32(${whole.load(table, `(${row}) * 3u`, 'int32')})`;
    const wholes = whole.each(
      group.length,
      `var sum = 0f; for (var k = ${bound('i')}; k < ${bound('i + 1u')}; k++) { sum += ${whole.load(partials, 'k')}; }
  ${whole.store(sum, 'i', 'sum')}`,
    );
    context.emit(group[0]!.node, [{ ...parts, reads: group.map(({ place }) => place) }, wholes]);
    group.forEach(({ node }, index) => {
      sums.set(node, [...(sums.get(node) ?? []), partOf(sum, index)]);
    });
  }
  for (const [node, parts] of sums) {
    let place = parts[0]!;
    if (parts.length > 1) {
      place = context.temp(1);
      const writer = new KernelWriter(context.values);
      const sum = parts.map((part) => writer.load(part, '0u')).join(' + ');
      context.emit(node, [writer.each(1, writer.store(place, 'i', sum))]);
    }
    context.places.set(`${node.name}:0`, place);
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
function adamWAll(context: GroupContext, nodes: readonly GraphNode[]): void {
  // All tensors of a node are cut at the same elements.
  const all = nodes.flatMap((node) => {
    const own = [0, 1, 2].map((index) => piecesOf(context.places.get(`${node.name}:${index}`)!));
    return piecesOf(context.stored(node.inputs[3]!)).map((gradient, k) => ({
      node,
      own: own.map((pieces) => pieces[k]!),
      gradient,
    }));
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
    const at = own.map(
      (place, index) => `${writer.array(place)}[${column(writer, table, width, 1 + index)} + element]`,
    );
    const main = `${findRow(writer, table, group.length, width)}
  let element = i - ${column(writer, table, width, 0)};
  let g = bitcast<f32>(${writer.array(gradient)}[${column(writer, table, width, 4)} + element]) * ${scale};
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
function checkAll(context: GroupContext, values: readonly Output[], node: GraphNode): void {
  const all = values.flatMap((value, index) => piecesOf(context.stored(value)).map((place) => ({ index, place })));
  for (const group of groupBy(all, ({ place }) => place.buffer)) {
    let start = 0;
    const rows = group.map(({ index, place }) => {
      const row = [start, place, index] as const;
      start += place.size;
      return row;
    });
    const table = context.addConstant(rows.flat());
    const writer = new KernelWriter(context.values);
    const main = `${findRow(writer, table, group.length, 3)}
  let bits = ${writer.array(group[0]!.place)}[${column(writer, table, 3, 1)} + i - ${column(writer, table, 3, 0)}] & 0x7fffffffu;
  if (bits >= 0x7f800000u) { atomicStore(&flags[${column(writer, table, 3, 2)} * 2u + select(0u, 1u, bits == 0x7f800000u)], 1u); }`;
    context.emit(node, [{ ...writer.each(start, main), reads: group.map(({ place }) => place) }]);
  }
}

function addAll(context: GroupContext, whole: readonly Addition[]): void {
  const all = whole.flatMap(({ node, to, from }) =>
    piecesOf(to).map((piece, k) => ({ node, to: piece, from: from && piecesOf(from)[k]! })),
  );
  for (const group of groupBy(all, ({ to, from }) => `${to.buffer} ${from?.buffer}`)) {
    let start = 0;
    const rows = group.map(({ to, from }) => {
      const row = [start, to, from ?? 0] as const;
      start += to.size;
      return row;
    });
    const table = context.addConstant(rows.flat());
    const writer = new KernelWriter(context.values);
    const [{ node, to, from }] = take(group, 1);
    const at = `${writer.array(to)}[${column(writer, table, 3, 1)} + element]`;
    const added = from && `${writer.array(from)}[${column(writer, table, 3, 2)} + element]`;
    const value = `bitcast<u32>(bitcast<f32>(${at}) + bitcast<f32>(${added}))`;
    const main = `${findRow(writer, table, group.length, 3)}
  let element = i - ${column(writer, table, 3, 0)};
  ${at} = ${from === undefined ? '0u' : value};`;
    context.emit(node, [{ ...writer.each(start, main), reads: group.flatMap((each) => each.from ?? []) }]);
  }
}
