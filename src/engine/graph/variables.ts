/**
 * @file Variables that hold state, and access to them from outside. TensorFlow prepares an executable for every distinct set of
 * fed and fetched tensors (33 ms each for a small program). There is therefore one writer and one reader per dtype: they
 * receive the number of the state tensor, and Switch nodes run only its branch.
 */
import type { DType } from '../dtype.js';
import { binary } from '../lowering/emit.js';
import type { ProgramSpec, StateSpec } from '../program.js';
import type { Shape } from '../shape.js';
import { addPlaceholder, type Entry } from './compile.js';
import { type Graph, type GraphNode, type Output, outputOf } from './graph.js';
import { tensorName } from './graphdef.js';
import { addStore, asStored, readStored, storedDtype } from './stored.js';

interface Access {
  /** Feeds `index`, and `values` of shape `valuesShape`: the state's own, or all ones to fill it. */
  write(name: string, valuesShape: Shape): { readonly entry: Entry; readonly index: Int32Array };
  read(name: string): { readonly entry: Entry; readonly index: Int32Array };
}

/** A resource variable per state tensor, shared by name within a session. */
export function addHandles(graph: Graph, state: ProgramSpec['state']): Map<string, GraphNode> {
  return new Map(
    Object.entries(state).map(([name, spec], index) => [
      name,
      graph.addNode('VarHandleOp', [], [{ dtype: 'resource', shape: [] }], {
        // State names may contain characters that are invalid in node names.
        name: `handle_${index}`,
        attributes: {
          dtype: { type: storedDtype(spec) },
          shape: { shape: spec.shape },
          shared_name: { string: name },
          container: { string: '' },
        },
      }),
    ]),
  );
}

export function addStateAccess(
  graph: Graph,
  state: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
): Access {
  const dtypes = [...new Set(Object.values(state).map((spec) => spec.dtype))];
  const entries = new Map<DType, { write: Omit<Entry, 'writes'>; read: Omit<Entry, 'reads'> }>();
  const indices = new Map<string, Int32Array>();
  for (const dtype of dtypes) {
    const members = Object.entries(state).filter(([, spec]) => spec.dtype === dtype);
    const index = addPlaceholder(graph, `${dtype}/index`, { dtype: 'int32', shape: [] });
    const values = graph.add(
      'Placeholder',
      [],
      { dtype, shape: [] },
      {
        name: `${dtype}/values`,
        attributes: { dtype: { type: dtype }, shape: { unknownShape: true } },
      },
    );
    const written: Output[] = [];
    const read: Output[] = [];
    members.forEach(([name, spec], number) => {
      indices.set(name, Int32Array.of(number));
      const branch = addBranch(graph, spec, handles.get(name)!, index, values, number);
      written.push(branch.written);
      read.push(branch.read);
    });
    const indexFeed = { name: 'index', spec: { dtype: 'int32', shape: [] } } as const;
    entries.set(dtype, {
      write: {
        feeds: [indexFeed],
        feedNames: [tensorName(index), tensorName(values)],
        fetches: [],
        fetchNames: [tensorName(merge(graph, written))],
        reads: [],
      },
      read: {
        feeds: [indexFeed],
        feedNames: [tensorName(index)],
        fetches: ['values'],
        fetchNames: [tensorName(merge(graph, read))],
        writes: [],
      },
    });
  }
  const entryOf = (name: string) => {
    const { dtype } = state[name]!;
    return { dtype, ...entries.get(dtype)! };
  };
  return {
    write(name, valuesShape) {
      const { dtype, write } = entryOf(name);
      const feeds = [...write.feeds, { name: 'values', spec: { dtype, shape: valuesShape } }];
      return { entry: { ...write, feeds, writes: [name] }, index: indices.get(name)! };
    },
    read(name) {
      return { entry: { ...entryOf(name).read, reads: [name] }, index: indices.get(name)! };
    },
  };
}

/** Writes and reads one state tensor if `index` equals its `number`; otherwise none of it runs. */
function addBranch(
  graph: Graph,
  spec: StateSpec,
  handle: GraphNode,
  index: Output,
  values: Output,
  number: number,
): { written: Output; read: Output } {
  const chosen = binary(graph, 'Equal', index, graph.int(number), 'bool');
  const type = { T: { type: spec.dtype } } as const;
  const incoming = whenTrue(graph, values, chosen);
  const attributes = { ...type, Tidx: { type: 'int32' } } as const;
  const whole = graph.add('BroadcastTo', [incoming, graph.ints(spec.shape)], spec, { attributes });
  const assign = addStore(graph, asStored(graph, whole, spec), handle);
  const pivot = whenTrue(graph, index, chosen);
  const int = { T: { type: 'int32' } } as const;
  const written = graph.add('Identity', [pivot], pivot, { attributes: int, control: [assign] });
  // Only an op may be a control input, not one output of a Switch.
  const gate = graph.add('Identity', [pivot], pivot, { attributes: int });
  return { written, read: readStored(graph, handle, spec, [gate.node]).value };
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
