/**
 * @file Plans a traced function: which values are inlined and which are stored, the order of the kernels, and the places of
 * temporary results.
 */
import type { Entry } from '../graph/compile.js';
import type { Graph, GraphNode, Output } from '../graph/graph.js';
import { nativeOps } from '../lowering/native-ops.js';
import { sizeOf } from '../shape.js';
import { attribute, constantOf, expressionOf, loops, Unsupported } from './expressions.js';
import { type Dispatch, KernelWriter, keyOf, maxSlots, NeedsMemory, type Place, type Values } from './kernel.js';
import { kernels, nativeExpressions } from './kernels/fused.js';
import { adamWAll, checkAll, squaresAll, type Word } from './kernels/grouped.js';
import { isProduct, isSameGrid, productKernel, productOf } from './kernels/products.js';
import { isWide, wideReduction } from './kernels/rows.js';
import { placeInputs, placeTemps } from './memory.js';
import { orderNodes, placeholderNumbers } from './order.js';
import { rowThreads, type Tuning } from './tuning.js';
import { countUses, inPlaceHandles, type StatePlaces, statePlace, views, wordsOf } from './uses.js';

export interface FunctionPlan {
  readonly outputs: readonly { readonly name: string; readonly value: Output; readonly place: Place }[];
  /** Names of checked tensors, in the order in which the first that is not finite is reported. */
  readonly checked: readonly string[];
  readonly first: readonly Dispatch[];
  readonly second: readonly Dispatch[];
  /** Where each input goes, in elements of the input buffer. */
  readonly inputs: readonly Place[];
  readonly inputElements: number;
  readonly tempElements: number;
  /** Constants that are not uniform, joined; `places` of tables are filled in after planning. */
  readonly constants: Uint32Array<ArrayBuffer>;
}

/** Functions of so many operations are compiled together, at most. */
const maxInlined = 24;

export function planFunction(graph: Graph, entry: Entry, states: StatePlaces, tuning: Tuning): FunctionPlan {
  const { outputs, first, second, stores } = orderNodes(graph, entry);
  const order = [...first, ...second];
  const numbers = placeholderNumbers(entry, graph);
  const { places: inputs, elements: inputElements } = placeInputs(entry.feeds.map(({ spec }) => sizeOf(spec.shape)));
  const constants: (readonly Word[])[] = [];
  let constantElements = 0;
  const addConstant = (words: readonly Word[]): Place => {
    const place = { buffer: 'constants', offset: constantElements, size: words.length };
    constants.push(words);
    constantElements += words.length;
    return place;
  };

  const source = (output: Output): Output => {
    let value = output;
    while (views.has(value.node.op)) value = value.node.inputs[0]!;
    return value;
  };
  const places = new Map<string, Place>();
  const uniform = (output: Output): number | undefined => {
    const { node } = output;
    if (node.op === 'ZerosLike') return 0;
    if (node.op === 'OnesLike') return 1;
    if (node.op !== 'Const') return undefined;
    const { data, shape } = constantOf(output);
    return data.length === 1 || sizeOf(shape) === 1 ? data[0] : undefined;
  };

  const written = new Set(
    order.flatMap((node) => [
      ...inPlaceHandles(node),
      ...(node.op === 'AssignVariableOp' ? [node.inputs[0]!.node] : []),
    ]),
  );
  const uses = countUses(
    order,
    outputs.map(([, value]) => value),
    source,
  );
  const inlined = new Map<string, number>();
  const temp = (size: number): Place => ({ buffer: 'temps', offset: -1, size });
  const values: Values = {
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
    tiles(writer, outputs, main) {
      const products = outputs.map(({ node }) => productOf(node));
      const other = products.findIndex((product) => !isSameGrid(product, products[0]!));
      if (other > 0) throw new NeedsMemory(outputs[other]!);
      if (products.length > 2) throw new NeedsMemory(outputs[2]!);
      return productKernel(writer, products, tuning, main);
    },
  };

  const steps: { dispatch: Dispatch; late: boolean }[] = [];
  const late = new Set(second);
  const pinned: Place[] = [];
  const emit = (node: GraphNode, dispatches: readonly Dispatch[]) => {
    for (const dispatch of dispatches) {
      if (dispatch.slots.length > maxSlots) throw new Unsupported(`a kernel of ${dispatch.slots.length} operands`);
      steps.push({ dispatch, late: late.has(node) });
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
      const writer = new KernelWriter(values);
      return [writer.each(count, main(writer))];
    });
  /** Keeps a value in memory; it must be an expression. */
  const materialize = (output: Output, to: Place = temp(sizeOf(output.shape))): Place => {
    emitEach(output.node, to.size, (writer) => writer.store(to, 'i', writer.element(output, 'i')));
    places.set(keyOf(source(output)), to);
    return to;
  };
  /** A value in memory. */
  const stored = (output: Output): Place => {
    const value = source(output);
    return places.get(keyOf(value)) ?? materialize(value);
  };

  const groups = {
    checks: [] as { name: string; value: Output }[],
    squares: [] as GraphNode[],
    adam: [] as GraphNode[],
  };
  const checked: string[] = [];
  let isFinished = false;
  const flush = () => {
    const context = { values, stored, temp, addConstant, emit, places };
    if (groups.squares.length > 0) squaresAll(context, groups.squares.splice(0));
    if (groups.adam.length > 0) adamWAll(context, groups.adam.splice(0));
  };
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
        places.set(`${node.name}:${index}`, statePlace(states, node.inputs[index]!, source));
      });
      continue;
    }
    if (node.op === 'CheckNumerics') {
      groups.checks.push({ name: String(attribute(node, 'message')).split(':')[1]!, value: node.inputs[0]! });
      continue;
    }
    if (views.has(node.op) || node.op === 'NoOp' || node.op === 'VarHandleOp') continue;
    if (!['Const', 'Placeholder', 'ReadVariableOp'].includes(node.op)) flush();
    if (stores.has(node)) finish();
    plan(node);
  }
  flush();
  finish();
  /** Results are copied before the stores, which may change the state that they are. */
  function finish(): void {
    if (isFinished) return;
    isFinished = true;
    for (const [, value] of outputs) keepOutput(value);
    if (groups.checks.length === 0) return;
    for (const { value, name } of groups.checks) {
      stored(value);
      checked.push(name);
    }
    const context = { values, stored, temp, addConstant, emit, places };
    checkAll(
      context,
      groups.checks.map(({ value }) => value),
      order[0]!,
    );
  }

  function keepOutput(value: Output): void {
    const place = stored(value);
    // Outputs are copied from temporary memory.
    if (place.buffer !== 'temps') {
      const copy = temp(place.size);
      const writer = new KernelWriter(values);
      steps.push({
        dispatch: writer.each(place.size, writer.store(copy, 'i', writer.element(value, 'i'))),
        late: false,
      });
      pinned.push(copy);
    } else pinned.push(place);
  }
  const firstSteps = steps.filter((step) => !step.late).map(({ dispatch }) => dispatch);
  const secondSteps = steps.filter((step) => step.late).map(({ dispatch }) => dispatch);
  const tempElements = placeTemps([...firstSteps, ...secondSteps], pinned);
  const table = new Uint32Array(Math.max(constantElements, 4));
  let offset = 0;
  for (const words of constants) {
    table.set(
      words.map((word) => (typeof word === 'number' ? word : word.offset)),
      offset,
    );
    offset += words.length;
  }
  return {
    outputs: outputs.map(([name, value], index) => ({ name, value, place: pinned[index]! })),
    checked,
    first: firstSteps,
    second: secondSteps,
    inputs,
    inputElements: Math.max(inputElements, 4),
    tempElements: Math.max(tempElements, 4),
    constants: table,
  };

  function plan(node: GraphNode): void {
    switch (node.op) {
      case 'Const': {
        const output = { node, index: 0, ...node.outputs[0]! };
        if (uniform(output) !== undefined || sizeOf(output.shape) === 0) return;
        const { data } = constantOf(output);
        places.set(keyOf(output), addConstant(wordsOf(data)));
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
        const [handle, value] = node.inputs as [Output, Output];
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
        const [state, indices, rows] = node.inputs as [Output, Output, Output];
        const to = statePlace(states, state, source);
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
    emitEach(node, to.size, (writer) => writer.store(to, 'i', writer.element(value, 'i')));
  }

  function compute(node: GraphNode): void {
    const isReduced = isWide(node, tuning);
    const kernel = isReduced ? wideReduction : kernels[node.op];
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
      const [{ shape }] = node.inputs as [Output];
      const threads = rowThreads(tuning, isReduced ? sizeOf(shape) / results[0]!.size : (shape.at(-1) ?? 1));
      const context = { values, threads, result: (_: GraphNode, index: number) => results[index]!, scratch: temp };
      emitAll(node, () => kernel(context, node));
      return;
    }
    if (expressionOf(node) === undefined && nativeExpressions[node.op] === undefined) {
      throw new Unsupported(`the op ${node.op} of ${node.outputs[0]?.dtype}`);
    }
    const isLoop = loops.has(node.op);
    node.outputs.forEach((type, index) => {
      const output = { node, index, ...type };
      const key = keyOf(output);
      const use = uses.get(key);
      if (use === undefined || sizeOf(type.shape) === 0) return;
      // Loops read their operands many times.
      if (isLoop) for (const input of node.inputs) prepareOperand(node, input);
      // A kernel of tiles is not repeated for the sake of cheap operations after it.
      let cost = values.isTiled(output) ? 7 : 1;
      let reads = false;
      for (const input of node.inputs) {
        const value = source(input);
        cost += inlined.get(keyOf(value)) ?? 0;
        reads ||= value.node.op === 'ReadVariableOp' && written.has(value.node.inputs[0]!.node);
        reads ||= inPlaceHandles(value.node).length > 0;
      }
      const size = sizeOf(type.shape);
      const heavy = isLoop || cost > 6;
      const sameSize = [...use.sizes].every((each) => each === size);
      const fits =
        use.asOperand &&
        cost <= maxInlined &&
        (use.count === 1 ? !heavy || sameSize : cost * use.count <= 6 && !isLoop);
      if (fits && !reads && !(isLoop && use.byLoop)) {
        inlined.set(key, cost);
        return;
      }
      materialize(output);
    });
  }

  /** Operands of products and reductions are in memory, unless a reduction reads each element once. */
  function prepareOperand(node: GraphNode, input: Output): void {
    const value = source(input);
    if (value.node.op === 'Const' || places.has(keyOf(value)) || uniform(value) !== undefined) return;
    const readsOnce = !['MatMul', 'BatchMatMulV2', 'Einsum'].includes(node.op);
    if (!readsOnce) stored(value);
  }
}
