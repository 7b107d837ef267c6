/** @file Kernels that move, select, join or contract data. See kernels.ts. */
import { slice_util as sliceUtil } from '@tensorflow/tfjs-core';
import type { DType } from '../dtype.js';
import { type Graph, type Output, outputOf } from '../graph/graph.js';
import { normalizeAxes } from '../shape.js';
import { type Attributes, binary, filled, type Kernel, matMul, need, reshape, select, unary } from './emit.js';

/** tfjs's name of an activation -> TensorFlow op. */
const fusedActivations: Record<string, string> = {
  linear: 'Identity',
  relu: 'Relu',
  relu6: 'Relu6',
  elu: 'Elu',
  sigmoid: 'Sigmoid',
};

export const shapeKernels: Record<string, Kernel> = {
  Reshape: (graph, inputs, { shape }) => reshape(graph, need(inputs, 'x'), shape as number[]),
  ExpandDims: (graph, inputs, { dim }) => {
    const input = need(inputs, 'input');
    const [axis] = normalizeAxes(dim as number, input.shape.length + 1) as [number];
    return reshape(graph, input, input.shape.toSpliced(axis, 0, 1));
  },
  Transpose: (graph, inputs, { perm }) => {
    const x = need(inputs, 'x');
    const order = perm as number[];
    const shape = order.map((axis) => x.shape[axis] as number);
    const attributes = { T: { type: x.dtype }, Tperm: { type: 'int32' } } as const;
    return graph.add('Transpose', [x, graph.ints(order)], { dtype: x.dtype, shape }, { attributes });
  },
  Concat: (graph, inputs, { axis }) => {
    const parts = Object.values(inputs);
    const [first] = parts as [Output];
    const [along] = normalizeAxes(axis as number, first.shape.length) as [number];
    const size = parts.reduce((sum, part) => sum + (part.shape[along] as number), 0);
    const attributes = { N: { int: parts.length }, T: { type: first.dtype }, Tidx: { type: 'int32' } } as const;
    const shape = first.shape.with(along, size);
    return graph.add('ConcatV2', [...parts, graph.int(along)], { dtype: first.dtype, shape }, { attributes });
  },
  Slice: (graph, inputs, { begin, size }) => {
    const x = need(inputs, 'x');
    const [from, shape] = sliceUtil.parseSliceParams(
      { shape: [...x.shape] } as never,
      begin as number[],
      size as number[],
    );
    const attributes = { T: { type: x.dtype }, Index: { type: 'int32' } } as const;
    return graph.add(
      'Slice',
      [x, graph.ints(from as number[]), graph.ints(shape as number[])],
      { dtype: x.dtype, shape: shape as number[] },
      { attributes },
    );
  },
  StridedSlice: stridedSlice,
  SplitV: (graph, inputs, { numOrSizeSplits, axis }) => {
    const x = need(inputs, 'x');
    const [along] = normalizeAxes(axis as number, x.shape.length) as [number];
    const whole = x.shape[along] as number;
    const given = numOrSizeSplits as number | number[];
    const sizes = typeof given === 'number' ? Array.from({ length: given }, () => whole / given) : [...given];
    const rest = sizes.indexOf(-1);
    if (rest !== -1) sizes[rest] = whole - sizes.reduce((sum, size) => sum + size, 1);
    const outputs = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(along, size) }));
    const node = graph.addNode('SplitV', [x, graph.ints(sizes), graph.int(along)], outputs, {
      attributes: { T: { type: x.dtype }, Tlen: { type: 'int32' }, num_split: { int: sizes.length } },
    });
    return sizes.map((_, index) => outputOf(node, index));
  },
  Pack: (graph, inputs, { axis }) => {
    const parts = Object.values(inputs);
    const [first] = parts as [Output];
    const [along] = normalizeAxes(axis as number, first.shape.length + 1) as [number];
    const shape = first.shape.toSpliced(along, 0, parts.length);
    const attributes = { N: { int: parts.length }, T: { type: first.dtype }, axis: { int: along } } as const;
    return graph.add('Pack', parts, { dtype: first.dtype, shape }, { attributes });
  },
  Unpack: (graph, inputs, { axis }) => {
    const value = need(inputs, 'value');
    const [along] = normalizeAxes(axis as number, value.shape.length) as [number];
    const count = value.shape[along] as number;
    const type = { dtype: value.dtype, shape: value.shape.toSpliced(along, 1) };
    const node = graph.addNode(
      'Unpack',
      [value],
      Array.from({ length: count }, () => type),
      {
        attributes: { num: { int: count }, T: { type: value.dtype }, axis: { int: along } },
      },
    );
    return Array.from({ length: count }, (_, index) => outputOf(node, index));
  },
  Tile: (graph, inputs, { reps }) => {
    const x = need(inputs, 'x');
    const times = reps as number[];
    const shape = x.shape.map((dimension, axis) => dimension * (times[axis] as number));
    const attributes = { T: { type: x.dtype }, Tmultiples: { type: 'int32' } } as const;
    return graph.add('Tile', [x, graph.ints(times)], { dtype: x.dtype, shape }, { attributes });
  },
  BroadcastTo: (graph, inputs, { shape }) => {
    const x = need(inputs, 'x');
    const attributes = { T: { type: x.dtype }, Tidx: { type: 'int32' } } as const;
    const target = shape as number[];
    return graph.add('BroadcastTo', [x, graph.ints(target)], { dtype: x.dtype, shape: target }, { attributes });
  },
  Reverse: (graph, inputs, { dims }) => {
    const x = need(inputs, 'x');
    const axes = normalizeAxes(dims as number[], x.shape.length);
    const attributes = { T: { type: x.dtype }, Tidx: { type: 'int32' } } as const;
    return graph.add('ReverseV2', [x, graph.ints(axes)], x, { attributes });
  },
  PadV2: (graph, inputs, { paddings, constantValue }) => {
    const x = need(inputs, 'x');
    const pairs = paddings as [number, number][];
    const shape = x.shape.map((dimension, axis) => dimension + (pairs[axis]?.[0] ?? 0) + (pairs[axis]?.[1] ?? 0));
    const padding = graph.constant('int32', [pairs.length, 2], Int32Array.from(pairs.flat()));
    const value = graph.constant(x.dtype, [], filled(x.dtype as DType, constantValue as number));
    const attributes = { T: { type: x.dtype }, Tpaddings: { type: 'int32' } } as const;
    return graph.add('PadV2', [x, padding, value], { dtype: x.dtype, shape }, { attributes });
  },
  Fill: (graph, _inputs, { shape, value, dtype }) => {
    const type = (dtype ?? 'float32') as DType;
    return graph.constant(type, shape as number[], filled(type, Number(value)));
  },
  Range: (graph, _inputs, { start, stop, step, dtype }) => {
    const [from, to, by] = [start, stop, step ?? 1] as [number, number, number];
    const count = Math.max(0, Math.ceil((to - from) / by));
    const values = Array.from({ length: count }, (_, index) => from + index * by);
    const type = (dtype ?? 'float32') as DType;
    return graph.constant(type, [count], type === 'int32' ? Int32Array.from(values) : Float32Array.from(values));
  },
  Select: (graph, inputs) => {
    const yes = need(inputs, 't');
    let condition = need(inputs, 'condition');
    // tfjs allows a vector that chooses whole rows.
    if (condition.shape.length === 1 && yes.shape.length > 1) {
      condition = reshape(graph, condition, [condition.shape[0] as number, ...yes.shape.slice(1).map(() => 1)]);
    }
    return select(graph, condition, yes, need(inputs, 'e'));
  },
  OneHot: (graph, inputs, { depth, onValue, offValue, dtype }) => {
    const indices = need(inputs, 'indices');
    const type = (dtype ?? 'float32') as DType;
    const on = graph.constant(type, [], filled(type, (onValue ?? 1) as number));
    const off = graph.constant(type, [], filled(type, (offValue ?? 0) as number));
    return graph.add(
      'OneHot',
      [indices, graph.int(depth as number), on, off],
      { dtype: type, shape: [...indices.shape, depth as number] },
      { attributes: { T: { type }, TI: { type: indices.dtype }, axis: { int: -1 } } },
    );
  },
  GatherV2: (graph, inputs, { axis, batchDims }) => {
    const x = need(inputs, 'x');
    const indices = need(inputs, 'indices');
    const [along] = normalizeAxes(axis as number, x.shape.length) as [number];
    const batch = (batchDims ?? 0) as number;
    const shape = [...x.shape.slice(0, along), ...indices.shape.slice(batch), ...x.shape.slice(along + 1)];
    return graph.add(
      'GatherV2',
      [x, indices, graph.int(along)],
      { dtype: x.dtype, shape },
      {
        attributes: {
          Tparams: { type: x.dtype },
          Tindices: { type: indices.dtype },
          Taxis: { type: 'int32' },
          batch_dims: { int: batch },
        },
      },
    );
  },
  GatherNd: (graph, inputs) => {
    const params = need(inputs, 'params');
    const indices = need(inputs, 'indices');
    const depth = indices.shape.at(-1) as number;
    const shape = [...indices.shape.slice(0, -1), ...params.shape.slice(depth)];
    const attributes = { Tparams: { type: params.dtype }, Tindices: { type: indices.dtype } } as const;
    return graph.add('GatherNd', [params, indices], { dtype: params.dtype, shape }, { attributes });
  },
  ScatterNd: (graph, inputs, { shape }) => {
    const updates = need(inputs, 'updates');
    const attributes = { T: { type: updates.dtype }, Tindices: { type: 'int32' } } as const;
    const target = shape as number[];
    return graph.add(
      'ScatterNd',
      [need(inputs, 'indices'), updates, graph.ints(target)],
      { dtype: updates.dtype, shape: target },
      { attributes },
    );
  },
  TensorScatterUpdate: (graph, inputs) => {
    const tensor = need(inputs, 'tensor');
    const attributes = { T: { type: tensor.dtype }, Tindices: { type: 'int32' } } as const;
    return graph.add('TensorScatterUpdate', [tensor, need(inputs, 'indices'), need(inputs, 'updates')], tensor, {
      attributes,
    });
  },
  UnsortedSegmentSum: (graph, inputs, { numSegments }) => {
    const x = need(inputs, 'x');
    const ids = need(inputs, 'segmentIds');
    const shape = [numSegments as number, ...x.shape.slice(ids.shape.length)];
    return graph.add(
      'UnsortedSegmentSum',
      [x, ids, graph.int(numSegments as number)],
      { dtype: x.dtype, shape },
      {
        attributes: { T: { type: x.dtype }, Tindices: { type: ids.dtype }, Tnumsegments: { type: 'int32' } },
      },
    );
  },
  BatchMatMul: (graph, inputs, { transposeA, transposeB }) =>
    matMul(graph, need(inputs, 'a'), need(inputs, 'b'), Boolean(transposeA), Boolean(transposeB)),
  _FusedMatMul: (graph, inputs, { transposeA, transposeB, activation }) => {
    const op = fusedActivations[(activation ?? 'linear') as string];
    if (op === undefined) {
      throw new Error(`the fused activation ${String(activation)} cannot be compiled; apply it as an op of its own`);
    }
    const product = matMul(graph, need(inputs, 'a'), need(inputs, 'b'), Boolean(transposeA), Boolean(transposeB));
    const sum = inputs.bias === undefined ? product : binary(graph, 'AddV2', product, inputs.bias);
    return op === 'Identity' ? sum : unary(graph, op, sum);
  },
  Einsum: (graph, inputs, { equation }) => {
    const operands = Object.values(inputs);
    const [first] = operands as [Output];
    const sizes: Record<string, number> = {};
    const [left, right] = (equation as string).replaceAll(' ', '').split('->') as [string, string];
    left.split(',').forEach((letters, operand) => {
      [...letters].forEach((letter, axis) => {
        sizes[letter] = operands[operand]?.shape[axis] as number;
      });
    });
    const attributes = {
      N: { int: operands.length },
      T: { type: first.dtype },
      equation: { string: `${left}->${right}` },
    };
    return graph.add(
      'Einsum',
      operands,
      { dtype: first.dtype, shape: [...right].map((letter) => sizes[letter] as number) },
      { attributes },
    );
  },
  LinSpace: (graph, _inputs, { start, stop, num }) => {
    const [from, to, count] = [start, stop, num] as [number, number, number];
    const step = count > 1 ? (to - from) / (count - 1) : 0;
    return graph.constant(
      'float32',
      [count],
      Float32Array.from({ length: count }, (_, index) => from + index * step),
    );
  },
};

function stridedSlice(graph: Graph, inputs: Record<string, Output>, attributes: Attributes): Output {
  const x = need(inputs, 'x');
  const [begin, end, strides] = [attributes.begin, attributes.end, attributes.strides] as [
    number[],
    number[],
    number[],
  ];
  const masks = [
    attributes.beginMask,
    attributes.endMask,
    attributes.ellipsisMask,
    attributes.newAxisMask,
    attributes.shrinkAxisMask,
  ];
  const [beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask] = masks.map(
    (mask) => (mask ?? 0) as number,
  ) as [number, number, number, number, number];
  const info = sliceUtil.sliceInfo(
    [...x.shape],
    begin,
    end,
    strides,
    beginMask,
    endMask,
    ellipsisMask,
    newAxisMask,
    shrinkAxisMask,
  );
  return graph.add(
    'StridedSlice',
    [x, graph.ints(begin), graph.ints(end), graph.ints(strides)],
    { dtype: x.dtype, shape: info.finalShape },
    {
      attributes: {
        T: { type: x.dtype },
        Index: { type: 'int32' },
        begin_mask: { int: beginMask },
        end_mask: { int: endMask },
        ellipsis_mask: { int: ellipsisMask },
        new_axis_mask: { int: newAxisMask },
        shrink_axis_mask: { int: shrinkAxisMask },
      },
    },
  );
}
