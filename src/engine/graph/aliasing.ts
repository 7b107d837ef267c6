/**
 * @file In-place updates of state: which nodes make them, and which nodes use the memory that they change. Lowerings register
 * their updates here (beyond-tfjs.ts, native-ops.ts); commit.ts orders all other nodes around them.
 */
import type { Graph, GraphNode, Output } from './graph.js';
import { copyOf } from './stored.js';

/** An in-place update of states. */
export interface InPlaceUpdate {
  /** The states that change. */
  readonly handles: readonly GraphNode[];
  /** The nodes that change them, in order. After these have run, the result is assigned. */
  readonly writes: GraphNode[];
  /** The inputs of the new values, besides the old values. A function, since passes replace nodes. */
  inputs(): readonly Output[];
  /**
   * How other nodes can use the old value. `kept`: directly, since the update itself allocates. `copied`: through a copy made
   * before the update. `lost`: not at all; such a use is an error.
   */
  readonly oldValue: 'kept' | 'copied' | 'lost';
  /** Whether its writes wait only for their own inputs. They may then have happened when the function fails. */
  readonly atOnce?: true;
}

/** By node, then by output number. */
const inPlaceUpdates = new WeakMap<GraphNode, Map<number, InPlaceUpdate>>();

/** Registers `results` as the states after `update`. */
export function noteInPlaceUpdate(update: InPlaceUpdate, results: readonly Output[]): void {
  for (const { node, index } of results) {
    const ofNode = inPlaceUpdates.get(node) ?? new Map<number, InPlaceUpdate>();
    inPlaceUpdates.set(node, ofNode.set(index, update));
  }
}

/** The update whose result is `output`, possibly reshaped. */
export function inPlaceUpdate(output: Output): InPlaceUpdate | undefined {
  const { node, index } = unshaped(output);
  return inPlaceUpdates.get(node)?.get(index);
}

export function inPlaceUpdatesOf(graph: Graph): InPlaceUpdate[] {
  return [...new Set(graph.nodes.flatMap((node) => [...(inPlaceUpdates.get(node)?.values() ?? [])]))];
}

/** The handle of the state whose value `output` is, possibly reshaped, as read at the start of the function. */
function stateHandle(output: Output): GraphNode | undefined {
  const { node } = unshaped(output);
  return node.op === 'ReadVariableOp' ? node.inputs[0]?.node : undefined;
}

/** {@link stateHandle} of each of `states`. @throws Error naming `op` for a tensor that is not state. */
export function stateHandles(op: string, states: readonly Output[]): GraphNode[] {
  return states.map((state) => {
    const handle = stateHandle(state);
    if (handle === undefined) throw new Error(`${op} works on state tensors, not on computed ones`);
    return handle;
  });
}

/** The update that all immediate writes to a state form together. */
export function updateAtOnce(op: string, state: Output): InPlaceUpdate {
  const earlier = inPlaceUpdate(state);
  return (
    earlier ?? { handles: stateHandles(op, [state]), writes: [], inputs: () => [], oldValue: 'lost', atOnce: true }
  );
}

/** Ops whose result may be a view into their input's memory. */
const views = new Set(['Reshape', 'Identity', 'Slice', 'StridedSlice', 'SplitV', 'Unpack']);

/** A node that uses the memory of `read`'s value and for which `update` does not wait, if any. */
export function lateReader(graph: Graph, read: GraphNode, update: GraphNode): GraphNode | undefined {
  const before = ancestors([update]);
  return readers(usesOf(graph), read).find(({ node }) => !before.has(node))?.node;
}

/**
 * Copies the old values of the nodes `reads` for their remaining uses: by nodes that `updates` do not wait for, and as results
 * of the function.
 *
 * @param before nodes that the updates will wait for. @param results results of the function; updated ones are returned.
 * @returns also the copies, for which the updates must wait.
 */
export function keepOldValues(
  graph: Graph,
  reads: readonly GraphNode[],
  updates: readonly InPlaceUpdate[],
  before: readonly Output[],
  results: readonly Output[],
): { results: Output[]; copies: GraphNode[] } {
  const copies = new Map<string, Output>();
  const kept = (value: Output): Output => {
    const key = `${value.node.name}:${value.index}`;
    const copy = copies.get(key) ?? copyOf(graph, value);
    copies.set(key, copy);
    return copy;
  };
  const early = ancestors([...before.map(({ node }) => node), ...updates.flatMap(({ writes }) => writes)]);
  const needed = ancestors(results.map(({ node }) => node));
  const uses = usesOf(graph);
  for (const { node, input } of reads.flatMap((read) => readers(uses, read))) {
    if (needed.has(node) && !early.has(node)) node.inputs[input] = kept(node.inputs[input]!);
  }
  const safe = results.map((value) => (reads.some((read) => sharesMemory(value.node, read)) ? kept(value) : value));
  return { results: safe, copies: [...copies.values()].map(({ node }) => node) };
}

interface Use {
  readonly node: GraphNode;
  /** Index of the input. */
  readonly input: number;
}

/** The uses of every node's results. */
function usesOf(graph: Graph): Map<GraphNode, Use[]> {
  const uses = new Map<GraphNode, Use[]>();
  for (const node of graph.nodes) {
    for (const [input, { node: source }] of node.inputs.entries()) {
      const known = uses.get(source);
      if (known === undefined) uses.set(source, [{ node, input }]);
      else known.push({ node, input });
    }
  }
  return uses;
}

/** Uses of `source`'s value or of views of it, excluding the views themselves. */
function readers(uses: ReadonlyMap<GraphNode, Use[]>, source: GraphNode): Use[] {
  return (uses.get(source) ?? []).flatMap((use) => (views.has(use.node.op) ? readers(uses, use.node) : [use]));
}

/** `nodes` and everything that they wait for. */
function ancestors(nodes: readonly GraphNode[]): Set<GraphNode> {
  const found = new Set<GraphNode>();
  const pending = [...nodes];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    pending.push(...node.inputs.map((input) => input.node), ...node.control);
  }
  return found;
}

/** Whether the value of `node` may share the memory of `source`'s. */
export function sharesMemory(node: GraphNode, source: GraphNode): boolean {
  const [first] = node.inputs;
  return node === source || (views.has(node.op) && first !== undefined && sharesMemory(first.node, source));
}

/** A Reshape shares its input's memory. */
export function unshaped(output: Output): Output {
  const [source] = output.node.inputs;
  return output.node.op === 'Reshape' && source !== undefined ? unshaped(source) : output;
}
