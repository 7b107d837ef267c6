/** @file Shared by lowerings: their type, and functions that append TensorFlow ops of each kind. */
import { type DType, type GraphDType, isDType, type TypedArray } from '../dtype.js';
import type { Attribute, Graph, Output } from '../graph/graph.js';
import { broadcastShapes, inferReshape, reducedShape, type Shape, sameShape } from '../shape.js';

/** Inputs of a kernel by name; `string` for one that takes any number, in their order. */
export type Inputs<Names extends string = string> = Readonly<Record<Names, Output>>;

/**
 * Lowers a tfjs kernel: appends nodes for its inputs and attributes, which each lowering declares as in tfjs-core 4.22
 * (`kernel_names.ts`), and returns the results.
 */
export type Lowering = (graph: Graph, inputs: never, attributes: never) => Output | Output[];

/** @throws Error for a dtype of tfjs that graphs do not have. */
export function graphDType(dtype: string): DType {
  if (!isDType(dtype)) throw new Error(`tensors of dtype ${dtype} cannot be compiled; use float32, int32 or bool`);
  return dtype;
}

/** An op that keeps the shape, and the dtype unless `dtype` says otherwise. */
export function unary(graph: Graph, op: string, x: Output, dtype: GraphDType = x.dtype): Output {
  return graph.add(op, [x], { dtype, shape: x.shape }, { attributes: { T: { type: x.dtype } } });
}

/** A broadcasting op of two values of one dtype. */
export function binary(graph: Graph, op: string, a: Output, b: Output, dtype: GraphDType = a.dtype): Output {
  if (a.dtype !== b.dtype) throw new Error(`${op}: dtypes ${a.dtype} and ${b.dtype} differ`);
  const shape = broadcastShapes(a.shape, b.shape, op);
  const attributes: Record<string, Attribute> = op.startsWith('Logical') ? {} : { T: { type: a.dtype } };
  return graph.add(op, [a, b], { dtype, shape }, { attributes });
}

export function cast(graph: Graph, x: Output, dtype: GraphDType): Output {
  if (x.dtype === dtype) return x;
  return graph.add(
    'Cast',
    [x],
    { dtype, shape: x.shape },
    { attributes: { SrcT: { type: x.dtype }, DstT: { type: dtype } } },
  );
}

export function reduce(graph: Graph, op: string, x: Output, axes: readonly number[], keepDims: boolean): Output {
  const boolean = op === 'All' || op === 'Any';
  return graph.add(
    op,
    [x, graph.ints(axes)],
    { dtype: x.dtype, shape: reducedShape(x.shape, axes, keepDims) },
    {
      attributes: {
        ...(boolean ? {} : { T: { type: x.dtype } }),
        Tidx: { type: 'int32' },
        keep_dims: { bool: keepDims },
      },
    },
  );
}

export function reshape(graph: Graph, x: Output, target: Shape): Output {
  const shape = inferReshape(x.shape, target);
  if (sameShape(shape, x.shape)) return x;
  const attributes = { T: { type: x.dtype }, Tshape: { type: 'int32' } } as const;
  return graph.add('Reshape', [x, graph.ints(shape)], { dtype: x.dtype, shape }, { attributes });
}

export function select(graph: Graph, condition: Output, yes: Output, no: Output): Output {
  const shape = broadcastShapes(condition.shape, broadcastShapes(yes.shape, no.shape, 'Select'), 'Select');
  return graph.add(
    'SelectV2',
    [condition, yes, no],
    { dtype: yes.dtype, shape },
    { attributes: { T: { type: yes.dtype } } },
  );
}

/** A constant scalar. */
export function scalar(graph: Graph, dtype: GraphDType, value: number): Output {
  return graph.constant(dtype, [], filled(dtype, value));
}

/** One element of a dtype, as `Graph.constant` takes it. */
export function filled(dtype: GraphDType, value: number): TypedArray {
  if (dtype === 'float32') return Float32Array.of(value);
  return graphDType(dtype) === 'int32' ? Int32Array.of(value) : Uint8Array.of(value);
}
