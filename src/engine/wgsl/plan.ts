/**
 * @file Plans a traced function: which values are inlined and which are stored, the order of the kernels, and the places of
 * temporary results.
 */
import type { Entry } from '../graph/compile.js';
import type { Graph, GraphNode, Output } from '../graph/graph.js';
import { nativeOps } from '../lowering/native-ops.js';
import { sizeOf, take } from '../shape.js';
import { attribute, constantOf, expressionOf, loops, Unsupported } from './expressions.js';
import {
  type Dispatch,
  isHalf,
  KernelWriter,
  keyOf,
  maxSlots,
  NeedsMemory,
  type Place,
  type Values,
  wordsIn,
} from './kernel.js';
import { kernels, nativeExpressions } from './kernels/fused.js';
import { openGroups } from './kernels/grouped.js';
import { isProduct, productKernel } from './kernels/products.js';
import { isLongSum, isWide, longSum, wideReduction } from './kernels/rows.js';
import { isTemp, openConstants, openTemps, placeInputs, placeTemps } from './memory.js';
import { openBatch, orderNodes, placeholderNumbers } from './schedule.js';
import { rowThreads, type Tuning } from './tuning.js';
import {
  countUses,
  inliningCost,
  isView,
  type StatePlaces,
  source,
  statePlace,
  uniform,
  wordsOf,
  writtenHandles,
} from './uses.js';

export interface FunctionPlan {
  readonly outputs: readonly { readonly name: string; readonly value: Output; readonly place: Place }[];
  /** Names of checked tensors, in the order in which the first that is not finite is reported. */
  readonly checked: readonly string[];
  readonly first: readonly Dispatch[];
  readonly second: readonly Dispatch[];
  /** Where each input goes, in elements of the input buffer. */
  readonly inputs: readonly Place[];
  readonly inputElements: number;
  /** Elements of each buffer of temporary results. */
  readonly tempElements: readonly number[];
  /** Constants that are not uniform, joined; `places` of tables are filled in after planning. */
  readonly constants: Uint32Array<ArrayBuffer>;
}

/** What a program decides for all of its functions. */
export interface PlanContext {
  readonly states: StatePlaces;
  /** Buffers of the states. */
  readonly arenas: readonly string[];
  readonly tuning: Tuning;
  /** Most elements of a buffer, and most buffers of a kernel besides inputs, constants and flags. */
  readonly mostElements: number;
  readonly mostBuffers: number;
}

/** @param assigned buffers of the temporary results in the order in which they are made, if one is not enough. */
export function planFunction(
  graph: Graph,
  entry: Entry,
  context: PlanContext,
  assigned?: readonly string[],
): FunctionPlan {
  const { states, arenas, tuning, mostElements, mostBuffers } = context;
  const { outputs, first, second, stores } = orderNodes(graph, entry);
  const order = [...first, ...second];
  const numbers = placeholderNumbers(entry, graph);
  const { places: inputs, elements: inputElements } = placeInputs(entry.feeds.map(({ spec }) => sizeOf(spec.shape)));
  const constants = openConstants();
  const places = new Map<string, Place>();
  const written = writtenHandles(order);
  const returned = outputs.map(([, value]) => value);
  const uses = countUses(order, returned);
  const inlined = new Map<string, number>();
  const { temps, temp, buffers } = openTemps(mostElements, assigned);
  const common = [...buffers, ...arenas];
  const values: Values = {
    buffers: common.length <= mostBuffers ? common : [],
    source,
    uniform,
    place: (output) => places.get(keyOf(output)),
    body(writer, { node, index }) {
      const native = nativeExpressions[node.op];
      if (native !== undefined) return native(writer, node, index);
      const expression = expressionOf(node);
      if (expression === undefined) throw new Unsupported(`the op ${node.op} of ${node.outputs[0]?.dtype}`);
      return expression(writer, node, index);
    },
    isTiled: ({ node }) => tuning.threads > 1 && isProduct(node),
    tiles: (writer, outputs, main) => productKernel(writer, outputs, tuning, main),
  };

  const steps: { dispatch: Dispatch; late: boolean }[] = [];
  const late = new Set(second);
  const pinned: Place[] = [];
  const push = (node: GraphNode, dispatch: Dispatch) => {
    const { slots, buffers: own } = dispatch;
    if (slots.length > maxSlots) throw new Unsupported(`a kernel of ${slots.length} operands`);
    if (own.length > mostBuffers) throw new Unsupported(`a kernel with ${own.length} buffers`);
    steps.push({ dispatch, late: late.has(node) });
  };
  const batch = openBatch(values, mostBuffers, push);
  const emit = (node: GraphNode, dispatches: readonly Dispatch[]) => {
    for (const dispatch of dispatches) {
      batch.before(dispatch);
      push(node, dispatch);
    }
  };
  /** Emits kernels; writes them again once a product that they cannot contain is in memory. */
  const emitAll = (node: GraphNode, write: () => readonly Dispatch[]): void => {
    let kernels: readonly Dispatch[] | undefined;
    while (kernels === undefined) {
      try {
        kernels = write();
      } catch (error) {
        if (!(error instanceof NeedsMemory)) throw error;
        stored(error.output);
      }
    }
    emit(node, kernels);
  };
  /** Emits a kernel of `count` threads; `main` writes its body. */
  const emitEach = (node: GraphNode, count: number, main: (writer: KernelWriter) => string): void =>
    emitAll(node, () => {
      if (batch.add(node, late.has(node), count, main)) return [];
      const writer = new KernelWriter(values);
      return [writer.each(count, main(writer))];
    });
  /** Keeps values of one size in memory, by one kernel; they must be expressions. */
  const materialize = (outputs: readonly Output[]): void => {
    const to = outputs.map(({ shape }) => temp(sizeOf(shape)));
    emitEach(outputs[0]!.node, to[0]!.size, (writer) =>
      outputs.map((output, index) => writer.store(to[index]!, 'i', writer.element(output, 'i'))).join(' '),
    );
    outputs.forEach((output, index) => {
      places.set(keyOf(source(output)), to[index]!);
    });
  };
  /** A value in memory. */
  const stored = (output: Output): Place => {
    const value = source(output);
    if (!places.has(keyOf(value))) materialize([value]);
    return places.get(keyOf(value))!;
  };

  /** As `stored`, with a word per element. */
  const inWords = (output: Output): Place => {
    if (stored(output).packed) materialize([output]);
    return stored(output);
  };

  const checks: { readonly name: string; readonly value: Output }[] = [];
  let isFinished = false;
  const groups = openGroups({ values, stored: inWords, temp, addConstant: constants.add, emit, places });
  for (const node of order) {
    if (node.op === nativeOps.sumOfSquares) {
      stored(node.inputs[0]!);
      groups.squares.push(node);
      continue;
    }
    if (node.op === nativeOps.adamW) {
      stored(node.inputs[3]!);
      for (const input of node.inputs.slice(4)) if (uniform(source(input)) === undefined) stored(input);
      groups.adam.push(node);
      node.outputs.forEach((_, index) => {
        places.set(`${node.name}:${index}`, statePlace(states, node.inputs[index]!));
      });
      continue;
    }
    if (node.op === 'CheckNumerics') {
      checks.push({ name: String(attribute(node, 'message')).split(':')[1]!, value: node.inputs[0]! });
      continue;
    }
    if (isView(node) || node.op === 'NoOp' || node.op === 'VarHandleOp') continue;
    if (isGradientSum(node)) continue;
    if (!['Const', 'Placeholder', 'ReadVariableOp'].includes(node.op)) groups.flush();
    if (stores.has(node)) finish();
    plan(node);
  }
  groups.flush();
  finish();
  batch.flush();
  /** Leaves a sum of gradients, or its zeros, to the next grouped kernel, unless the gradient's own kernel adds to it. */
  function isGradientSum(node: GraphNode): boolean {
    const isAdd = node.op === 'AssignAddVariableOp';
    if (!isAdd && node.op !== 'AssignVariableOp') return false;
    const [handle, value] = take(node.inputs, 2);
    if (!isAdd && (value.node.op !== 'ZerosLike' || late.has(node))) return false;
    if (isAdd && isHalf(value.dtype)) throw new Unsupported(`a sum in ${value.dtype}`);
    const [to, from] = [states.get(handle.node)!, isAdd ? places.get(keyOf(source(value))) : undefined];
    if (isAdd && from === undefined) plan(node);
    else {
      if (groups.adds.some((other) => other.to === to)) groups.flush();
      if (stores.has(node)) finish();
      groups.adds.push({ node, to, ...(from && { from }) });
    }
    return true;
  }
  /** Copies the results before the stores, since a result may be state that a store changes. */
  function finish(): void {
    if (isFinished) return;
    isFinished = true;
    batch.flush();
    returned.forEach(keepOutput);
    const checkedValues = checks.map(({ value }) => value);
    if (checkedValues.length > 0) groups.check(checkedValues, order[0]!);
  }

  function keepOutput(value: Output): void {
    const place = stored(value);
    // Outputs are copied from temporary memory.
    pinned.push(isTemp(place) ? place : temp(place.size));
    if (isTemp(place)) return;
    const writer = new KernelWriter(values);
    const copy = writer.store(pinned.at(-1)!, 'i', writer.element(value, 'i'));
    steps.push({ dispatch: writer.each(place.size, copy), late: false });
  }
  const firstSteps = steps.filter((step) => !step.late).map(({ dispatch }) => dispatch);
  const secondSteps = steps.filter((step) => step.late).map(({ dispatch }) => dispatch);
  const tempElements = placeTemps([...firstSteps, ...secondSteps], pinned, mostElements, assigned !== undefined);
  // Kernels name their buffers. With several, write the kernels again now that each result's buffer is known.
  if (tempElements.length > 1 && assigned === undefined) {
    const known = temps.map(({ buffer }) => buffer);
    return planFunction(graph, entry, context, known);
  }
  return {
    outputs: outputs.map(([name, value], index) => ({ name, value, place: pinned[index]! })),
    checked: checks.map(({ name }) => name),
    first: firstSteps,
    second: secondSteps,
    inputs,
    inputElements: Math.max(inputElements, 4),
    tempElements,
    constants: constants.table(),
  };

  function plan(node: GraphNode): void {
    switch (node.op) {
      case 'Const': {
        const output = { node, index: 0, ...node.outputs[0]! };
        if (uniform(output) !== undefined || sizeOf(output.shape) === 0) return;
        const { data } = constantOf(output);
        places.set(keyOf(output), constants.add(wordsOf(data)));
        return;
      }
      case 'ZerosLike':
      case 'OnesLike':
        return;
      case 'Placeholder':
        places.set(`${node.name}:0`, inputs[numbers.get(node)!]!);
        return;
      case 'ReadVariableOp':
        places.set(`${node.name}:0`, states.get(node.inputs[0]!.node)!);
        return;
      case 'AssignVariableOp': {
        const [handle, value] = take(node.inputs, 2);
        store(node, states.get(handle.node)!, value);
        return;
      }
      case 'AssignAddVariableOp': {
        const to = states.get(node.inputs[0]!.node)!;
        const value = node.inputs[1]!;
        emitEach(node, to.size, (writer) =>
          writer.store(to, 'i', `${writer.load(to, 'i')} + ${writer.element(value, 'i')}`),
        );
        return;
      }
      case 'InplaceUpdate': {
        const [state, indices, rows] = take(node.inputs, 3);
        const to = statePlace(states, state);
        const width = sizeOf(rows.shape.slice(1));
        emitEach(node, sizeOf(rows.shape), (writer) => {
          const row = `u32(${writer.element(indices, `i / ${width}u`)})`;
          return writer.store(to, `${row} * ${width}u + i % ${width}u`, writer.element(rows, 'i'));
        });
        places.set(`${node.name}:0`, to);
        return;
      }
      default:
        compute(node);
    }
  }

  function store(node: GraphNode, to: Place, value: Output): void {
    emitEach(node, wordsIn(to), (writer) =>
      writer.store(to, 'i', to.packed ? writer.pair(value, 'i', to) : writer.element(value, 'i')),
    );
  }

  function compute(node: GraphNode): void {
    const isReduced = isWide(node, tuning);
    const kernel = isReduced ? wideReduction : isLongSum(node) ? longSum : kernels[node.op];
    if (kernel !== undefined) {
      for (const input of isReduced ? [] : node.inputs) {
        const value = source(input);
        if (uniform(value) === undefined && value.node.op !== 'Const') stored(value);
      }
      const results = node.outputs.map(({ shape }, index) => {
        const to = temp(sizeOf(shape));
        places.set(`${node.name}:${index}`, to);
        return to;
      });
      const [{ shape }] = take(node.inputs, 1);
      const threads = rowThreads(tuning, isReduced ? sizeOf(shape) / results[0]!.size : (shape.at(-1) ?? 1));
      const own = { values, threads, result: (_: GraphNode, index: number) => results[index]!, scratch: temp };
      emitAll(node, () => kernel(own, node));
      return;
    }
    if (expressionOf(node) === undefined && nativeExpressions[node.op] === undefined) {
      throw new Unsupported(`the op ${node.op} of ${node.outputs[0]?.dtype}`);
    }
    const isLoop = loops.has(node.op);
    const used = node.outputs
      .map((type, index) => ({ node, index, ...type }))
      .filter((output) => uses.has(keyOf(output)) && sizeOf(output.shape) > 0);
    if (used.length === 0) return;
    // Loops read their operands many times.
    if (isLoop) for (const input of node.inputs) prepareOperand(node, input);
    const choice = { inlined, written, isTiled: values.isTiled(used[0]!), isLoop, results: used.length };
    const kept = used.filter((output) => {
      const key = keyOf(output);
      const cost = inliningCost(node, sizeOf(output.shape), uses.get(key)!, choice);
      if (cost !== undefined) inlined.set(key, cost);
      return cost === undefined;
    });
    // One kernel for all results computes what they share once.
    const isTogether = kept.length > 1 && kept.every(({ shape }) => sizeOf(shape) === sizeOf(kept[0]!.shape));
    for (const outputs of isTogether ? [kept] : kept.map((output) => [output])) materialize(outputs);
  }

  /** Operands of products and reductions are in memory, unless a reduction reads each element once. */
  function prepareOperand(node: GraphNode, input: Output): void {
    const value = source(input);
    if (value.node.op === 'Const' || places.has(keyOf(value)) || uniform(value) !== undefined) return;
    if (!['MatMul', 'BatchMatMulV2', 'Einsum'].includes(node.op)) return;
    // Rounding an operand, or reading a part of one in 2 bytes, costs less than memory for its result.
    if (isHalf(value.dtype) && inlined.has(keyOf(value))) prepareOperand(node, value.node.inputs[0]!);
    else stored(value);
  }
}
