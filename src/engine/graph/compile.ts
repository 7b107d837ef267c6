/**
 * @file Compiles one function of a program to a graph: traces its body, then adds placeholders, reads of state and the tensors
 * to fetch. commit.ts stores its results in state.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { FunctionResult, FunctionSpec, ProgramSpec, TensorRecord, TensorSpec } from '../program.js';
import { checkAssigned, checkOutputs, lookUp } from '../program.js';
import { castProductsToBfloat16 } from './bfloat16.js';
import { addStores, type NamedOutput } from './commit.js';
import { type Graph, type GraphNode, type Output, plainName } from './graph.js';
import { tensorName } from './graphdef.js';
import { asStored, readStored } from './stored.js';
import { outputOfTensor, trace, tracedTensor } from './trace.js';

/** A compiled function in the form that the addon calls. */
export interface Entry {
  readonly feeds: readonly { readonly name: string; readonly spec: TensorSpec }[];
  readonly feedNames: readonly string[];
  readonly fetches: readonly string[];
  readonly fetchNames: readonly string[];
  /** State that must be written before the call; `writes` is state that the call writes. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

/**
 * Appends the function `name` to `graph`.
 *
 * @throws TraceError for code that cannot be compiled, ProgramError for a result that does not match the state.
 */
export function compileFunction(
  graph: Graph,
  name: string,
  spec: FunctionSpec,
  stateSpecs: ProgramSpec['state'],
  handles: ReadonlyMap<string, GraphNode>,
): Entry {
  const reads = new Map<string, Output>();
  const kept: tf.Tensor[] = [];
  const feeds = Object.entries(spec.inputs).map(([input, inputSpec]) => ({ name: input, spec: inputSpec }));
  const placeholders = feeds.map(({ name: input, spec: inputSpec }, index) =>
    addPlaceholder(graph, `input_${index}_${plainName(input)}`, inputSpec),
  );
  const results = trace(graph, () => {
    const state: Record<string, tf.Tensor> = {};
    for (const [stateName, stateSpec] of Object.entries(stateSpecs)) {
      // Read once, on first use: every use in a function gets the value from before the call.
      let tensor: tf.Tensor | undefined;
      Object.defineProperty(state, stateName, {
        enumerable: true,
        get: () => {
          if (tensor === undefined) {
            const { read, value } = readStored(graph, handles.get(stateName)!, stateSpec);
            reads.set(stateName, read);
            // Kept, since the first use may be inside a tidy and the second after it.
            tensor = tf.keep(tracedTensor(value));
            kept.push(tensor);
          }
          return tensor;
        },
      });
    }
    const inputs = Object.fromEntries(feeds.map((each, index) => [each.name, tracedTensor(placeholders[index]!)]));
    try {
      const result: FunctionResult = spec.body(state, inputs);
      checkOutputs(name, spec, result.outputs ?? {});
      return { outputs: named(result.outputs), assigns: named(result.assign) };
    } finally {
      tf.dispose(kept);
    }
  });
  const now = spec.precision === 'bf16' ? castProductsToBfloat16(graph) : (output: Output) => output;
  const assigns = results.assigns.map(([key, value]) => [key, now(value)] as const);
  for (const [state, value] of assigns) checkAssigned(name, state, lookUp(stateSpecs, 'state', state), value);
  const { outputs, stores, gates } = addStores(graph, {
    functionName: name,
    outputs: results.outputs.map(([key, value]) => [key, now(value)] as const),
    assigns: assigns.map(([state, value]) => [state, asStored(graph, value, stateSpecs[state]!)] as const),
    handles,
    reads,
    checkNumerics: spec.checkNumerics === true,
  });
  const fetches = outputs.map(([key, value], index) =>
    graph.add('Identity', [value], value, {
      attributes: { T: { type: value.dtype } },
      name: `output_${index}_${plainName(key)}`,
      control: gates,
    }),
  );
  if (stores.length > 0 || fetches.length === 0) fetches.push(addTarget(graph, [...stores, ...gates]));
  return {
    feeds,
    feedNames: placeholders.map(tensorName),
    fetches: outputs.map(([key]) => key),
    fetchNames: fetches.map(tensorName),
    reads: [...reads.keys()],
    writes: assigns.map(([state]) => state),
  };
}

function named(tensors: TensorRecord = {}): NamedOutput[] {
  return Object.entries(tensors).map(([name, tensor]) => [name, outputOfTensor(tensor)]);
}

export function addPlaceholder(graph: Graph, name: string, spec: TensorSpec): Output {
  return graph.add('Placeholder', [], spec, {
    name,
    attributes: { dtype: { type: spec.dtype }, shape: { shape: spec.shape } },
  });
}

/** A constant that waits for `nodes`, since only tensors can be fetched. */
function addTarget(graph: Graph, nodes: readonly GraphNode[]): Output {
  const value = { dtype: 'int32', shape: [], data: Int32Array.of(0) } as const;
  return graph.add('Const', [], value, {
    name: 'done',
    attributes: { dtype: { type: 'int32' }, value: { tensor: value } },
    control: nodes,
  });
}
