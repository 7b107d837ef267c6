/**
 * @file Turns one function of a program into a graph: traces its body, then adds what only a graph needs: placeholders,
 * reads of state, checks, assignments in a safe order and the tensors to fetch.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { type Graph, type GraphNode, type Output, outputOf } from './graph.js';
import { tensorName } from './graphdef.js';
import { inPlaceUpdate, lateReader, readState } from './kernels-fused.js';
import { castProductsToBfloat16, compileWithXla } from './passes.js';
import type { FunctionResult, FunctionSpec, ProgramSpec, TensorSpec } from './program.js';
import { checkAssigned, lookUp, ProgramError } from './program.js';
import { outputOfTensor, trace, tracedTensor } from './trace.js';

/** One function as the addon calls it. */
export interface Entry {
  readonly feeds: readonly { readonly name: string; readonly spec: TensorSpec }[];
  readonly feedNames: string;
  readonly fetches: readonly string[];
  readonly fetchNames: string;
  /** State that must have been written before the call, and state that is written by it. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

/** Ops whose result is memory of its own; the result of any other may share that of an input, a state or a constant. */
const freshOps = new Set(
  'AddV2 Sub Mul RealDiv Neg Sqrt Square Exp Maximum Minimum SelectV2 MatMul BatchMatMulV2 AddN DeepCopy'.split(' '),
);

/**
 * Appends the function `name` to `graph`.
 *
 * @throws TraceError for what cannot be compiled, ProgramError for a result that does not fit the state.
 */
export function compileFunction(
  graph: Graph,
  name: string,
  spec: FunctionSpec,
  stateSpecs: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
): Entry {
  const reads = new Map<string, Output>();
  const feeds = Object.entries(spec.inputs).map(([input, inputSpec]) => ({ name: input, spec: inputSpec }));
  const placeholders = feeds.map(({ name: input, spec: inputSpec }) =>
    addPlaceholder(graph, `input/${input}`, inputSpec),
  );
  const { outputs, assigns } = trace(graph, () => {
    const state: Record<string, Tensor> = {};
    for (const [stateName, stateSpec] of Object.entries(stateSpecs)) {
      // Read on first use, once: every use in a function sees the value from before the call.
      let tensor: Tensor | undefined;
      Object.defineProperty(state, stateName, {
        enumerable: true,
        get: () => {
          if (tensor === undefined) {
            const read = readState(graph, handles.get(stateName) as GraphNode, stateSpec);
            reads.set(stateName, read);
            tensor = tracedTensor(read);
          }
          return tensor;
        },
      });
    }
    const inputs = Object.fromEntries(
      feeds.map((each, index) => [each.name, tracedTensor(placeholders[index] as Output)]),
    );
    const result: FunctionResult = spec.body(state, inputs);
    return {
      outputs: Object.entries(result.outputs ?? {}).map(([key, tensor]) => [key, outputOfTensor(tensor)] as const),
      assigns: Object.entries(result.assign ?? {}).map(([key, tensor]) => [key, outputOfTensor(tensor)] as const),
    };
  });
  for (const [state, value] of assigns) checkAssigned(name, state, lookUp(stateSpecs, 'state', state), value);
  if (spec.precision === 'bf16') castProductsToBfloat16(graph);

  const gates = spec.checkNumerics === true ? addNumericChecks(graph, [...outputs, ...assigns]) : [];
  const updates = assigns.map(([state, value]) =>
    addAssign(graph, name, state, value, handles.get(state) as GraphNode, reads.get(state), gates),
  );
  const fetches = outputs.map(([key, value]) =>
    graph.add('Identity', [value], value, {
      attributes: { T: { type: value.dtype } },
      name: `output/${key}`,
      control: gates,
    }),
  );
  if (updates.length > 0) fetches.push(addTarget(graph, 'done', updates));
  if (spec.xla === true) compileWithXla(graph);
  return {
    feeds,
    feedNames: placeholders.map(tensorName).join(','),
    fetches: outputs.map(([key]) => key),
    fetchNames: fetches.map(tensorName).join(','),
    reads: [...reads.keys()],
    writes: assigns.map(([state]) => state),
  };
}

/** Stores `value` in a state: in place already, or by handing over its memory, copied first when it is not its own. */
function addAssign(
  graph: Graph,
  functionName: string,
  state: string,
  value: Output,
  handle: GraphNode,
  read: Output | undefined,
  gates: readonly GraphNode[],
): GraphNode {
  const inPlace = inPlaceUpdate(value);
  if (inPlace?.handle === handle) {
    const late = inPlace.destroys && read !== undefined ? lateReader(graph, read.node, inPlace.update) : undefined;
    if (late !== undefined) {
      throw new ProgramError(
        `${functionName}: state ${state} is updated in place, but ${late.name} uses its old value; use the updated tensor`,
      );
    }
    inPlace.update.control.push(...gates);
    return inPlace.update;
  }
  const attributes = { dtype: { type: value.dtype } };
  const own = freshOps.has(value.node.op)
    ? value
    : graph.add('DeepCopy', [value], value, { attributes: { T: { type: value.dtype } } });
  const control = read === undefined ? [...gates] : [read.node, ...gates];
  return graph.addNode('AssignVariableOp', [outputOf(handle, 0), own], [], { attributes, control });
}

/** A chain of checks, so that the first bad value in the order of `values` is the one reported. */
function addNumericChecks(graph: Graph, values: readonly (readonly [string, Output])[]): GraphNode[] {
  let previous: GraphNode[] = [];
  for (const [name, value] of values) {
    // What an in-place update will write cannot be looked at before it is written.
    if (value.dtype !== 'float32' || inPlaceUpdate(value) !== undefined) continue;
    const attributes = { T: { type: 'float32' }, message: { string: `tinyzero:${name}:` } } as const;
    previous = [graph.addNode('CheckNumerics', [value], [value], { attributes, control: previous })];
  }
  return previous;
}

export function addPlaceholder(graph: Graph, name: string, spec: TensorSpec): Output {
  return graph.add('Placeholder', [], spec, {
    name,
    attributes: { dtype: { type: spec.dtype }, shape: { shape: spec.shape } },
  });
}

/** The addon can only fetch tensors: a constant that waits for `updates` makes them run. */
function addTarget(graph: Graph, name: string, updates: readonly GraphNode[]): Output {
  const value = { dtype: 'int32', shape: [], data: Int32Array.of(0) } as const;
  return graph.add('Const', [], value, {
    name: `done/${name}`,
    attributes: { dtype: { type: 'int32' }, value: { tensor: value } },
    control: updates,
  });
}
