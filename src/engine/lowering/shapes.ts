/** @file Lowerings of kernels that move, select, join or contract data. */
import type * as tf from '@tensorflow/tfjs-core';
import { slice_util as sliceUtil } from '@tensorflow/tfjs-core';
import { type Graph, type Output, outputOf } from '../graph/graph.js';
import { bytesOf, scaleBytes, storedSource, widen, widenedFrom } from '../graph/stored.js';
import { broadcastShapes, normalizeAxes, normalizeAxis, type Shape, take } from '../shape.js';
import { binary, filled, graphDType, type Inputs, type Lowering, reshape, scalar, select, unary } from './emit.js';
import { nativeOps } from './native-ops.js';

/** tfjs's name of an activation -> TensorFlow op. */
const fusedActivations: Readonly<Record<string, string>> = {
  linear: 'Identity',
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
};

export const shapeLowerings = {
  Reshape: (graph, { x }: Inputs<'x'>, { shape }: tf.ReshapeAttrs) => reshape(graph, x, shape),
  ExpandDims: (graph, { input }: Inputs<'input'>, { dim }: tf.ExpandDimsAttrs) =>
    reshape(graph, input, input.shape.toSpliced(normalizeAxis(dim, input.shape.length + 1), 0, 1)),
  Transpose: (graph, { x }: Inputs<'x'>, { perm }: tf.TransposeAttrs) => {
    const shape = perm.map((axis) => x.shape[axis]!);
    const attributes = { T: { type: x.dtype }, Tperm: { type: 'int32' } } as const;
    return graph.add('Transpose', [x, graph.ints(perm)], { dtype: x.dtype, shape }, { attributes });
  },
  Concat: (graph, inputs: Inputs, attrs: tf.ConcatAttrs) => {
    const parts = Object.values(inputs);
    const { dtype, shape } = parts[0]!;
    const axis = normalizeAxis(attrs.axis, shape.length);
    const size = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
    const attributes = { N: { int: parts.length }, T: { type: dtype }, Tidx: { type: 'int32' } } as const;
    return graph.add('ConcatV2', [...parts, graph.int(axis)], { dtype, shape: shape.with(axis, size) }, { attributes });
  },
  Slice: (graph, { x }: Inputs<'x'>, { begin, size }: tf.SliceAttrs) => {
    // Only the tensor's shape is read.
    const tensor = { shape: [...x.shape] } as tf.TensorInfo;
    const [from, shape] = take(sliceUtil.parseSliceParams(tensor, begin, size), 2);
    const attributes = { T: { type: x.dtype }, Index: { type: 'int32' } } as const;
    return graph.add('Slice', [x, graph.ints(from), graph.ints(shape)], { dtype: x.dtype, shape }, { attributes });
  },
  StridedSlice: (graph, { x }: Inputs<'x'>, attrs: tf.StridedSliceAttrs) => {
    const { begin, end, strides } = attrs;
    const { beginMask = 0, endMask = 0, ellipsisMask = 0, newAxisMask = 0, shrinkAxisMask = 0 } = attrs;
    const masks = [beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask] as const;
    const { finalShape: shape } = sliceUtil.sliceInfo([...x.shape], begin, end, strides, ...masks);
    const attributes = {
      T: { type: x.dtype },
      Index: { type: 'int32' },
      begin_mask: { int: beginMask },
      end_mask: { int: endMask },
      ellipsis_mask: { int: ellipsisMask },
      new_axis_mask: { int: newAxisMask },
      shrink_axis_mask: { int: shrinkAxisMask },
    } as const;
    const bounds = [graph.ints(begin), graph.ints(end), graph.ints(strides)];
    return graph.add('StridedSlice', [x, ...bounds], { dtype: x.dtype, shape }, { attributes });
  },
  SplitV: (graph, { x }: Inputs<'x'>, attrs: tf.SplitVAttrs) => {
    const axis = normalizeAxis(attrs.axis, x.shape.length);
    const sizes = splitSizes(x.shape[axis]!, attrs.numOrSizeSplits);
    const outputs = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(axis, size) }));
    const attributes = { T: { type: x.dtype }, Tlen: { type: 'int32' }, num_split: { int: sizes.length } } as const;
    const node = graph.addNode('SplitV', [x, graph.ints(sizes), graph.int(axis)], outputs, { attributes });
    return sizes.map((_, index) => outputOf(node, index));
  },
  Pack: (graph, inputs: Inputs, attrs: tf.PackAttrs) => {
    const parts = Object.values(inputs);
    const { dtype, shape } = parts[0]!;
    const axis = normalizeAxis(attrs.axis, shape.length + 1);
    const attributes = { N: { int: parts.length }, T: { type: dtype }, axis: { int: axis } };
    return graph.add('Pack', parts, { dtype, shape: shape.toSpliced(axis, 0, parts.length) }, { attributes });
  },
  Unpack: (graph, { value }: Inputs<'value'>, attrs: tf.UnpackAttrs) => {
    const { dtype, shape } = value;
    const axis = normalizeAxis(attrs.axis, shape.length);
    const parts = Array.from({ length: shape[axis]! }, () => ({ dtype, shape: shape.toSpliced(axis, 1) }));
    const attributes = { num: { int: parts.length }, T: { type: dtype }, axis: { int: axis } };
    const node = graph.addNode('Unpack', [value], parts, { attributes });
    return parts.map((_, index) => outputOf(node, index));
  },
  Tile: (graph, { x }: Inputs<'x'>, { reps }: tf.TileAttrs) => {
    const shape = x.shape.map((dimension, axis) => dimension * reps[axis]!);
    const attributes = { T: { type: x.dtype }, Tmultiples: { type: 'int32' } } as const;
    return graph.add('Tile', [x, graph.ints(reps)], { dtype: x.dtype, shape }, { attributes });
  },
  BroadcastTo: (graph, { x }: Inputs<'x'>, { shape }: { readonly shape: number[] }) => {
    const attributes = { T: { type: x.dtype }, Tidx: { type: 'int32' } } as const;
    return graph.add('BroadcastTo', [x, graph.ints(shape)], { dtype: x.dtype, shape }, { attributes });
  },
  Reverse: (graph, { x }: Inputs<'x'>, { dims }: tf.ReverseAttrs) => {
    const attributes = { T: { type: x.dtype }, Tidx: { type: 'int32' } } as const;
    return graph.add('ReverseV2', [x, graph.ints(normalizeAxes(dims, x.shape.length))], x, { attributes });
  },
  PadV2: (graph, { x }: Inputs<'x'>, { paddings, constantValue }: tf.PadV2Attrs) => {
    const shape = x.shape.map((dimension, axis) => {
      const [before, after] = paddings[axis] ?? [0, 0];
      return dimension + before + after;
    });
    const padding = graph.constant('int32', [paddings.length, 2], Int32Array.from(paddings.flat()));
    const attributes = { T: { type: x.dtype }, Tpaddings: { type: 'int32' } } as const;
    // On a GPU, PadV2 reads its value on the host, so the host would wait for it.
    if (constantValue === 0) return graph.add('Pad', [x, padding], { dtype: x.dtype, shape }, { attributes });
    const value = scalar(graph, x.dtype, constantValue);
    return graph.add('PadV2', [x, padding, value], { dtype: x.dtype, shape }, { attributes });
  },
  Fill: (graph, _inputs, { shape, value, dtype = 'float32' }: tf.FillAttrs) => {
    const type = graphDType(dtype);
    return graph.constant(type, shape, filled(type, Number(value)));
  },
  Range: (graph, _inputs, { start, stop, step = 1, dtype = 'float32' }: tf.RangeAttrs) => {
    const length = Math.max(0, Math.ceil((stop - start) / step));
    const values = Array.from({ length }, (_, index) => start + index * step);
    return graph.constant(dtype, [length], dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values));
  },
  LinSpace: (graph, _inputs, { start, stop, num: length }: tf.LinSpaceAttrs) => {
    const step = length > 1 ? (stop - start) / (length - 1) : 0;
    return graph.constant(
      'float32',
      [length],
      Float32Array.from({ length }, (_, index) => start + index * step),
    );
  },
  Select: (graph, { condition, t, e }: Inputs<'condition' | 't' | 'e'>) => {
    // tfjs allows a vector that selects whole rows.
    const isVector = condition.shape.length === 1 && t.shape.length > 1;
    const perRow = [...condition.shape, ...t.shape.slice(1).map(() => 1)];
    return select(graph, isVector ? reshape(graph, condition, perRow) : condition, t, e);
  },
  OneHot: (graph, { indices }: Inputs<'indices'>, attrs: tf.OneHotAttrs) => {
    const { depth, onValue = 1, offValue = 0, dtype = 'float32' } = attrs;
    const type = graphDType(dtype);
    const values = [scalar(graph, type, onValue), scalar(graph, type, offValue)];
    return graph.add(
      'OneHot',
      [indices, graph.int(depth), ...values],
      { dtype: type, shape: [...indices.shape, depth] },
      { attributes: { T: { type }, TI: { type: indices.dtype }, axis: { int: -1 } } },
    );
  },
  GatherV2: (graph, { x, indices }: Inputs<'x' | 'indices'>, { axis: along, batchDims = 0 }: tf.GatherV2Attrs) => {
    const axis = normalizeAxis(along, x.shape.length);
    const shape = [...x.shape.slice(0, axis), ...indices.shape.slice(batchDims), ...x.shape.slice(axis + 1)];
    // Of a matrix stored in a narrower form, only the chosen rows are widened.
    const narrow = storedSource(x);
    const source = narrow === undefined || (axis > 0 && narrow.dtype === 'uint8') ? x : narrow;
    const stored = source.dtype === 'uint8' ? shape.with(-1, shape.at(-1)! + scaleBytes) : shape;
    const attributes = {
      Tparams: { type: source.dtype },
      Tindices: { type: indices.dtype },
      Taxis: { type: 'int32' },
      batch_dims: { int: batchDims },
    } as const;
    const inputs = [source, indices, graph.int(axis)];
    const rows = graph.add('GatherV2', inputs, { dtype: source.dtype, shape: stored }, { attributes });
    return widen(graph, rows, { dtype: x.dtype, shape });
  },
  GatherNd: (graph, { params, indices }: Inputs<'params' | 'indices'>) => {
    const shape = [...indices.shape.slice(0, -1), ...params.shape.slice(indices.shape.at(-1))];
    const attributes = { Tparams: { type: params.dtype }, Tindices: { type: indices.dtype } };
    return graph.add('GatherNd', [params, indices], { dtype: params.dtype, shape }, { attributes });
  },
  ScatterNd: (graph, { indices, updates }: Inputs<'indices' | 'updates'>, { shape }: tf.ScatterNdAttrs) => {
    const attributes = { T: { type: updates.dtype }, Tindices: { type: 'int32' } } as const;
    const inputs = [indices, updates, graph.ints(shape)];
    return graph.add('ScatterNd', inputs, { dtype: updates.dtype, shape }, { attributes });
  },
  TensorScatterUpdate: (graph, { tensor, indices, updates }: Inputs<'tensor' | 'indices' | 'updates'>) => {
    const attributes = { T: { type: tensor.dtype }, Tindices: { type: 'int32' } } as const;
    return graph.add('TensorScatterUpdate', [tensor, indices, updates], tensor, { attributes });
  },
  UnsortedSegmentSum: (graph, inputs: Inputs<'x' | 'segmentIds'>, { numSegments }: tf.UnsortedSegmentSumAttrs) => {
    const { x, segmentIds } = inputs;
    const shape = [numSegments, ...x.shape.slice(segmentIds.shape.length)];
    const attributes = {
      T: { type: x.dtype },
      Tindices: { type: segmentIds.dtype },
      Tnumsegments: { type: 'int32' },
    } as const;
    const operands = [x, segmentIds, graph.int(numSegments)];
    return graph.add('UnsortedSegmentSum', operands, { dtype: x.dtype, shape }, { attributes });
  },
  BatchMatMul: (graph, { a, b }: Inputs<'a' | 'b'>, { transposeA, transposeB }: tf.BatchMatMulAttrs) =>
    matMul(graph, a, b, Boolean(transposeA), Boolean(transposeB)),
  _FusedMatMul: (graph, inputs: Inputs<'a' | 'b'> & { readonly bias?: Output }, attrs: tf._FusedMatMulAttrs) => {
    const { activation = 'linear' } = attrs;
    const op = fusedActivations[activation];
    if (op === undefined) {
      throw new Error(`the fused activation ${activation} cannot be compiled; apply it as an op of its own`);
    }
    const product = matMul(graph, inputs.a, inputs.b, Boolean(attrs.transposeA), Boolean(attrs.transposeB));
    const sum = inputs.bias === undefined ? product : binary(graph, 'AddV2', product, inputs.bias);
    return op === 'Identity' ? sum : unary(graph, op, sum);
  },
  Einsum: (graph, inputs: Inputs, attrs: tf.EinsumAttrs) => {
    const operands = Object.values(inputs);
    const { dtype } = operands[0]!;
    const equation = attrs.equation.replaceAll(' ', '');
    const [left, right] = take(equation.split('->'), 2);
    const sizes = new Map<string, number>();
    for (const [operand, letters] of left.split(',').entries()) {
      for (const [axis, letter] of [...letters].entries()) sizes.set(letter, operands[operand]!.shape[axis]!);
    }
    const attributes = { N: { int: operands.length }, T: { type: dtype }, equation: { string: equation } };
    return graph.add(
      'Einsum',
      operands,
      { dtype, shape: [...right].map((letter) => sizes.get(letter)!) },
      { attributes },
    );
  },
} satisfies Record<string, Lowering>;

/** Sizes of the parts of `whole`: a number of equal parts, or a list in which one -1 stands for the rest. */
function splitSizes(whole: number, parts: number | readonly number[]): number[] {
  if (typeof parts === 'number') return Array.from({ length: parts }, () => whole / parts);
  const listed = parts.filter((size) => size !== -1).reduce((sum, size) => sum + size, 0);
  return parts.map((size) => (size === -1 ? whole - listed : size));
}

/** Up to this many rows, reading the bytes of a matrix saves more time than TensorFlow's product of floats. */
const fewRows = 64;

/** From this many elements, 67 MB as float32, a matrix is not worth a wide copy. Vocabulary tables are that large. */
export const tableSize = 1 << 24;

/** Up to this many rows, our own product with a table is faster than TensorFlow's, which rearranges the table (docs/log.md). */
const tableRows = 128;

/**
 * Whether the product of `rows` rows with the transpose of a matrix of `size` elements uses our own kernel. Not decided by how
 * the matrix is stored: a policy must round exactly as its reference does.
 */
export function usesOwnProduct({ products, nativeOps: available }: Graph, rows: number, size: number): boolean {
  if (rows * size >= products.ownFrom) return true;
  const isTable = size >= tableSize && rows <= tableRows && products.precision === 'f32';
  return isTable && available.has(nativeOps.product);
}

/**
 * The product over the last two axes. A large product of two matrices uses the native op if the graph may use it; otherwise
 * `MatMul`, which is faster than a batch of one.
 */
function matMul(graph: Graph, a: Output, b: Output, transposeA: boolean, transposeB: boolean): Output {
  const [rowsA, columnsA] = lastTwo(a.shape, transposeA);
  const [rowsB, columnsB] = lastTwo(b.shape, transposeB);
  if (columnsA !== rowsB) {
    const flags = `${transposeA ? ' transposed' : ''} and [${b.shape.join(', ')}]${transposeB ? ' transposed' : ''}`;
    throw new Error(`MatMul: [${a.shape.join(', ')}]${flags} do not fit`);
  }
  const type = { T: { type: a.dtype } } as const;
  if (a.shape.length === 2 && b.shape.length === 2) {
    const transposed = { transpose_a: { bool: transposeA }, transpose_b: { bool: transposeB } };
    const result = { dtype: a.dtype, shape: [rowsA, columnsB] };
    const isOwn = transposeB && !transposeA && usesOwnProduct(graph, rowsA, columnsA * columnsB);
    const isLarge = isOwn || rowsA * columnsA * columnsB >= graph.products.ownFrom;
    const bytes = transposeB ? bytesOf(b) : undefined;
    const readsBytes = bytes !== undefined && graph.nativeOps.has(nativeOps.product) && (isLarge || rowsA <= fewRows);
    if (a.dtype === 'float32' && (isLarge || readsBytes)) {
      // The native op reads a matrix in its stored form, with the same result as if it were widened first.
      const [left, right] = [widenedFrom(a) ?? a, bytes ?? widenedFrom(b) ?? b];
      const types = { Ta: { type: left.dtype }, Tb: { type: right.dtype } } as const;
      const attributes = { ...types, ...transposed, round: { bool: false } };
      return graph.add(nativeOps.product, [left, right], result, { attributes });
    }
    return graph.add('MatMul', [a, b], result, { attributes: { ...type, ...transposed } });
  }
  if (b.shape.length === 2 && !transposeA) {
    // All batches are multiplied by the same matrix: one large product.
    const rows = reshape(graph, a, [-1, columnsA]);
    return reshape(graph, matMul(graph, rows, b, false, transposeB), [...a.shape.slice(0, -1), columnsB]);
  }
  const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), 'MatMul');
  const attributes = { ...type, adj_x: { bool: transposeA }, adj_y: { bool: transposeB } };
  return graph.add('BatchMatMulV2', [a, b], { dtype: a.dtype, shape: [...batch, rowsA, columnsB] }, { attributes });
}

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const [rows, columns] = take(shape.slice(-2), 2);
  return transposed ? [columns, rows] : [rows, columns];
}
