/** @file Lowerings of the tfjs kernels that compute element by element or reduce. Most differ from a TensorFlow op only by name. */
import type * as tf from '@tensorflow/tfjs-core';
import { type Graph, type Output, outputOf } from '../graph/graph.js';
import { normalizeAxes, normalizeAxis, reducedShape } from '../shape.js';
import { binary, cast, graphDType, type Inputs, type Lowering, reduce, scalar, select, unary } from './emit.js';

type Table = Readonly<Record<string, string>>;

/** tfjs kernel -> TensorFlow op, for `x` of any shape. */
const unaryOps: Table = {
  ...sameNames('Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Elu Erf Exp Expm1 Floor Log Log1p Neg OnesLike'),
  ...sameNames('Reciprocal Relu Relu6 Rsqrt Selu Sigmoid Sign Sin Sinh Softplus Sqrt Square Tan Tanh ZerosLike'),
  Round: 'Rint',
};

const binaryOps: Table = {
  ...sameNames('Sub RealDiv FloorDiv Maximum Minimum Pow SquaredDifference Atan2'),
  Add: 'AddV2',
  Multiply: 'Mul',
  Mod: 'FloorMod',
};

const testOps: Table = sameNames('IsFinite IsInf IsNan');

const comparisonOps: Table = sameNames('Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr');

/** Reductions, with the attribute of their axes, which has two names in tfjs. */
const reductionAxes: Table = {
  Sum: 'axis',
  Prod: 'axis',
  Min: 'axis',
  All: 'axis',
  Any: 'axis',
  Max: 'reductionIndices',
};

function sameNames(names: string): Table {
  return Object.fromEntries(names.split(' ').map((name) => [name, name]));
}

const arithmetic = {
  Identity: (_graph, { x }: Inputs<'x'>) => x,
  Mean: (graph, inputs: Inputs<'x'>, { axis, keepDims }: tf.MeanAttrs) => {
    // The mean of integers is a float32 in tfjs; TensorFlow's would be rounded.
    const x = cast(graph, inputs.x, 'float32');
    return reduce(graph, 'Mean', x, normalizeAxes(axis, x.shape.length), Boolean(keepDims));
  },
  LogicalNot: (graph, { x }: Inputs<'x'>) => graph.add('LogicalNot', [x], { dtype: 'bool', shape: x.shape }),
  Cast: (graph, { x }: Inputs<'x'>, { dtype }: tf.CastAttrs) => cast(graph, x, graphDType(dtype)),
  AddN: (graph, inputs: Inputs) => {
    const terms = Object.values(inputs);
    const first = terms[0]!;
    return graph.add('AddN', terms, first, { attributes: { N: { int: terms.length }, T: { type: first.dtype } } });
  },
  ClipByValue: (graph, { x }: Inputs<'x'>, { clipValueMin, clipValueMax }: tf.ClipByValueAttrs) => {
    const low = scalar(graph, x.dtype, clipValueMin);
    const high = scalar(graph, x.dtype, clipValueMax);
    return binary(graph, 'Minimum', binary(graph, 'Maximum', x, low), high);
  },
  Step: (graph, { x }: Inputs<'x'>, { alpha }: tf.StepAttrs) => {
    const above = binary(graph, 'Greater', x, scalar(graph, x.dtype, 0), 'bool');
    const step = select(graph, above, scalar(graph, x.dtype, 1), scalar(graph, x.dtype, alpha));
    // NaN is not above zero but must stay NaN, as in tfjs's own kernels.
    return x.dtype === 'float32' ? select(graph, unary(graph, 'IsNan', x, 'bool'), x, step) : step;
  },
  LeakyRelu: (graph, { x }: Inputs<'x'>, { alpha }: tf.LeakyReluAttrs) =>
    graph.add('LeakyRelu', [x], x, { attributes: { T: { type: x.dtype }, alpha: { float: alpha } } }),
  Softmax: (graph, { logits }: Inputs<'logits'>, { dim }: tf.SoftmaxAttrs) => lastAxis(graph, 'Softmax', logits, dim),
  LogSoftmax: (graph, { logits }: Inputs<'logits'>, { axis }: tf.LogSoftmaxAttrs) =>
    lastAxis(graph, 'LogSoftmax', logits, axis),
  ArgMax: (graph, { x }: Inputs<'x'>, { axis }: tf.ArgMaxAttrs) => argument(graph, 'ArgMax', x, axis),
  ArgMin: (graph, { x }: Inputs<'x'>, { axis }: tf.ArgMinAttrs) => argument(graph, 'ArgMin', x, axis),
  Cumsum: (graph, { x }: Inputs<'x'>, attrs: tf.CumsumAttrs) => cumulative(graph, 'Cumsum', x, attrs),
  Cumprod: (graph, { x }: Inputs<'x'>, attrs: tf.CumprodAttrs) => cumulative(graph, 'Cumprod', x, attrs),
  TopK: (graph, { x }: Inputs<'x'>, { k, sorted }: tf.TopKAttrs) => {
    const shape = [...x.shape.slice(0, -1), k];
    const results = [{ dtype: x.dtype, shape }, { dtype: 'int32', shape } as const];
    // The dtypes of k and the indices are int32 by default; TensorFlow 2.9 has no attributes to say so.
    const attributes = { T: { type: x.dtype }, sorted: { bool: sorted } };
    const node = graph.addNode('TopKV2', [x, graph.int(k)], results, { attributes });
    return [outputOf(node, 0), outputOf(node, 1)];
  },
} satisfies Record<string, Lowering>;

function lastAxis(graph: Graph, op: string, x: Output, axis: number): Output {
  if (axis !== -1 && axis !== x.shape.length - 1) throw new Error(`${op} works on the last axis, not on axis ${axis}`);
  return unary(graph, op, x);
}

function argument(graph: Graph, op: string, x: Output, axis: number): Output {
  const along = normalizeAxis(axis, x.shape.length);
  return graph.add(
    op,
    [x, graph.int(along)],
    { dtype: 'int32', shape: reducedShape(x.shape, [along], false) },
    { attributes: { T: { type: x.dtype }, Tidx: { type: 'int32' }, output_type: { type: 'int32' } } },
  );
}

function cumulative(graph: Graph, op: string, x: Output, { axis, exclusive, reverse }: tf.CumsumAttrs): Output {
  return graph.add(op, [x, graph.int(axis)], x, {
    attributes: {
      T: { type: x.dtype },
      Tidx: { type: 'int32' },
      exclusive: { bool: Boolean(exclusive) },
      reverse: { bool: Boolean(reverse) },
    },
  });
}

function fromTable(names: Table, lowering: (op: string) => Lowering): Record<string, Lowering> {
  return Object.fromEntries(Object.entries(names).map(([name, op]) => [name, lowering(op)]));
}

type X = Inputs<'x'>;
type AB = Inputs<'a' | 'b'>;
type ReductionAttrs = Readonly<Record<string, number | number[]>> & { readonly keepDims?: boolean };

export const elementwiseLowerings: Readonly<Record<string, Lowering>> = {
  ...fromTable(
    unaryOps,
    (op) =>
      (graph, { x }: X) =>
        unary(graph, op, x),
  ),
  ...fromTable(
    testOps,
    (op) =>
      (graph, { x }: X) =>
        unary(graph, op, x, 'bool'),
  ),
  ...fromTable(
    binaryOps,
    (op) =>
      (graph, { a, b }: AB) =>
        binary(graph, op, a, b),
  ),
  ...fromTable(
    comparisonOps,
    (op) =>
      (graph, { a, b }: AB) =>
        binary(graph, op, a, b, 'bool'),
  ),
  ...Object.fromEntries(
    Object.entries(reductionAxes).map(([op, axes]): [string, Lowering] => [
      op,
      (graph, { x }: X, attrs: ReductionAttrs) =>
        reduce(graph, op, x, normalizeAxes(attrs[axes], x.shape.length), Boolean(attrs.keepDims)),
    ]),
  ),
  ...arithmetic,
};
