/**
 * @file Compiles one function of a program to a graph: traces its body, rounds the operands of its matrix products to
 * bfloat16 if it asks for that, then adds placeholders, reads of state and the tensors to fetch. commit.ts stores its
 * results in state.
 */
import * as tf from '@tensorflow/tfjs-core';
import { cast } from '../lowering/emit.js';
import { nativeOps } from '../lowering/native-ops.js';
import type { FunctionResult, FunctionSpec, ProgramSpec, TensorRecord, TensorSpec } from '../program.js';
import { checkAssigned, checkOutputs, lookUp } from '../program.js';
import { take } from '../shape.js';
import { addStores, type NamedOutput } from './commit.js';
import { type Graph, type GraphNode, type Output, outputOf, plainName } from './graph.js';
import { tensorName } from './graphdef.js';
import { asStored, readStored, widenedFrom } from './stored.js';
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

const products = new Set(['MatMul', 'BatchMatMulV2', 'Einsum']);

/** Ops that select parts of their first input, with the attribute of its type. They are applied before widening. */
const picks: Readonly<Record<string, string>> = { GatherV2: 'Tparams', SplitV: 'T' };

/**
 * Rounds the operands of every matrix product to bfloat16; sums are float32. On a device that multiplies bfloat16,
 * state stored as bfloat16 is used without conversion, and the product's result is rounded to the nearest bfloat16 (by oneDNN
 * or cuBLAS), then widened. Elsewhere the rounded operands are widened first and the result stays float32: TensorFlow's
 * own bfloat16 product truncates its result there, which biases every value towards 0. Each operand is cast once.
 *
 * @returns a function from tensors of the old graph to those of the new one.
 */
function castProductsToBfloat16(graph: Graph): (output: Output) => Output {
  const nodes = graph.nodes.splice(0);
  const narrowed = new Map<string, Output>();
  const rounded = new Map<string, Output>();
  /** The new outputs of replaced nodes, by output number. */
  const replaced = new Map<GraphNode, readonly Output[]>();
  const current = (output: Output): Output => replaced.get(output.node)?.[output.index] ?? output;
  const widen = (outputs: readonly Output[]) => outputs.map((output) => cast(graph, output, 'float32'));
  const once = (cache: Map<string, Output>, input: Output, make: () => Output): Output => {
    const key = `${input.node.name}:${input.index}`;
    const operand = cache.get(key) ?? make();
    cache.set(key, operand);
    return operand;
  };
  const narrow = (input: Output) => once(narrowed, input, () => widenedFrom(input) ?? cast(graph, input, 'bfloat16'));
  const round = (input: Output) =>
    widenedFrom(input) === undefined ? once(rounded, input, () => cast(graph, narrow(input), 'float32')) : input;
  for (const node of nodes) {
    node.inputs.splice(0, node.inputs.length, ...node.inputs.map(current));
    node.control.splice(
      0,
      node.control.length,
      ...node.control.map((before) => replaced.get(before)?.[0]?.node ?? before),
    );
    const [type] = node.outputs;
    const typeName = picks[node.op];
    const whole = typeName === undefined ? undefined : widenedFrom(node.inputs[0]!);
    if (node.op === nativeOps.linear && node.inputs[1]!.dtype !== 'uint8') {
      // The op rounds its rows itself and sums in float32. With a weight stored as bytes, it rounds nothing.
      const weight = node.inputs[1]!;
      node.inputs[1] = weight.dtype === 'bfloat16' ? weight : narrow(weight);
      Object.assign(node.attributes, { W: { type: 'bfloat16' }, round: { bool: true } });
      graph.nodes.push(node);
    } else if (node.op === nativeOps.product) {
      // The op rounds float32 operands itself and sums in float32.
      const [a, b] = take(
        node.inputs.map((input) => widenedFrom(input) ?? input),
        2,
      );
      node.inputs.splice(0, 2, a, b);
      Object.assign(node.attributes, { Ta: { type: a.dtype }, Tb: { type: b.dtype }, round: { bool: true } });
      graph.nodes.push(node);
    } else if (typeName !== undefined && whole !== undefined) {
      const attributes = { ...node.attributes, [typeName]: { type: 'bfloat16' } } as const;
      const types = node.outputs.map(({ shape }) => ({ dtype: 'bfloat16', shape }) as const);
      const part = graph.addNode(node.op, [whole, ...node.inputs.slice(1)], types, { attributes });
      replaced.set(node, widen(types.map((_, index) => outputOf(part, index))));
    } else if (products.has(node.op) && type?.dtype === 'float32' && !graph.products.multipliesBfloat16) {
      node.inputs.splice(0, node.inputs.length, ...node.inputs.map(round));
      graph.nodes.push(node);
    } else if (products.has(node.op) && type?.dtype === 'float32') {
      const attributes = { ...node.attributes, T: { type: 'bfloat16' } } as const;
      const product = graph.add(
        node.op,
        node.inputs.map(narrow),
        { dtype: 'bfloat16', shape: type.shape },
        { attributes },
      );
      replaced.set(node, widen([product]));
    } else {
      graph.nodes.push(node);
    }
  }
  return current;
}
