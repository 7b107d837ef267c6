/**
 * @file What each tfjs kernel becomes in a TensorFlow graph: the ops, their attributes (eager mode infers them, a
 * GraphDef does not) and the shapes and dtypes of the results. The tables below cover the ops that differ only by name;
 * kernels-shape.ts has those that move data.
 *
 * Kernel names, inputs and attributes are those of tfjs-core 4.22 `kernel_names.ts`, op definitions those of
 * tensorflow/core/ops/{math,array,nn}_ops.cc.
 */
import type { DType } from '../dtype.js';
import type { Graph, Output } from '../graph/graph.js';
import { normalizeAxes, reducedShape } from '../shape.js';
import type { Attributes, Kernel } from './emit.js';
import { binary, cast, filled, need, reduce, select, unary } from './emit.js';
import { fusedKernels } from './in-place-ops.js';
import { nativeKernels } from './own-ops.js';
import { shapeKernels } from './shapes.js';

/** tfjs kernel -> TensorFlow op, for `x` of any shape. */
const unaryOps: Record<string, string> = Object.fromEntries(
  [
    ...['Abs', 'Acos', 'Acosh', 'Asin', 'Asinh', 'Atan', 'Atanh', 'Ceil', 'Cos', 'Cosh', 'Elu', 'Erf', 'Exp', 'Expm1'],
    ...[
      'Floor',
      'Log',
      'Log1p',
      'Neg',
      'Reciprocal',
      'Relu',
      'Relu6',
      'Rsqrt',
      'Selu',
      'Sigmoid',
      'Sign',
      'Sin',
      'Sinh',
    ],
    ...['Softplus', 'Sqrt', 'Square', 'Tan', 'Tanh', 'ZerosLike', 'OnesLike'],
  ].map((name) => [name, name]),
);
unaryOps.Round = 'Rint';

const binaryOps: Record<string, string> = {
  Add: 'AddV2',
  Sub: 'Sub',
  Multiply: 'Mul',
  RealDiv: 'RealDiv',
  FloorDiv: 'FloorDiv',
  Maximum: 'Maximum',
  Minimum: 'Minimum',
  Mod: 'FloorMod',
  Pow: 'Pow',
  SquaredDifference: 'SquaredDifference',
  Atan2: 'Atan2',
};

const comparisonOps = ['Equal', 'NotEqual', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'LogicalAnd', 'LogicalOr'];

const testOps: Record<string, string> = { IsFinite: 'IsFinite', IsInf: 'IsInf', IsNan: 'IsNan' };

/** The attribute that holds the axes has two names in tfjs. */
const reductionOps: Record<string, string> = {
  Sum: 'axis',
  Prod: 'axis',
  Min: 'axis',
  All: 'axis',
  Any: 'axis',
  Max: 'reductionIndices',
};

const arithmetic: Record<string, Kernel> = {
  Identity: (_graph, inputs) => need(inputs, 'x'),
  Mean: (graph, inputs, { axis, keepDims }) => {
    // Of whole numbers too the mean is a float32 in tfjs; TensorFlow's would be rounded.
    const x = cast(graph, need(inputs, 'x'), 'float32');
    return reduce(graph, 'Mean', x, normalizeAxes(axis as number | number[], x.shape.length), Boolean(keepDims));
  },
  LogicalNot: (graph, inputs) => {
    const x = need(inputs, 'x');
    return graph.add('LogicalNot', [x], { dtype: 'bool', shape: x.shape });
  },
  Cast: (graph, inputs, { dtype }) => cast(graph, need(inputs, 'x'), dtype as DType),
  AddN: (graph, inputs) => {
    const terms = Object.values(inputs);
    const [first] = terms as [Output];
    return graph.add('AddN', terms, first, { attributes: { N: { int: terms.length }, T: { type: first.dtype } } });
  },
  ClipByValue: (graph, inputs, { clipValueMin, clipValueMax }) => {
    const x = need(inputs, 'x');
    const low = graph.constant(x.dtype, [], filled(x.dtype as DType, clipValueMin as number));
    const high = graph.constant(x.dtype, [], filled(x.dtype as DType, clipValueMax as number));
    return binary(graph, 'Minimum', binary(graph, 'Maximum', x, low), high);
  },
  Step: (graph, inputs, { alpha }) => {
    const x = need(inputs, 'x');
    const number = (value: number) => graph.constant(x.dtype, [], filled(x.dtype as DType, value));
    const above = binary(graph, 'Greater', x, number(0), 'bool');
    const step = select(graph, above, number(1), number(alpha as number));
    // NaN is not above zero and must stay NaN, as in tfjs's own kernels.
    return x.dtype === 'float32' ? select(graph, unary(graph, 'IsNan', x, 'bool'), x, step) : step;
  },
  LeakyRelu: (graph, inputs, { alpha }) => {
    const x = need(inputs, 'x');
    return graph.add('LeakyRelu', [x], x, { attributes: { T: { type: x.dtype }, alpha: { float: alpha as number } } });
  },
  Softmax: (graph, inputs, { dim }) => lastAxis(graph, 'Softmax', need(inputs, 'logits'), dim as number),
  LogSoftmax: (graph, inputs, { axis }) => lastAxis(graph, 'LogSoftmax', need(inputs, 'logits'), axis as number),
  ArgMax: (graph, inputs, { axis }) => argument(graph, 'ArgMax', need(inputs, 'x'), axis as number),
  ArgMin: (graph, inputs, { axis }) => argument(graph, 'ArgMin', need(inputs, 'x'), axis as number),
  Cumsum: (graph, inputs, attributes) => cumulative(graph, 'Cumsum', need(inputs, 'x'), attributes),
  Cumprod: (graph, inputs, attributes) => cumulative(graph, 'Cumprod', need(inputs, 'x'), attributes),
  TopK: (graph, inputs, { k, sorted }) => {
    const x = need(inputs, 'x');
    const shape = [...x.shape.slice(0, -1), k as number];
    const node = graph.addNode(
      'TopKV2',
      [x, graph.int(k as number)],
      [
        { dtype: x.dtype, shape },
        { dtype: 'int32', shape },
      ],
      {
        // The dtypes of k and the indices are int32 by default; TensorFlow 2.9 has no attributes to say so.
        attributes: { T: { type: x.dtype }, sorted: { bool: sorted as boolean } },
      },
    );
    return [
      { node, index: 0, dtype: x.dtype, shape },
      { node, index: 1, dtype: 'int32', shape },
    ];
  },
};

function lastAxis(graph: Graph, op: string, x: Output, axis: number): Output {
  if (axis !== -1 && axis !== x.shape.length - 1) throw new Error(`${op} works on the last axis, not on axis ${axis}`);
  return unary(graph, op, x);
}

function argument(graph: Graph, op: string, x: Output, axis: number | readonly number[]): Output {
  const [normal] = normalizeAxes(axis, x.shape.length) as [number];
  return graph.add(
    op,
    [x, graph.int(normal)],
    { dtype: 'int32', shape: reducedShape(x.shape, [normal], false) },
    { attributes: { T: { type: x.dtype }, Tidx: { type: 'int32' }, output_type: { type: 'int32' } } },
  );
}

function cumulative(graph: Graph, op: string, x: Output, { axis, exclusive, reverse }: Attributes): Output {
  return graph.add(op, [x, graph.int(axis as number)], x, {
    attributes: {
      T: { type: x.dtype },
      Tidx: { type: 'int32' },
      exclusive: { bool: Boolean(exclusive) },
      reverse: { bool: Boolean(reverse) },
    },
  });
}

function table(names: Record<string, string>, kernel: (op: string) => Kernel): Record<string, Kernel> {
  return Object.fromEntries(Object.entries(names).map(([name, op]) => [name, kernel(op)]));
}

/** Every tfjs kernel that can be compiled. */
export const kernels: Readonly<Record<string, Kernel>> = {
  ...table(unaryOps, (op) => (graph, inputs) => unary(graph, op, need(inputs, 'x'))),
  ...table(testOps, (op) => (graph, inputs) => unary(graph, op, need(inputs, 'x'), 'bool')),
  ...table(binaryOps, (op) => (graph, inputs) => binary(graph, op, need(inputs, 'a'), need(inputs, 'b'))),
  ...table(
    Object.fromEntries(comparisonOps.map((name) => [name, name])),
    (op) => (graph, inputs) => binary(graph, op, need(inputs, 'a'), need(inputs, 'b'), 'bool'),
  ),
  ...Object.fromEntries(
    Object.entries(reductionOps).map(([op, axisName]): [string, Kernel] => [
      op,
      (graph, inputs, attributes) => {
        const x = need(inputs, 'x');
        const axes = normalizeAxes(attributes[axisName] as number | number[] | undefined, x.shape.length);
        return reduce(graph, op, x, axes, Boolean(attributes.keepDims));
      },
    ]),
  ),
  ...arithmetic,
  ...shapeKernels,
  ...fusedKernels,
  ...nativeKernels,
};
