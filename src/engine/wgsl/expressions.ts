/**
 * @file Values as functions of their flat index: element-wise operations, views, gathers, and contractions that loop over their
 * operands. Any of them can be computed inside the kernel that uses it.
 */
import type { ConstantValue, GraphNode, Output } from '../graph/graph.js';
import { type Shape, sizeOf, take } from '../shape.js';
import { binaries, comparisons, floatBinaries, integerBinaries, reductions, tests, unaries } from './formulas.js';
import { broadcastIndex, coordinate, flatIndex, type KernelWriter, literal, scalarOf } from './kernel.js';

/** The body of a WGSL function of `i` for the result number `index` of `node`. */
type Expression = (writer: KernelWriter, node: GraphNode, index: number) => string;

/** The values of a constant: one for all elements, or one per element. */
export function constantOf({ node }: Output): ConstantValue {
  const { value } = node.attributes;
  if (node.op !== 'Const' || value === undefined || !('tensor' in value)) {
    throw new Error(`${node.name} must be a constant, but is a ${node.op}`);
  }
  return value.tensor;
}

/** An operand that says how an op works, such as axes. */
export function numbersOf(output: Output): number[] {
  const { data } = constantOf(output);
  const size = sizeOf(output.shape);
  return Array.from({ length: size }, (_, index) => data[data.length === 1 ? 0 : index]!);
}

export function attribute(node: GraphNode, name: string): number | boolean | string | undefined {
  const value = node.attributes[name];
  if (value === undefined) return undefined;
  if ('int' in value) return value.int;
  if ('float' in value) return value.float;
  if ('bool' in value) return value.bool;
  return 'string' in value ? value.string : undefined;
}

const shapeOf = (node: GraphNode, index = 0): Shape => node.outputs[index]!.shape;

/** The operand `k` at the element that broadcasts to element `i` of the result. */
const broadcast = (writer: KernelWriter, node: GraphNode, k: number) =>
  writer.element(node.inputs[k]!, broadcastIndex(node.inputs[k]!.shape, shapeOf(node)));

/** Ops that loop to compute one element. */
export const loops: ReadonlySet<string> = new Set([
  ...Object.keys(reductions),
  ...['MatMul', 'BatchMatMulV2', 'Einsum', 'ArgMax', 'ArgMin'],
]);

/** How a reduction loops over `k` for the element `i` of its result. */
export function reductionOf(node: GraphNode, i = 'i') {
  const [x, axes] = take(node.inputs, 2);
  const reduced = new Set(numbersOf(axes));
  const { start, next } = reductions[node.op]!;
  const first = x.dtype === 'float32' || Number.isFinite(start) ? start : Math.sign(start) * (2 ** 31 - 1);
  // Coordinates of the kept axes come from `i`, those of the reduced ones from `k`.
  const kept = x.shape.filter((_, axis) => !reduced.has(axis));
  const inner = x.shape.filter((_, axis) => reduced.has(axis));
  let [outerAxis, innerAxis] = [0, 0];
  const coordinates = x.shape.map((_, axis) =>
    reduced.has(axis) ? coordinate(inner, innerAxis++, 'k') : coordinate(kept, outerAxis++, i),
  );
  const count = sizeOf(inner);
  const result = node.op === 'Mean' ? `sum / ${literal('float32', count)}` : 'sum';
  return { x, count, at: flatIndex(x.shape, coordinates), first: literal(x.dtype, first), next, result };
}

function reduction(writer: KernelWriter, node: GraphNode): string {
  const { x, count, at, first, next, result } = reductionOf(node);
  return `var sum = ${first};
  for (var k = 0u; k < ${count}u; k++) { let x = ${writer.element(x, at)}; sum = ${next}; }
  return ${result};`;
}

function argument(writer: KernelWriter, node: GraphNode): string {
  const [x, along] = take(node.inputs, 2);
  const [axis] = take(numbersOf(along), 1);
  const inner = sizeOf(x.shape.slice(axis + 1));
  const count = x.shape[axis]!;
  const index = `(i / ${inner}u) * ${inner * count}u + k * ${inner}u + i % ${inner}u`;
  return `var best = 0; var top = ${writer.element(x, index.replaceAll('k *', '0u *'))};
  for (var k = 1u; k < ${count}u; k++) { let x = ${writer.element(x, index)};
    if (x ${node.op === 'ArgMax' ? '>' : '<'} top) { top = x; best = i32(k); } }
  return best;`;
}

function einsum(writer: KernelWriter, node: GraphNode): string {
  const [left, right] = take(String(attribute(node, 'equation')).split('->'), 2);
  const operands = left.split(',');
  const sizes = new Map<string, number>();
  operands.forEach((letters, k) => {
    [...letters].forEach((letter, axis) => {
      sizes.set(letter, node.inputs[k]!.shape[axis]!);
    });
  });
  const summed = [...sizes.keys()].filter((letter) => !right.includes(letter));
  const inner = summed.map((letter) => sizes.get(letter)!);
  const where = (letter: string) =>
    right.includes(letter)
      ? coordinate(shapeOf(node), right.indexOf(letter))
      : coordinate(inner, summed.indexOf(letter), 'k');
  const factors = operands.map((letters, k) => {
    const x = node.inputs[k]!;
    return writer.element(x, flatIndex(x.shape, [...letters].map(where)));
  });
  return `var sum = 0f; for (var k = 0u; k < ${sizeOf(inner)}u; k++) { sum += ${factors.join(' * ')}; } return sum;`;
}

/** `parts` joined along `axis`: reads the part whose range holds the coordinate. */
function joined(writer: KernelWriter, shape: Shape, parts: readonly Output[], axis: number): string {
  const inner = sizeOf(shape.slice(axis + 1));
  const whole = shape[axis]! * inner;
  let start = 0;
  const cases = parts.map((part, index) => {
    const width = part.shape[axis]! * inner;
    const at = `outer * ${width}u + (within - ${start}u)`;
    start += width;
    const value = `return ${writer.element(part, at)};`;
    return index === parts.length - 1 ? value : `if (within < ${start}u) { ${value} }`;
  });
  return `let outer = i / ${whole}u; let within = i % ${whole}u; ${cases.join(' ')}`;
}

/** Part of a tensor: from `begin`, in steps of `strides`, for a result of shape `shape` with the same rank. */
function part(writer: KernelWriter, x: Output, shape: Shape, begin: readonly number[], strides: readonly number[]) {
  const coordinates = shape.map((_, axis) => {
    const at = coordinate(shape, axis);
    const step = strides[axis]!;
    if (step === 1 && begin[axis] === 0) return at;
    return `u32(${begin[axis]} + i32(${at}) * ${step})`;
  });
  return `return ${writer.element(x, flatIndex(x.shape, coordinates))};`;
}

function stridedSlice(writer: KernelWriter, node: GraphNode): string {
  const [x, from, , steps] = take(node.inputs, 4);
  const masks = ['ellipsis_mask', 'new_axis_mask'].map((name) => attribute(node, name));
  if (masks.some((mask) => mask !== 0)) throw new Unsupported('StridedSlice with an ellipsis or a new axis');
  const [begins, strides] = [numbersOf(from), numbersOf(steps)];
  const [beginMask, shrunk] = [Number(attribute(node, 'begin_mask')), Number(attribute(node, 'shrink_axis_mask'))];
  const shape = [...shapeOf(node)];
  const full = x.shape.map((size, axis) =>
    axis < begins.length ? ((shrunk >> axis) & 1 ? 1 : shape.shift()!) : (shape.shift() ?? size),
  );
  const begin = x.shape.map((size, axis) => {
    const step = strides[axis] ?? 1;
    if (axis >= begins.length || (beginMask >> axis) & 1) return step > 0 ? 0 : size - 1;
    const at = begins[axis]! < 0 ? begins[axis]! + size : begins[axis]!;
    return Math.min(Math.max(at, 0), size - (step > 0 ? 0 : 1));
  });
  return part(
    writer,
    x,
    full,
    begin,
    x.shape.map((_, axis) => strides[axis] ?? 1),
  );
}

function gather(writer: KernelWriter, node: GraphNode): string {
  const [x, indices, along] = take(node.inputs, 3);
  const [axis] = take(numbersOf(along), 1);
  const inner = sizeOf(x.shape.slice(axis + 1));
  const batchDims = Number(attribute(node, 'batch_dims') ?? 0);
  const count = sizeOf(indices.shape.slice(batchDims));
  const perBatch = sizeOf(x.shape.slice(batchDims, axis));
  const batch = batchDims === 0 ? '' : `(i / ${inner * count * perBatch}u) * ${count}u + `;
  const size = x.shape[axis]!;
  // An index out of range reads 0, as TensorFlow's GPU kernel does.
  return `let inner = i % ${inner}u; let chosen = ${writer.element(indices, `${batch}(i / ${inner}u) % ${count}u`)};
  if (chosen < 0 || chosen >= ${size}) { return ${literal(x.dtype, 0)}; }
  return ${writer.element(x, `((i / ${inner * count}u) * ${size}u + u32(chosen)) * ${inner}u + inner`)};`;
}

function padded(writer: KernelWriter, node: GraphNode): string {
  const [x, paddings] = take(node.inputs, 2);
  const value = node.inputs[2];
  const before = numbersOf(paddings).filter((_, index) => index % 2 === 0);
  const at = x.shape.map((_, axis) => `(i32(${coordinate(shapeOf(node), axis)}) - ${before[axis]})`);
  const outside = at.map((each, axis) => `${each} < 0 || ${each} >= ${x.shape[axis]}`).join(' || ') || 'false';
  const inside = flatIndex(
    x.shape,
    at.map((each) => `u32(${each})`),
  );
  return `if (${outside}) { return ${value === undefined ? literal(x.dtype, 0) : writer.element(value, '0u')}; } return ${writer.element(x, inside)};`;
}

/** Something that the compiler cannot express; the program then runs op by op. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';

  /** @param what such as `the op TopKV2 of float32`. @param functionName the function that needs it. */
  constructor(
    readonly what: string,
    functionName?: string,
  ) {
    super(functionName === undefined ? what : `${functionName} needs ${what}`);
  }
}

const shapeExpressions: Readonly<Record<string, Expression>> = {
  DeepCopy: (writer, node) => `return ${broadcast(writer, node, 0)};`,
  BroadcastTo: (writer, node) => `return ${broadcast(writer, node, 0)};`,
  Transpose: (writer, node) => {
    const [x, order] = take(node.inputs, 2);
    const perm = numbersOf(order);
    // Axes of size 1 may move without moving an element.
    const moved = perm.filter((axis) => x.shape[axis] !== 1);
    if (moved.every((axis, index) => index === 0 || moved[index - 1]! < axis))
      return `return ${writer.element(x, 'i')};`;
    const coordinates = x.shape.map((_, axis) => coordinate(shapeOf(node), perm.indexOf(axis)));
    return `return ${writer.element(x, flatIndex(x.shape, coordinates))};`;
  },
  Slice: (writer, node) => {
    const x = node.inputs[0]!;
    return part(
      writer,
      x,
      shapeOf(node),
      numbersOf(node.inputs[1]!),
      x.shape.map(() => 1),
    );
  },
  StridedSlice: stridedSlice,
  SplitV: (writer, node, index) => {
    const [x, sizes, along] = take(node.inputs, 3);
    const [axis] = take(numbersOf(along), 1);
    const before = numbersOf(sizes)
      .slice(0, index)
      .reduce((sum, size) => sum + size, 0);
    const begin = x.shape.map((_, each) => (each === axis ? before : 0));
    return part(
      writer,
      x,
      shapeOf(node, index),
      begin,
      x.shape.map(() => 1),
    );
  },
  Unpack: (writer, node, index) => {
    const x = node.inputs[0]!;
    const axis = Number(attribute(node, 'axis'));
    const shape = shapeOf(node, index).toSpliced(axis, 0, 1);
    return part(
      writer,
      x,
      shape,
      shape.map((_, each) => (each === axis ? index : 0)),
      shape.map(() => 1),
    );
  },
  ConcatV2: (writer, node) => {
    const [axis] = take(numbersOf(node.inputs.at(-1)!), 1);
    return joined(writer, shapeOf(node), node.inputs.slice(0, -1), axis);
  },
  Pack: (writer, node) => {
    const axis = Number(attribute(node, 'axis'));
    const parts = node.inputs.map((input) => ({ ...input, shape: input.shape.toSpliced(axis, 0, 1) }));
    return joined(writer, shapeOf(node), parts, axis);
  },
  Tile: (writer, node) => {
    const x = node.inputs[0]!;
    const coordinates = x.shape.map((size, axis) => `(${coordinate(shapeOf(node), axis)} % ${size}u)`);
    return `return ${writer.element(x, flatIndex(x.shape, coordinates))};`;
  },
  ReverseV2: (writer, node) => {
    const [x, along] = take(node.inputs, 2);
    const axes = numbersOf(along);
    const begin = x.shape.map((size, axis) => (axes.includes(axis) ? size - 1 : 0));
    return part(
      writer,
      x,
      x.shape,
      begin,
      x.shape.map((_, axis) => (axes.includes(axis) ? -1 : 1)),
    );
  },
  Pad: padded,
  PadV2: padded,
  OneHot: (writer, node) => {
    const [indices, depth, on, off] = take(node.inputs, 4);
    const [size] = take(numbersOf(depth), 1);
    const chosen = writer.element(indices, `i / ${size}u`);
    return `return select(${writer.element(off, '0u')}, ${writer.element(on, '0u')}, ${chosen} == i32(i % ${size}u));`;
  },
  GatherV2: gather,
  SelectV2: (writer, node) =>
    `if (${broadcast(writer, node, 0)} != 0) { return ${broadcast(writer, node, 1)}; } return ${broadcast(writer, node, 2)};`,
  Cast: (writer, node) => {
    const x = broadcast(writer, node, 0);
    if (node.outputs[0]!.dtype === 'bfloat16') return `return narrowed(${x});`;
    if (node.outputs[0]!.dtype === 'float16') return `return ofHalf(toHalf(${x}));`;
    if (node.outputs[0]!.dtype === 'bool') return `return i32(${x} != ${literal(node.inputs[0]!.dtype, 0)});`;
    return `return ${scalarOf(node.outputs[0]!.dtype)}(${x});`;
  },
  LogicalNot: (writer, node) => `return i32(${broadcast(writer, node, 0)} == 0);`,
  LeakyRelu: (writer, node) =>
    `let x = ${broadcast(writer, node, 0)}; return select(x * ${literal('float32', Number(attribute(node, 'alpha')))}, x, x > 0f);`,
  Relu: (writer, node) => `return max(${broadcast(writer, node, 0)}, ${literal(node.outputs[0]!.dtype, 0)});`,
  AddN: (writer, node) => `return ${node.inputs.map((_, k) => broadcast(writer, node, k)).join(' + ')};`,
  Einsum: einsum,
  ArgMax: argument,
  ArgMin: argument,
};

function twoOperands(formula: string, isTest: boolean): Expression {
  return (writer, node) =>
    `let a = ${broadcast(writer, node, 0)}; let b = ${broadcast(writer, node, 1)}; return ${isTest ? `i32(${formula})` : formula};`;
}

/** The expression of a node; undefined if it has none. */
export function expressionOf({ op, inputs: [first], outputs }: GraphNode): Expression | undefined {
  if (shapeExpressions[op] !== undefined) return shapeExpressions[op];
  if (reductions[op] !== undefined) return reduction;
  const isFloat = first?.dtype === 'float32';
  if (unaries[op] !== undefined && (isFloat || ['Abs', 'Neg', 'Sign', 'Square', 'Relu6'].includes(op))) {
    return (writer, node) => `let x = ${broadcast(writer, node, 0)}; return ${unaries[op]};`;
  }
  if (tests[op] !== undefined && isFloat) {
    return (writer, node) => `let bits = bitcast<u32>(${broadcast(writer, node, 0)}); return i32(${tests[op]});`;
  }
  if (comparisons[op] !== undefined) return twoOperands(comparisons[op], true);
  if (outputs[0]?.dtype === 'bool') return undefined;
  const formula = binaries[op] ?? (isFloat ? floatBinaries : integerBinaries)[op];
  if (formula !== undefined && (isFloat || op !== 'RealDiv')) return twoOperands(formula, false);
  return undefined;
}
