/**
 * @file Variables that hold state, and access to them from outside. TensorFlow prepares an executable for every distinct set of
 * fed and fetched tensors (33 ms each for a small program). A writer and a reader therefore serve many state tensors: they
 * receive the number of one, and Switch nodes run only its branch. Branches that do not run cost 11 µs each, so a program of
 * many tensors has several writers and readers.
 */
import type { DType } from '../dtype.js';
import { binary } from '../lowering/emit.js';
import type { ProgramSpec, StateSpec } from '../program.js';
import type { Shape } from '../shape.js';
import { addPlaceholder, type Entry } from './compile.js';
import { type Graph, type GraphNode, type Output, outputOf } from './graph.js';
import { tensorName } from './graphdef.js';
import { addStore, asStored, readStored, storedType } from './stored.js';

export interface StateAccess {
  /** Feeds `index`, and `values` of shape `valuesShape`: the state's own, or all ones to fill it. */
  write(name: string, valuesShape: Shape): { readonly entry: Entry; readonly index: Int32Array };
  read(name: string): { readonly entry: Entry; readonly index: Int32Array };
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

/** @param held states whose variables share the memory that they are written from, which stays as it is; see state-memory.ts. */
export function addStateAccess(
  graph: Graph,
  state: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
  held: ReadonlySet<string> = new Set(),
): StateAccess {
  const entries = new Map<string, { index: Int32Array; write: Omit<Entry, 'writes'>; read: Omit<Entry, 'reads'> }>();
  for (const [number, [dtype, members]] of groups(state).entries()) {
    const access = addGroup(graph, `${dtype}_${number}`, members, { dtype, handles, held });
    members.forEach(([name], place) => {
      entries.set(name, { index: Int32Array.of(place), ...access });
    });
  }
  return {
    write(name, valuesShape) {
      const { write, index } = entries.get(name)!;
      const feeds = [...write.feeds, { name: 'values', spec: { dtype: state[name]!.dtype, shape: valuesShape } }];
      return { entry: { ...write, feeds, writes: [name] }, index };
    },
    read(name) {
      const { read, index } = entries.get(name)!;
      return { entry: { ...read, reads: [name] }, index };
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
  {
    dtype,
    handles,
    held,
  }: {
    readonly dtype: DType;
    readonly handles: ReadonlyMap<string, GraphNode>;
    readonly held: ReadonlySet<string>;
  },
): { write: Omit<Entry, 'writes'>; read: Omit<Entry, 'reads'> } {
  const index = addPlaceholder(graph, `${label}/index`, { dtype: 'int32', shape: [] });
  const values = graph.add(
    'Placeholder',
    [],
    { dtype, shape: [] },
    {
      name: `${label}/values`,
      attributes: { dtype: { type: dtype }, shape: { unknownShape: true } },
    },
  );
  const branches = members.map(([name, spec], number) =>
    addBranch(graph, spec, handles.get(name)!, { index, values, number, isHeld: held.has(name) }),
  );
  const indexFeed = { name: 'index', spec: { dtype: 'int32', shape: [] } } as const;
  return {
    write: {
      feeds: [indexFeed],
      feedNames: [tensorName(index), tensorName(values)],
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
    number,
    isHeld,
  }: { readonly index: Output; readonly values: Output; readonly number: number; readonly isHeld: boolean },
): { written: Output; read: Output } {
  const chosen = binary(graph, 'Equal', index, graph.int(number), 'bool');
  const type = { T: { type: spec.dtype } } as const;
  const incoming = whenTrue(graph, values, chosen);
  const assign = isHeld
    ? graph.addNode('AssignVariableOp', [outputOf(handle, 0), incoming], [], { attributes: { dtype: type.T } })
    : storeFilled(graph, incoming, spec, handle);
  const pivot = whenTrue(graph, index, chosen);
  const int = { T: { type: 'int32' } } as const;
  const written = graph.add('Identity', [pivot], pivot, { attributes: int, control: [assign] });
  // Only an op may be a control input, not one output of a Switch.
  const gate = graph.add('Identity', [pivot], pivot, { attributes: int });
  return { written, read: readStored(graph, handle, spec, [gate.node]).value };
}

/** Stores a copy of `incoming`, which has the state's shape, or one element for all. */
function storeFilled(graph: Graph, incoming: Output, spec: StateSpec, handle: GraphNode): GraphNode {
  const attributes = { T: { type: spec.dtype }, Tidx: { type: 'int32' } } as const;
  const whole = graph.add('BroadcastTo', [incoming, graph.ints(spec.shape)], spec, { attributes });
  return addStore(graph, asStored(graph, whole, spec), handle);
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
