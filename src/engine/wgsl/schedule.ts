/**
 * @file The order in which a traced function runs. Decides the order of its nodes, and which of them belong to its second
 * part, which runs only if all values are finite. Joins kernels of one thread per element that are independent of one
 * another into one dispatch.
 */
import type { Entry } from '../graph/compile.js';
import type { Graph, GraphNode, Output } from '../graph/graph.js';
import { tensorName } from '../graph/graphdef.js';
import { type Dispatch, KernelWriter, maxSlots, type Values } from './kernel.js';

interface OrderedFunction {
  /** Values to return, by name, in the order of the function's result. */
  readonly outputs: readonly (readonly [name: string, value: Output])[];
  readonly first: readonly GraphNode[];
  /** Nodes that wait for checks: updates in place, and stores. */
  readonly second: readonly GraphNode[];
  /** Stores that nothing waits for: the last nodes. */
  readonly stores: ReadonlySet<GraphNode>;
}

/** Ops that write to a variable as a whole. */
const isAssign = ({ op }: GraphNode) => op === 'AssignVariableOp';

export function orderNodes(graph: Graph, { fetches, fetchNames }: Entry): OrderedFunction {
  const byName = new Map(graph.nodes.map((node) => [node.name, node]));
  const fetched = fetchNames.map((name) => byName.get(name.split(':')[0]!) ?? missing(name));
  // The first fetches are identities of the outputs, the last may be a constant that waits for the stores.
  const outputs = fetches.map((name, index) => [name, fetched[index]!.inputs[0]!] as const);
  const targets = [...outputs.map(([, value]) => value.node), ...fetched.flatMap(({ control }) => control)];
  const needed = new Set<GraphNode>();
  const pending = [...targets];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (needed.has(node)) continue;
    needed.add(node);
    pending.push(...sourcesOf(node));
  }
  const waitedFor = new Set([...needed].flatMap(sourcesOf));
  // A store that nothing waits for must not overwrite a value that is still read.
  const isLast = (node: GraphNode) => isAssign(node) && !waitedFor.has(node);
  const created = graph.nodes.filter((node) => needed.has(node));
  const order: GraphNode[] = [];
  const visited = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (visited.has(node)) return;
    visited.add(node);
    for (const source of sourcesOf(node)) visit(source);
    order.push(node);
  };
  for (const node of [...created.filter((each) => !isLast(each)), ...created.filter(isLast)]) visit(node);

  const isChecked = created.some(({ op }) => op === 'CheckNumerics');
  const late = new Set<GraphNode>();
  for (const node of order) {
    const waits = sourcesOf(node).some((source) => late.has(source) || source.op === 'CheckNumerics');
    if (node.op !== 'CheckNumerics' && (waits || isLast(node))) late.add(node);
  }
  const stores = new Set(created.filter(isLast));
  if (!isChecked) return { outputs, first: order, second: [], stores };
  const [first, second] = [false, true].map((isLate) => order.filter((node) => late.has(node) === isLate));
  return { outputs, first: first!, second: second!, stores };
}

function sourcesOf({ inputs, control }: GraphNode): GraphNode[] {
  return [...inputs.map(({ node }) => node), ...control];
}

function missing(name: string): never {
  throw new Error(`the graph has no node ${name}`);
}

/** The number of the input that a placeholder stands for. */
export function placeholderNumbers(entry: Entry, graph: Graph): Map<GraphNode, number> {
  const numbers = new Map(entry.feedNames.map((name, index) => [name, index]));
  return new Map(
    graph.nodes.flatMap((node) => {
      if (node.op !== 'Placeholder') return [];
      const number = numbers.get(tensorName({ node, index: 0, ...node.outputs[0]! }));
      return number === undefined ? [] : [[node, number] as const];
    }),
  );
}

/** Kernels that wait to become one dispatch. */
interface Waiting {
  readonly writer: KernelWriter;
  readonly node: GraphNode;
  readonly isLate: boolean;
  readonly parts: { readonly count: number; readonly main: string }[];
}

/** @param mostBuffers of a kernel. @param emit takes a kernel for the first or the second part of a function. */
export function openBatch(values: Values, mostBuffers: number, emit: (node: GraphNode, dispatch: Dispatch) => void) {
  let waiting: Waiting | undefined;

  function flush(): void {
    if (waiting === undefined) return;
    const { writer, node, parts } = waiting;
    waiting = undefined;
    let count = 0;
    const calls = parts.map((part, index) => {
      const start = count;
      count += part.count;
      if (parts.length === 1) return part.main;
      writer.define(`fn part${index}(i: u32) { ${part.main} }`);
      const call = `{ part${index}(i - ${start}u); }`;
      return index === parts.length - 1 ? call : `if (i < ${count}u) ${call} else`;
    });
    emit(node, writer.each(count, calls.join(' ')));
  }

  /** Whether a kernel reads or writes what the waiting ones write, or writes what they read. */
  function isAfter({ slots, writes }: Pick<Dispatch, 'slots' | 'writes'>): boolean {
    const before = waiting!.writer;
    return slots.some((place) => before.writes.has(place)) || before.slots.some((place) => writes.has(place));
  }

  /** Whether one kernel can hold this one and the waiting ones. */
  function fits({ slots, buffers }: KernelWriter): boolean {
    const before = waiting!.writer;
    const [allSlots, allBuffers] = [new Set([...before.slots, ...slots]), new Set([...before.buffers, ...buffers])];
    return allSlots.size <= maxSlots && allBuffers.size <= mostBuffers;
  }

  return {
    flush,
    /** To be called before `dispatch` is emitted. */
    before(dispatch: Dispatch): void {
      // A table of operands may name any place.
      if (waiting !== undefined && (dispatch.reads !== undefined || isAfter(dispatch))) flush();
    },
    /** Takes a kernel of `count` threads that `main` writes; false if it computes products, which need their own kernels. */
    add(node: GraphNode, isLate: boolean, count: number, main: (writer: KernelWriter) => string): boolean {
      const alone = new KernelWriter(values);
      main(alone);
      if (alone.hasProducts) return false;
      if (waiting !== undefined && (waiting.isLate !== isLate || !fits(alone) || isAfter(alone))) flush();
      waiting ??= { writer: new KernelWriter(values), node, isLate, parts: [] };
      waiting.parts.push({ count, main: main(waiting.writer) });
      return true;
    },
  };
}
