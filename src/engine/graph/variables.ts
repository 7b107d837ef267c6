/**
 * @file Variables that hold state, and access to them from outside. TensorFlow prepares an executable for every distinct set
 * of fed and fetched tensors (33 ms each for a small program). A writer and a reader therefore serve many state tensors:
 * they receive the number of one. On one processor, they gather its handle from a list of all. Elsewhere, handles cannot
 * leave their devices, so Switch nodes run only the branch of that state. This takes nine nodes per state, a third of a
 * large program's, and each branch that does not run costs 11 µs, so such a program has several writers and readers.
 */
import type { DType, TypedArray } from '../dtype.js';
import { binary } from '../lowering/emit.js';
import type { ProgramSpec, StateSpec, TensorSpec } from '../program.js';
import { take } from '../shape.js';
import { addPlaceholder, type Entry } from './compile.js';
import { type Graph, type GraphNode, type Output, outputOf, plainName } from './graph.js';
import { tensorName } from './graphdef.js';
import { addStore, asHeld, asStored, fedType, readStored, storedType } from './stored.js';

/** A writer or reader, and its inputs that select a state. */
interface Access {
  readonly entry: Entry;
  readonly inputs: Readonly<Record<string, TypedArray>>;
}

export interface StateAccess {
  /** The caller also feeds `values`: of the state's own dtype and shape, of one element to fill it, or, if held, as {@link fedType}. */
  write(name: string, values: TensorSpec): Access;
  read(name: string): Access;
}

/** State tensors per writer and reader: balances the two costs above for models of hundreds of tensors. */
const groupSize = 64;

/** A resource variable per state tensor, shared by name within a session. */
export function addHandles(graph: Graph, state: ProgramSpec['state']): Map<string, GraphNode> {
  return new Map(
    Object.entries(state).map(([name, spec], index) => {
      const { dtype, shape } = storedType(spec);
      const handle = graph.addNode('VarHandleOp', [], [{ dtype: 'resource', shape: [] }], {
        // State names may contain characters that are invalid in node names.
        name: `handle_${index}`,
        attributes: {
          dtype: { type: dtype },
          shape: { shape },
          shared_name: { string: name },
          container: { string: '' },
        },
      });
      return [name, handle];
    }),
  );
}

export function addStateAccess(
  graph: Graph,
  state: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
): StateAccess {
  const entries = new Map<string, Accesses>();
  for (const [number, [dtype, members]] of groups(state).entries()) {
    const access = addGroup(graph, `${dtype}_${number}`, members, { dtype, handles });
    members.forEach(([name], place) => {
      entries.set(name, { ...access, index: place });
    });
  }
  return accessTo(state, entries);
}

/**
 * {@link addStateAccess} where all variables are on one processor: then their handles can be gathered by number.
 *
 * @param held states whose variables share the memory that they are written from, which stays as it is; see state-memory.ts.
 */
export function addGatheredAccess(
  graph: Graph,
  state: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
  held: ReadonlyMap<string, unknown>,
): StateAccess {
  const kinds = new Map<string, Member[]>();
  for (const member of Object.entries(state)) {
    const [name, { dtype, stored }] = member;
    const kind = plainName(`${dtype}_${stored}_${held.has(name)}`);
    kinds.set(kind, [...(kinds.get(kind) ?? []), member]);
  }
  const entries = new Map<string, Accesses>();
  for (const [kind, members] of kinds) {
    const access = addKind(graph, kind, members, { handles, isHeld: held.has(members[0]![0]) });
    for (const [number, [name]] of members.entries()) entries.set(name, { ...access, index: number });
  }
  return accessTo(state, entries);
}

interface Accesses {
  readonly write: Omit<Entry, 'writes'>;
  readonly read: Omit<Entry, 'reads'>;
  /** Number of the state among those that they serve. */
  readonly index: number;
}

const indexFeed = { name: 'index', spec: { dtype: 'int32', shape: [] } } as const;

/** The writer and the reader of the states of one dtype that are stored alike. */
function addKind(
  graph: Graph,
  kind: string,
  members: readonly Member[],
  { handles, isHeld }: { readonly handles: ReadonlyMap<string, GraphNode>; readonly isHeld: boolean },
): Omit<Accesses, 'index'> {
  const [[, spec]] = take(members, 1);
  const index = addPlaceholder(graph, `${kind}/index`, indexFeed.spec);
  const values = addOpenPlaceholder(graph, `${kind}/values`, isHeld ? fedType(spec).dtype : spec.dtype);
  const shape = addOpenPlaceholder(graph, `${kind}/shape`, 'int32');
  const type = { type: 'resource' } as const;
  const all = graph.add(
    'Pack',
    members.map(([name]) => outputOf(handles.get(name)!, 0)),
    { dtype: 'resource', shape: [members.length] },
    { attributes: { T: type, N: { int: members.length }, axis: { int: 0 } } },
  );
  const int = { type: 'int32' } as const;
  const attributes = { Tparams: type, Tindices: int, Taxis: int, batch_dims: { int: 0 } };
  const one = { dtype: 'resource', shape: [] } as const;
  const handle = graph.add('GatherV2', [all, index, graph.int(0)], one, { attributes }).node;
  const assign = isHeld
    ? storeHeld(graph, values, shape, spec, handle)
    : storeFilled(graph, values, shape, spec, handle);
  const written = graph.add('Identity', [shape], shape, { attributes: { T: int }, control: [assign] });
  return {
    write: {
      feeds: [indexFeed],
      feedNames: [index, shape, values].map(tensorName),
      fetches: [],
      fetchNames: [tensorName(written)],
      reads: [],
    },
    read: {
      feeds: [indexFeed],
      feedNames: [tensorName(index)],
      fetches: ['values'],
      fetchNames: [tensorName(readStored(graph, handle, spec).value)],
      writes: [],
    },
  };
}

function accessTo(state: ProgramSpec['state'], entries: ReadonlyMap<string, Accesses>): StateAccess {
  return {
    write(name, values) {
      const { write, index } = entries.get(name)!;
      const { shape } = state[name]!;
      const feeds = [
        ...write.feeds,
        { name: 'shape', spec: { dtype: 'int32', shape: [shape.length] } } as const,
        { name: 'values', spec: values },
      ];
      const entry = { ...write, feeds, writes: [name] };
      return { entry, inputs: { index: Int32Array.of(index), shape: Int32Array.from(shape) } };
    },
    read(name) {
      const { read, index } = entries.get(name)!;
      return { entry: { ...read, reads: [name] }, inputs: { index: Int32Array.of(index) } };
    },
  };
}

type Member = readonly [name: string, spec: StateSpec];

/** The state tensors of each dtype, in groups of `groupSize`. */
function groups(state: ProgramSpec['state']): [DType, Member[]][] {
  const found: [DType, Member[]][] = [];
  for (const dtype of new Set(Object.values(state).map((spec) => spec.dtype))) {
    const members = Object.entries(state).filter(([, spec]) => spec.dtype === dtype);
    for (let start = 0; start < members.length; start += groupSize) {
      found.push([dtype, members.slice(start, start + groupSize)]);
    }
  }
  return found;
}

/** The writer and the reader of the state tensors of a group, whose nodes' names start with `label`. */
function addGroup(
  graph: Graph,
  label: string,
  members: readonly Member[],
  { dtype, handles }: { readonly dtype: DType; readonly handles: ReadonlyMap<string, GraphNode> },
): { write: Omit<Entry, 'writes'>; read: Omit<Entry, 'reads'> } {
  const index = addPlaceholder(graph, `${label}/index`, { dtype: 'int32', shape: [] });
  const values = addOpenPlaceholder(graph, `${label}/values`, dtype);
  const shape = addOpenPlaceholder(graph, `${label}/shape`, 'int32');
  const branches = members.map(([name, spec], number) =>
    addBranch(graph, spec, handles.get(name)!, { index, values, shape, number }),
  );
  return {
    write: {
      feeds: [indexFeed],
      feedNames: [index, shape, values].map(tensorName),
      fetches: [],
      fetchNames: [
        tensorName(
          merge(
            graph,
            branches.map(({ written }) => written),
          ),
        ),
      ],
      reads: [],
    },
    read: {
      feeds: [indexFeed],
      feedNames: [tensorName(index)],
      fetches: ['values'],
      fetchNames: [
        tensorName(
          merge(
            graph,
            branches.map(({ read }) => read),
          ),
        ),
      ],
      writes: [],
    },
  };
}

/** Writes and reads one state tensor if `index` equals its `number`; otherwise none of it runs. */
function addBranch(
  graph: Graph,
  spec: StateSpec,
  handle: GraphNode,
  {
    index,
    values,
    shape,
    number,
  }: { readonly index: Output; readonly values: Output; readonly shape: Output; readonly number: number },
): { written: Output; read: Output } {
  const chosen = binary(graph, 'Equal', index, graph.int(number), 'bool');
  const assign = storeFilled(graph, whenTrue(graph, values, chosen), shape, spec, handle);
  const pivot = whenTrue(graph, index, chosen);
  const int = { T: { type: 'int32' } } as const;
  const written = graph.add('Identity', [pivot], pivot, { attributes: int, control: [assign] });
  // Only an op may be a control input, not one output of a Switch.
  const gate = graph.add('Identity', [pivot], pivot, { attributes: int });
  return { written, read: readStored(graph, handle, spec, [gate.node]).value };
}

/** Stores a copy of `incoming`, which has the state's shape, or one element for all. */
function storeFilled(graph: Graph, incoming: Output, shape: Output, spec: StateSpec, handle: GraphNode): GraphNode {
  const attributes = { T: { type: spec.dtype }, Tidx: { type: 'int32' } } as const;
  const whole = graph.add('BroadcastTo', [incoming, shape], spec, { attributes });
  return addStore(graph, asStored(graph, whole, spec), handle);
}

/** Makes `incoming`, of {@link fedType}, the variable's own memory. */
function storeHeld(graph: Graph, incoming: Output, shape: Output, spec: StateSpec, handle: GraphNode): GraphNode {
  const own = asHeld(graph, incoming, shape, spec);
  return graph.addNode('AssignVariableOp', [outputOf(handle, 0), own], [], {
    attributes: { dtype: { type: own.dtype } },
  });
}

/** A placeholder for tensors of any shape. */
function addOpenPlaceholder(graph: Graph, name: string, dtype: DType): Output {
  const attributes = { dtype: { type: dtype }, shape: { unknownShape: true } } as const;
  return graph.add('Placeholder', [], { dtype, shape: [] }, { name, attributes });
}

/** `value` if `condition` holds; otherwise a dead tensor, and nothing that depends on it runs. */
function whenTrue(graph: Graph, value: Output, condition: Output): Output {
  const node = graph.addNode('Switch', [value, condition], [value, value], {
    attributes: { T: { type: value.dtype } },
  });
  return outputOf(node, 1);
}

/** Whichever of `values` is not dead. */
function merge(graph: Graph, values: readonly Output[]): Output {
  const first = values[0]!;
  const node = graph.addNode('Merge', values, [first, { dtype: 'int32', shape: [] }], {
    attributes: { T: { type: first.dtype }, N: { int: values.length } },
  });
  return outputOf(node, 0);
}
