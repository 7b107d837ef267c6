/**
 * @file Stores the results of a function in state. A run stores everything or nothing: all stores wait for one barrier, which
 * waits for everything that can be computed without them. Results that no order of nodes can produce are rejected.
 */
import type { GraphDType } from '../dtype.js';
import { ProgramError } from '../program.js';
import {
  type InPlaceUpdate,
  inPlaceUpdate,
  inPlaceUpdatesOf,
  keepOldValues,
  lateReader,
  sharesMemory,
} from './aliasing.js';
import type { Graph, GraphNode, Output } from './graph.js';
import { addStore } from './stored.js';

export type NamedOutput = readonly [name: string, value: Output];

export interface Results {
  readonly functionName: string;
  readonly outputs: readonly NamedOutput[];
  /** New value by name of the state. */
  readonly assigns: readonly NamedOutput[];
  readonly handles: ReadonlyMap<string, GraphNode>;
  /** The value of each state, as read by the body. */
  readonly reads: ReadonlyMap<string, Output>;
  readonly checkNumerics: boolean;
}

/**
 * Appends checks and stores to `graph`.
 *
 * @returns the updated outputs, and the targets of a run: the storing nodes and those that the outputs must wait for.
 * @throws ProgramError for uses of a value that an in-place update destroys.
 */
export function addStores(
  graph: Graph,
  results: Results,
): { outputs: readonly NamedOutput[]; stores: GraphNode[]; gates: GraphNode[] } {
  const updates = inPlaceUpdatesOf(graph);
  checkAllAssigned(results, updates);
  const after = nodesAfter(graph, updates);
  const gates = results.checkNumerics ? addNumericChecks(graph, results, after) : [];
  if (results.assigns.length === 0) return { outputs: results.outputs, stores: [], gates };

  const early = [...values(results), ...updates.flatMap((update) => update.inputs())].filter(
    ({ node }) => !after.has(node),
  );
  const kept = withCopies(graph, results, updates, early);
  const { outputs, assigns, handles, reads } = kept.results;
  const control = [...new Set(early.map(({ node }) => node)), ...kept.copies, ...gates];
  const barrier = graph.addNode('NoOp', [], [], { control: gathered(graph, control), name: 'barrier' });
  for (const update of updates) {
    if (!update.atOnce) for (const write of update.writes) write.control.push(barrier);
  }

  const stores = assigns.flatMap(([state, value]) => {
    const handle = handles.get(state)!;
    const read = reads.get(state);
    const update = inPlaceUpdate(value);
    if (update?.atOnce) return update.writes;
    if (update?.handles.includes(handle)) {
      if (read !== undefined) orderReaders(graph, kept.results, state, read.node, update);
      return update.writes.at(-1)!;
    }
    const arrives = (value.node.replica ?? 0) !== (handle.replica ?? 0);
    return addStore(graph, value, handle, read === undefined ? [barrier] : [read.node, barrier], arrives);
  });
  return { outputs, stores: [...new Set(stores)], gates };
}

/** In a joint graph: one node per replica that waits for that replica's `nodes`, so that each replica sends one message. */
function gathered(graph: Graph, nodes: readonly GraphNode[]): readonly GraphNode[] {
  if (!graph.joint) return nodes;
  const byReplica = new Map<number, GraphNode[]>();
  for (const node of nodes) {
    const replica = node.replica ?? 0;
    byReplica.set(replica, [...(byReplica.get(replica) ?? []), node]);
  }
  return [...byReplica].map(([replica, control]) => {
    graph.replica = replica;
    const gate = graph.addNode('NoOp', [], [], { control });
    graph.replica = undefined;
    return gate;
  });
}

/** Replaces old values of states by copies if an update requires it and they are used beyond `early`. */
function withCopies(
  graph: Graph,
  results: Results,
  updates: readonly InPlaceUpdate[],
  early: readonly Output[],
): { results: Results; copies: GraphNode[] } {
  const copying = updates.filter(({ oldValue }) => oldValue === 'copied');
  const handles = new Set(copying.flatMap((update) => update.handles));
  const reads = [...results.reads.values()].map(({ node }) => node);
  const overwritten = reads.filter(({ inputs: [handle] }) => handle !== undefined && handles.has(handle.node));
  const kept = keepOldValues(graph, overwritten, copying, early, values(results));
  const all = [...results.outputs, ...results.assigns];
  const named = all.map(([name], index) => [name, kept.results[index]!] as const);
  const count = results.outputs.length;
  return {
    results: { ...results, outputs: named.slice(0, count), assigns: named.slice(count) },
    copies: kept.copies,
  };
}

function values({ outputs, assigns }: Results): Output[] {
  return [...outputs, ...assigns].map(([, value]) => value);
}

/** Rejects an in-place update whose result is not assigned: it would happen here, but not on eager engines. */
function checkAllAssigned({ functionName, assigns, handles }: Results, updates: readonly InPlaceUpdate[]): void {
  const names = new Map([...handles].map(([name, handle]) => [handle, name]));
  const assigned = new Map(assigns.map(([state, value]) => [state, inPlaceUpdate(value)]));
  for (const update of updates) {
    for (const handle of update.handles) {
      const name = names.get(handle)!;
      if (assigned.get(name) !== update) {
        throw new ProgramError(
          `${functionName}: state ${name} is updated in place, so the updated tensor must be assigned to ${name}`,
        );
      }
    }
  }
}

/** The nodes of in-place updates, and all that depend on them. */
function nodesAfter(graph: Graph, updates: readonly InPlaceUpdate[]): Set<GraphNode> {
  const after = new Set(updates.flatMap((update) => update.writes));
  for (const node of graph.nodes) {
    const sources = [...node.inputs.map((input) => input.node), ...node.control];
    if (sources.some((source) => after.has(source))) after.add(node);
  }
  return after;
}

/** Makes `update` wait for every use of the state's old value. @throws ProgramError if that is impossible. */
function orderReaders(graph: Graph, results: Results, state: string, read: GraphNode, update: InPlaceUpdate): void {
  if (update.oldValue === 'copied') return;
  if (update.oldValue === 'kept') {
    // Readers keep the old memory if they read it before. An unused read would cost a copy of the state.
    const used =
      graph.nodes.some((node) => node.inputs.some((input) => input.node === read)) ||
      values(results).some(({ node }) => node === read);
    if (used) for (const write of update.writes) write.control.push(read);
    return;
  }
  const kept = [...results.outputs, ...results.assigns].find(([, value]) => sharesMemory(value.node, read));
  const late = kept?.[0] ?? lateReader(graph, read, update.writes.at(-1)!)?.name;
  if (late !== undefined) {
    throw new ProgramError(
      `${results.functionName}: state ${state} is updated in place, but ${late} uses its old value; use the updated tensor`,
    );
  }
}

const floats: ReadonlySet<GraphDType> = new Set(['float32', 'bfloat16', 'float16']);

/** A chain of checks, so that the first non-finite value in the order of the results is reported. */
function addNumericChecks(graph: Graph, results: Results, after: ReadonlySet<GraphNode>): GraphNode[] {
  const { functionName, outputs, assigns } = results;
  const checked = new Set<string>();
  let previous: GraphNode[] = [];
  for (const [name, value] of [...outputs, ...assigns]) {
    const update = inPlaceUpdate(value);
    if (update === undefined && after.has(value.node)) {
      throw new ProgramError(
        `${functionName}: ${name} depends on an update in place, which could not be undone if ${name} were not finite; ` +
          'omit checkNumerics, or check what goes into the update in a function of its own',
      );
    }
    // The values of an in-place update cannot be checked before they are written, but their inputs can.
    for (const suspect of update === undefined ? [value] : update.inputs()) {
      const key = `${suspect.node.name}:${suspect.index}`;
      if (!floats.has(suspect.dtype) || checked.has(key)) continue;
      checked.add(key);
      const attributes = { T: { type: suspect.dtype }, message: { string: `tinyzero:${name}:` } } as const;
      previous = [graph.addNode('CheckNumerics', [suspect], [suspect], { attributes, control: previous })];
    }
  }
  return previous;
}
