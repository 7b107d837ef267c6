/**
 * @file The order of the nodes of a traced function, and which of them belong to its second part, which runs only if all values are
 * finite.
 */
import type { Entry } from '../graph/compile.js';
import type { Graph, GraphNode, Output } from '../graph/graph.js';
import { tensorName } from '../graph/graphdef.js';

export interface OrderedFunction {
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
