/**
 * Every lowering: the compiled value equals that of native TensorFlow op by op, and of WebAssembly where it has the
 * kernel, for awkward values: scalars, one row, NaN, infinities, halves, negatives.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import type { DType, TypedArray } from '../../../src/engine/dtype.js';
import { tensorflowOps } from '../../../src/engine/lowering/beyond-tfjs.js';
import { lowerings } from '../../../src/engine/lowering/lowerings.js';
import { nativeOps } from '../../../src/engine/lowering/native-ops.js';
import type { FunctionSpec, TensorRecord } from '../../../src/engine/program.js';
import type { Shape } from '../../../src/engine/shape.js';
import { assertClose, type Tolerance } from '../../helpers/close.js';
import { compiledWay, eagerWay, type Way, wasmWay } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';

interface Value {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

interface Case {
  readonly inputs: Readonly<Record<string, Value>>;
  body(inputs: Record<string, tf.Tensor>): tf.Tensor | tf.Tensor[];
  /** Exact when not given. */
  readonly tolerance?: Tolerance;
  /** Results, where no engine has the kernel. */
  readonly expected?: readonly number[];
  /** Why one of the engines is no witness here: faults of tfjs 4.22. */
  readonly not?: Partial<Record<Way['name'], string>>;
}

test('each of our ops has a name of its own, since the last lowering of a name counts', () => {
  const names = [...Object.values(tensorflowOps), ...Object.values(nativeOps)];
  assert.equal(new Set(names).size, names.length);
});

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const f32 = (shape: Shape, data: number[]): Value => ({ dtype: 'float32', shape, data: Float32Array.from(data) });
const i32 = (shape: Shape, data: number[]): Value => ({ dtype: 'int32', shape, data: Int32Array.from(data) });
const bool = (shape: Shape, data: number[]): Value => ({ dtype: 'bool', shape, data: Uint8Array.from(data) });

/** Numbers without pattern in -2 .. 2, the same in every run. */
function noise(shape: Shape, salt = 0): Value {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  return f32(
    shape,
    Array.from({ length: size }, (_, index) => 2 * Math.sin(12.9898 * (index + 1) + 78.233 * (salt + 1))),
  );
}

const scalar = f32([], [-1.5]);
const odd = f32([7], [-2.5, -0.5, -0, 0, 0.5, 1.5, 2.5]);
const unusual = f32([4], [nan, inf, -inf, 1]);
const signed = i32([5], [-7, -1, 0, 3, 7]);

/** Polynomial approximations differ by a few units in the last place (6e-8) between libraries. */
const transcendental: Tolerance = { relative: 2e-6, absolute: 1e-6 };
/** float32 sums of up to a few dozen terms of size 2, in whatever order. */
const summed: Tolerance = { relative: 2e-6, absolute: 2e-6 };

function unaryCases(
  op: (x: tf.Tensor) => tf.Tensor,
  values: readonly Value[],
  tolerance?: Tolerance,
  not?: Case['not'],
): Case[] {
  return values.map((x) => ({
    inputs: { x },
    body: ({ x: tensor }) => op(tensor as tf.Tensor),
    ...(tolerance && { tolerance }),
    ...(not && { not }),
  }));
}

function binaryCases(
  op: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  pairs: readonly (readonly [Value, Value])[],
  tolerance?: Tolerance,
): Case[] {
  return pairs.map(([a, b]) => ({
    inputs: { a, b },
    body: ({ a: left, b: right }) => op(left as tf.Tensor, right as tf.Tensor),
    ...(tolerance && { tolerance }),
  }));
}

/** Broadcasting to either side, to both, with a scalar, and not at all. */
const pairs: readonly (readonly [Value, Value])[] = [
  [noise([2, 3]), noise([2, 3], 1)],
  [noise([2, 3]), noise([3], 1)],
  [noise([3]), noise([2, 3], 1)],
  [noise([2, 1, 3]), noise([4, 1], 1)],
  [scalar, noise([1, 2])],
  [scalar, f32([], [0.25])],
];
const positivePairs = pairs.map(([a, b]) => [{ ...a, data: a.data.map((x) => Math.abs(x) + 0.5) }, b] as const);
const intPairs = [
  [signed, i32([5], [2, -2, 5, 2, -3])],
  [i32([2, 1], [9, -9]), i32([3], [1, 4, -5])],
] as const;
const comparisonPairs = [...pairs, [unusual, f32([4], [nan, inf, inf, 0])], [signed, i32([], [3])]] as (readonly [
  Value,
  Value,
])[];
const boolPairs = [
  [bool([4], [0, 0, 1, 1]), bool([4], [0, 1, 0, 1])],
  [bool([2, 1], [0, 1]), bool([2], [1, 0])],
  [bool([], [1]), bool([2], [1, 0])],
] as const;

function reductionCases(
  op: (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor,
  values: readonly Value[],
  tolerance?: Tolerance,
): Case[] {
  return values.flatMap((x) => {
    const axes = [undefined, ...(x.shape.length > 0 ? [0, -1] : []), ...(x.shape.length > 2 ? [[0, -1]] : [])];
    return axes.flatMap((axis) =>
      [false, true].map(
        (keepDims): Case => ({
          inputs: { x },
          body: ({ x: tensor }) => op(tensor as tf.Tensor, axis, keepDims),
          ...(tolerance && { tolerance }),
        }),
      ),
    );
  });
}

const cube = noise([2, 3, 4]);
const reducible = [cube, noise([1, 5], 3), noise([3], 4), scalar];
const flags = [bool([2, 3], [0, 1, 1, 1, 1, 1]), bool([3], [0, 0, 0]), bool([], [1])];

/** `of(body, inputs)`: one case. */
function of(
  body: (inputs: Record<string, tf.Tensor>) => tf.Tensor | tf.Tensor[],
  inputs: Case['inputs'],
  options: Pick<Case, 'tolerance' | 'not' | 'expected'> = {},
): Case {
  return { body, inputs, ...options };
}

/** Runs a kernel by name, for those that tfjs's ops reach only in some circumstances. */
function kernel(name: string, inputs: TensorRecord, attributes: Record<string, unknown> = {}): tf.Tensor {
  return tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attributes as tf.NamedAttrMap) as tf.Tensor;
}

const get = (inputs: Record<string, tf.Tensor>, name: string) => inputs[name] as tf.Tensor;

/** Cases by the kernel that they must reach. */
const cases: Record<string, Case[]> = {
  Abs: unaryCases(tf.abs, [odd, unusual, scalar, signed]),
  Acos: unaryCases(tf.acos, [f32([5], [-1, -0.5, 0, 0.75, 1]), f32([], [2])], transcendental),
  Acosh: unaryCases(tf.acosh, [f32([4], [1, 1.5, 3, 100])], transcendental),
  Asin: unaryCases(tf.asin, [f32([5], [-1, -0.5, 0, 0.75, 1])], transcendental),
  Asinh: unaryCases(tf.asinh, [odd], transcendental),
  Atan: unaryCases(tf.atan, [odd, scalar], transcendental),
  Atanh: unaryCases(tf.atanh, [f32([3], [-0.9, 0, 0.5])], transcendental),
  Ceil: unaryCases(tf.ceil, [odd, unusual]),
  Cos: unaryCases(tf.cos, [odd, noise([2, 3])], transcendental),
  Cosh: unaryCases(tf.cosh, [odd], transcendental),
  Elu: unaryCases(tf.elu, [odd, scalar], transcendental),
  Erf: unaryCases(tf.erf, [odd], transcendental),
  Exp: unaryCases(tf.exp, [odd, unusual, f32([], [-100])], transcendental),
  Expm1: unaryCases(tf.expm1, [odd, f32([2], [1e-5, -1e-5])], transcendental),
  Floor: unaryCases(tf.floor, [odd, unusual]),
  Log: unaryCases(tf.log, [f32([4], [0, 0.5, 1, inf]), f32([], [3])], transcendental),
  Log1p: unaryCases(tf.log1p, [f32([4], [0, 1e-5, -0.5, 10])], transcendental),
  Neg: unaryCases(tf.neg, [odd, unusual, signed, scalar]),
  Reciprocal: unaryCases(tf.reciprocal, [f32([3], [-4, 0.5, inf])], transcendental),
  Relu: unaryCases(tf.relu, [odd, signed, scalar]),
  Relu6: unaryCases(tf.relu6, [f32([4], [-1, 0, 5, 7])]),
  Rsqrt: unaryCases(tf.rsqrt, [f32([3], [0.25, 2, 1e6]), f32([], [4])], transcendental),
  Selu: unaryCases(tf.selu, [odd], transcendental),
  Sigmoid: unaryCases(tf.sigmoid, [odd, f32([2], [-90, 90])], transcendental),
  Sign: [
    ...unaryCases(tf.sign, [odd, f32([2], [inf, -inf]), signed]),
    ...unaryCases(tf.sign, [unusual], undefined, { wasm: 'sign(NaN) is 0' }),
  ],
  Sin: unaryCases(tf.sin, [odd], transcendental),
  Sinh: unaryCases(tf.sinh, [odd], transcendental),
  Softplus: unaryCases(tf.softplus, [odd, f32([2], [-40, 40])], transcendental),
  Sqrt: unaryCases(tf.sqrt, [f32([3], [0, 2, inf]), f32([], [4])], transcendental),
  Square: unaryCases(tf.square, [odd, signed, scalar]),
  Tan: unaryCases(tf.tan, [odd], transcendental),
  Tanh: unaryCases(tf.tanh, [odd, f32([2], [-40, 40])], transcendental),
  ZerosLike: unaryCases(tf.zerosLike, [odd, signed, bool([2], [1, 1]), scalar]),
  OnesLike: unaryCases(tf.onesLike, [odd, signed, bool([2], [0, 1]), scalar]),
  Round: unaryCases(tf.round, [odd]),
  Step: [
    ...unaryCases((x) => tf.step(x, 0), [odd, unusual, scalar]),
    ...unaryCases((x) => tf.step(x, 0.25), [odd, unusual]),
    ...unaryCases((x) => tf.step(x, 0), [signed], undefined, { eager: 'integers are refused' }),
  ],
  IsFinite: unaryCases(tf.isFinite, [unusual, scalar]),
  IsInf: unaryCases(tf.isInf, [unusual]),
  IsNan: unaryCases(tf.isNaN, [unusual]),
  LeakyRelu: unaryCases((x) => tf.leakyRelu(x, 0.1), [odd, scalar]),
  ClipByValue: [
    ...unaryCases((x) => tf.clipByValue(x, -1, 1.5), [odd, f32([2], [inf, -inf]), scalar]),
    ...unaryCases((x) => tf.clipByValue(x, -2, 3), [signed], undefined, { wasm: 'clips integers to float bits' }),
  ],
  Identity: unaryCases((x) => x.clone(), [odd, signed, bool([], [1])]),
  LogicalNot: unaryCases(tf.logicalNot, flags),
  Cast: [
    ...unaryCases((x) => x.toInt(), [f32([6], [-1.9, -0.5, 0, 0.5, 1.9, 1e6]), flags[0]!]),
    ...unaryCases((x) => x.toFloat(), [signed, flags[0]!]),
    ...unaryCases((x) => x.toBool(), [f32([3], [0, 1, -0]), i32([2], [1, 0])]),
    ...unaryCases((x) => x.toBool(), [odd, signed], undefined, { wasm: 'true is any byte but 0, as 254 for -2' }),
  ],

  Add: binaryCases(tf.add, [...pairs, ...intPairs, [unusual, scalar]]),
  Sub: binaryCases(tf.sub, [...pairs, ...intPairs]),
  Multiply: binaryCases(tf.mul, [...pairs, ...intPairs]),
  RealDiv: binaryCases(tf.div, [...pairs, [f32([3], [1, -1, 0]), f32([], [0])]], { relative: 1e-7 }),
  FloorDiv: binaryCases(tf.floorDiv, [...intPairs, ...pairs]),
  Maximum: binaryCases(tf.maximum, [...pairs, ...intPairs]),
  Minimum: binaryCases(tf.minimum, [...pairs, ...intPairs]),
  Mod: binaryCases(tf.mod, [...intPairs, [f32([4], [5.5, -5.5, 5.5, -5.5]), f32([4], [2, 2, -2, -2])]]),
  Pow: [...binaryCases(tf.pow, positivePairs, transcendental), ...binaryCases(tf.pow, [[signed, i32([], [2])]])],
  SquaredDifference: binaryCases(tf.squaredDifference, [...pairs, ...intPairs]),
  Atan2: binaryCases(tf.atan2, pairs, transcendental),
  Equal: binaryCases(tf.equal, [...comparisonPairs, ...boolPairs]),
  NotEqual: binaryCases(tf.notEqual, [...comparisonPairs, ...boolPairs]),
  Greater: binaryCases(tf.greater, comparisonPairs),
  GreaterEqual: binaryCases(tf.greaterEqual, comparisonPairs),
  Less: binaryCases(tf.less, comparisonPairs),
  LessEqual: binaryCases(tf.lessEqual, comparisonPairs),
  LogicalAnd: binaryCases(tf.logicalAnd, boolPairs),
  LogicalOr: binaryCases(tf.logicalOr, boolPairs),
  AddN: [
    of((x) => tf.addN([get(x, 'a'), get(x, 'b'), get(x, 'c')]), { a: cube, b: cube, c: noise([2, 3, 4], 5) }),
    of((x) => tf.addN([get(x, 'a')]), { a: scalar }),
    of((x) => tf.addN([get(x, 'a'), get(x, 'a')]), { a: signed }),
  ],

  Sum: [
    ...reductionCases(tf.sum, [...reducible, i32([2, 3], [1, 2, 3, 4, 5, 6])], summed),
    ...reductionCases(tf.sum, flags),
  ],
  Mean: reductionCases(tf.mean, [...reducible, i32([2, 3], [1, 2, 3, 4, 5, 7])], summed),
  Prod: reductionCases(tf.prod, [...reducible, signed], summed),
  Min: reductionCases(tf.min, [...reducible, signed]),
  Max: reductionCases(tf.max, [...reducible, signed]),
  All: reductionCases(tf.all, flags),
  Any: reductionCases(tf.any, flags),
  ArgMax: [
    ...unaryCases((x) => tf.argMax(x, -1), [cube, f32([4], [1, 3, 3, 2]), noise([1, 5])]),
    ...unaryCases((x) => tf.argMax(x, 0), [cube]),
  ],
  ArgMin: [
    ...unaryCases((x) => tf.argMin(x, -1), [cube, f32([4], [1, 3, 1, 2])]),
    ...unaryCases((x) => tf.argMin(x, 1), [cube]),
  ],
  Cumsum: [
    ...unaryCases((x) => tf.cumsum(x, -1), [cube, noise([4])], summed, { wasm: 'negative axes read out of bounds' }),
    ...unaryCases((x) => tf.cumsum(x, 1, true, true), [cube], summed),
    ...unaryCases((x) => tf.cumsum(x, 0, true), [noise([4]), signed], summed),
  ],
  Cumprod: [
    ...unaryCases((x) => tf.cumprod(x, 2), [cube], summed),
    ...unaryCases((x) => tf.cumprod(x, 0, true, true), [noise([4])], summed),
  ],
  Softmax: unaryCases((x) => tf.softmax(x), [cube, noise([1, 1]), f32([3], [1e4, 0, -1e4])], transcendental),
  LogSoftmax: [
    // -log(1 + e), -log(1 + 1/e); equal logits: -log 2.
    of(
      (x) => kernel('LogSoftmax', { logits: get(x, 'x') }, { axis: -1 }),
      { x: f32([2, 2], [0, 1, 500, 500]) },
      { expected: [-Math.log(1 + Math.E), -Math.log(1 + 1 / Math.E), -Math.LN2, -Math.LN2], tolerance: transcendental },
    ),
  ],
  TopK: [
    of((x) => Object.values(tf.topk(get(x, 'x'), 2)), { x: cube }),
    of((x) => Object.values(tf.topk(get(x, 'x'), 3)), { x: f32([3], [2, 5, 2]) }),
  ],

  Reshape: [
    of((x) => get(x, 'x').reshape([4, -1]), { x: cube }),
    of((x) => get(x, 'x').reshape([]), { x: i32([1, 1], [3]) }),
    of((x) => get(x, 'x').reshape([1, 1]), { x: scalar }),
    of((x) => get(x, 'x').reshape([2, 3, 4]), { x: cube }),
  ],
  ExpandDims: [
    of((x) => get(x, 'x').expandDims(-1), { x: cube }),
    of((x) => get(x, 'x').expandDims(0), { x: scalar }),
    of((x) => get(x, 'x').expandDims(-3), { x: noise([2, 3]) }),
  ],
  Transpose: [
    of((x) => tf.transpose(get(x, 'x'), [2, 0, 1]), { x: cube }),
    of((x) => tf.transpose(get(x, 'x')), { x: cube }),
    of((x) => kernel('Transpose', { x: get(x, 'x') }, { perm: [0] }), { x: signed }),
    of((x) => tf.transpose(get(x, 'x'), [1, 0]), { x: bool([2, 2], [0, 1, 1, 1]) }),
  ],
  Concat: [
    of((x) => tf.concat([get(x, 'a'), get(x, 'b'), get(x, 'a')], -1), { a: cube, b: noise([2, 3, 1]) }),
    of((x) => tf.concat([get(x, 'a'), get(x, 'a')], 0), { a: signed }),
    of((x) => tf.concat([get(x, 'a'), get(x, 'a')], 1), { a: bool([1, 2], [1, 0]) }),
  ],
  Slice: [
    of((x) => tf.slice(get(x, 'x'), [0, 1, 2], [2, 1, 2]), { x: cube }),
    of((x) => tf.slice(get(x, 'x'), [1], [-1]), { x: cube }),
    of((x) => tf.slice(get(x, 'x'), 2), { x: signed }),
    of((x) => tf.slice(get(x, 'x'), [0, 1], [2, 1]), { x: bool([2, 2], [0, 1, 1, 1]) }),
  ],
  StridedSlice: [
    of((x) => tf.stridedSlice(get(x, 'x'), [0, 0, 0], [2, 3, 4], [1, 2, 3]), { x: cube }),
    of((x) => tf.stridedSlice(get(x, 'x'), [1, -1, 3], [2, -4, 0], [1, -1, -1]), { x: cube }),
    of((x) => tf.stridedSlice(get(x, 'x'), [0, 0, 0], [2, 3, 4], [1, 1, 1], 0, 0, 0, 0, 2), { x: cube }),
    of((x) => tf.stridedSlice(get(x, 'x'), [1, 2, 2], [1, 3, 3], [1, 1, 1], 7, 7), { x: cube }),
    of((x) => tf.stridedSlice(get(x, 'x'), [0, 1], [0, 3], [1, 1], 0, 0, 1), { x: cube }),
    of((x) => tf.stridedSlice(get(x, 'x'), [0, 0], [0, 2], [1, 1], 0, 0, 0, 1), { x: noise([3]) }),
  ],
  SplitV: [
    of((x) => tf.split(get(x, 'x'), 2, -1), { x: cube }),
    of((x) => tf.split(get(x, 'x'), [1, -1], 1), { x: cube }),
    of((x) => tf.split(get(x, 'x'), [2, 3], 0), { x: signed }),
  ],
  Pack: [
    of((x) => tf.stack([get(x, 'a'), get(x, 'a')], -1), { a: noise([2, 3]) }),
    of((x) => tf.stack([get(x, 'a'), get(x, 'b')]), { a: i32([], [4]), b: i32([], [5]) }),
  ],
  Unpack: [of((x) => tf.unstack(get(x, 'x'), -1), { x: cube }), of((x) => tf.unstack(get(x, 'x')), { x: signed })],
  Tile: [
    of((x) => tf.tile(get(x, 'x'), [2, 1, 3]), { x: cube }),
    of((x) => tf.tile(get(x, 'x'), [3]), { x: i32([1], [4]) }),
  ],
  BroadcastTo: [
    of(
      (x) => kernel('BroadcastTo', { x: get(x, 'x') }, { shape: [2, 2, 3] }),
      { x: f32([2, 1], [5, 6]) },
      {
        expected: [5, 5, 5, 6, 6, 6, 5, 5, 5, 6, 6, 6],
      },
    ),
    of((x) => kernel('BroadcastTo', { x: get(x, 'x') }, { shape: [2] }), { x: i32([], [3]) }, { expected: [3, 3] }),
  ],
  Reverse: [
    of((x) => tf.reverse(get(x, 'x'), -1), { x: cube }),
    of((x) => tf.reverse(get(x, 'x'), [0, 1]), { x: cube }),
    of((x) => tf.reverse(get(x, 'x')), { x: signed }),
  ],
  PadV2: [
    of(
      (x) =>
        tf.pad(
          get(x, 'x'),
          [
            [1, 0],
            [0, 2],
          ],
          -1,
        ),
      { x: noise([2, 3]) },
    ),
    of((x) => tf.pad(get(x, 'x'), [[2, 1]]), { x: signed }),
  ],
  Fill: [
    of(() => tf.fill([2, 3], 1.5), {}),
    of(() => tf.fill([2], 7, 'int32'), {}),
    of(() => tf.fill([2], 1, 'bool'), {}),
    of(() => tf.fill([], -0), {}),
  ],
  Range: [
    of(() => tf.range(0, 5, 1, 'int32'), {}),
    of(() => tf.range(5, -1, -2, 'int32'), {}),
    of(() => tf.range(0, 1, 0.25), {}),
  ],
  LinSpace: [
    of(() => tf.linspace(0, 1, 5), {}, { tolerance: { absolute: 1e-7 } }),
    of(() => tf.linspace(3, -1, 3), {}),
    of(() => tf.linspace(2, 5, 1), {}),
  ],
  Select: [
    of((x) => tf.where(get(x, 'c'), get(x, 'a'), get(x, 'b')), {
      c: bool([2, 1], [1, 0]),
      a: noise([2, 3]),
      b: noise([2, 3], 1),
    }),
    of((x) => tf.where(get(x, 'c'), get(x, 'a'), get(x, 'b')), { c: bool([], [0]), a: signed, b: i32([], [1]) }),
    of(
      (x) => kernel('Select', { condition: get(x, 'c'), t: get(x, 'a'), e: get(x, 'b') }),
      {
        c: bool([2], [0, 1]),
        a: noise([2, 3]),
        b: noise([2, 3], 1),
      },
      { not: { wasm: 'a vector condition chooses the wrong elements' } },
    ),
  ],
  OneHot: [
    of((x) => tf.oneHot(get(x, 'x'), 4), { x: i32([2, 2], [0, 3, 1, 1]) }),
    of((x) => tf.oneHot(get(x, 'x'), 3, 5, -1, 'int32'), { x: i32([3], [-1, 2, 3]) }),
    of((x) => tf.oneHot(get(x, 'x').flatten() as tf.Tensor1D, 2), { x: i32([], [1]) }),
  ],
  GatherV2: [
    of((x) => tf.gather(get(x, 'x'), get(x, 'i')), { x: cube, i: i32([2, 2], [1, 0, 1, 1]) }),
    of(
      (x) => tf.gather(get(x, 'x'), get(x, 'i'), -1),
      { x: cube, i: i32([3], [3, 0, 3]) },
      {
        not: { eager: 'negative axes are refused', wasm: 'negative axes are refused' },
        expected: lastOfCube([3, 0, 3]),
      },
    ),
    of((x) => tf.gather(get(x, 'x'), get(x, 'i'), 1), { x: signedMatrix(), i: i32([], [1]) }),
    of((x) => tf.gather(get(x, 'x'), get(x, 'i'), 1, 1), { x: cube, i: i32([2, 2], [1, 0, 2, 2]) }),
  ],
  GatherNd: [
    of((x) => tf.gatherND(get(x, 'x'), get(x, 'i')), { x: cube, i: i32([2, 2], [1, 2, 0, 0]) }),
    of((x) => tf.gatherND(get(x, 'x'), get(x, 'i')), { x: cube, i: i32([1, 3], [1, 2, 3]) }),
  ],
  ScatterNd: [
    of(
      (x) => tf.scatterND(get(x, 'i'), get(x, 'u'), [4, 2]),
      { i: i32([3, 1], [1, 3, 1]), u: noise([3, 2]) },
      {
        tolerance: summed,
      },
    ),
    of((x) => tf.scatterND(get(x, 'i'), get(x, 'u'), [3]), { i: i32([2, 1], [2, 0]), u: i32([2], [5, 6]) }),
  ],
  TensorScatterUpdate: [
    of((x) => tf.tensorScatterUpdate(get(x, 't'), get(x, 'i'), get(x, 'u')), {
      t: noise([4, 2]),
      i: i32([2, 1], [3, 0]),
      u: noise([2, 2], 1),
    }),
  ],
  UnsortedSegmentSum: [
    of(
      (x) => tf.unsortedSegmentSum(get(x, 'x'), get(x, 'i') as tf.Tensor1D, 4),
      { x: noise([3, 2]), i: i32([3], [2, 0, 2]) },
      { tolerance: summed },
    ),
  ],
  BatchMatMul: [
    of((x) => tf.matMul(get(x, 'a'), get(x, 'b')), { a: noise([2, 3]), b: noise([3, 4]) }, { tolerance: summed }),
    of(
      (x) => tf.matMul(get(x, 'a'), get(x, 'b'), true, true),
      { a: noise([3, 2]), b: noise([4, 3]) },
      {
        tolerance: summed,
      },
    ),
    of(
      (x) => tf.matMul(get(x, 'a'), get(x, 'b'), false, true),
      { a: noise([1, 1, 3]), b: noise([1, 2, 3]) },
      {
        tolerance: summed,
      },
    ),
    of(
      (x) => tf.matMul(get(x, 'a'), get(x, 'b'), true),
      { a: noise([2, 5, 3, 2]), b: noise([2, 5, 3, 4]) },
      {
        tolerance: summed,
      },
    ),
    of((x) => tf.matMul(get(x, 'a'), get(x, 'b')), { a: noise([2, 2, 3]), b: noise([3, 4]) }, { tolerance: summed }),
    of(
      (x) => tf.matMul(get(x, 'a'), get(x, 'b'), true),
      { a: noise([2, 3, 2]), b: noise([3, 4]) },
      {
        tolerance: summed,
      },
    ),
    of((x) => tf.matMul(get(x, 'a'), get(x, 'b')), { a: noise([2, 3]), b: noise([2, 3, 4]) }, { tolerance: summed }),
  ],
  _FusedMatMul: [
    of(
      (x) => kernel('_FusedMatMul', { a: get(x, 'a'), b: get(x, 'b'), bias: get(x, 'c') }, fusedAttributes('linear')),
      { a: noise([1, 2, 3]), b: noise([1, 3, 4]), c: noise([4]) },
      { tolerance: summed },
    ),
    of(
      (x) => tf.fused.matMul({ a: get(x, 'a'), b: get(x, 'b'), bias: get(x, 'c'), activation: 'relu' }),
      { a: noise([2, 3]), b: noise([3, 4]), c: noise([4]) },
      { tolerance: summed },
    ),
  ],
  Einsum: [
    of(
      (x) => tf.einsum('bij,bjk->bik', get(x, 'a'), get(x, 'b')),
      { a: cube, b: noise([2, 4, 3]) },
      {
        tolerance: summed,
      },
    ),
    of((x) => tf.einsum('bij->ji', get(x, 'a')), { a: cube }, { tolerance: summed }),
  ],
};

/** The columns `picks` of {@link cube}'s last axis, 4 wide. */
function lastOfCube(picks: number[]): number[] {
  return Array.from({ length: 6 }, (_, row) => picks.map((pick) => cube.data[4 * row + pick]!)).flat();
}

function signedMatrix(): Value {
  return i32([2, 3], [-3, -2, -1, 1, 2, 3]);
}

function fusedAttributes(activation: string): Record<string, unknown> {
  return { transposeA: false, transposeB: false, activation };
}

/** The kernels that `body` ran are added to `seen`. */
function spied<Result>(seen: Set<string>, body: () => Result): Result {
  const engine = tf.engine();
  const original = engine.runKernel;
  engine.runKernel = function (this: typeof engine, name, ...rest) {
    seen.add(name);
    return original.call(this, name, ...rest) as never;
  };
  try {
    return body();
  } finally {
    engine.runKernel = original;
  }
}

test('every lowering of a tfjs kernel has cases', () => {
  // The others are not tfjs's; the tests of ops/ cover them.
  const own: string[] = [...Object.values(tensorflowOps), ...Object.values(nativeOps)];
  const wanted = Object.keys(lowerings).filter((name) => !own.includes(name));
  assert.deepEqual(Object.keys(cases).sort(), wanted.sort());
});

for (const [name, list] of Object.entries(cases)) {
  nativeTest(`kernel ${name}`, async () => {
    const [compiled, eager, wasm] = [await compiledWay(), await eagerWay(), await wasmWay()];
    const reached = new Set<string>();
    const functions = Object.fromEntries(
      list.map((each, index): [string, FunctionSpec] => [
        `case ${index}`,
        {
          inputs: each.inputs,
          body: (_state, inputs) => {
            const result = spied(reached, () => each.body({ ...inputs }));
            return { outputs: Object.fromEntries([result].flat().map((tensor, i) => [`${i}`, tensor])) };
          },
        },
      ]),
    );
    const witnesses = [eager, wasm].filter((way) => tf.getKernel(name, way.engine.name) !== undefined);
    const program = compiled.create({ state: {}, functions });
    assert.ok(reached.has(name), `the cases reach ${[...reached].join(', ')}, not ${name}`);
    for (const [index, each] of list.entries()) {
      const data = Object.fromEntries(Object.entries(each.inputs).map(([key, value]) => [key, value.data]));
      const found = program.run(`case ${index}`, data);
      assert.ok(witnesses.length > 0 || each.expected !== undefined, 'nobody to compare with');
      if (each.expected !== undefined) {
        assertClose(`${name}, case ${index}, compiled`, found['0']!, each.expected, each.tolerance);
      }
      for (const witness of witnesses) {
        if (each.not?.[witness.name] !== undefined) continue;
        const alone = witness.create({ state: {}, functions });
        const expected = alone.run(`case ${index}`, data);
        alone.dispose();
        assert.deepEqual(Object.keys(found), Object.keys(expected));
        for (const [key, values] of Object.entries(expected)) {
          const what = `${name}, case ${index}, result ${key}, compiled against ${witness.name}`;
          assert.equal(found[key]?.constructor, values.constructor, `${what}: dtype`);
          assertClose(what, found[key]!, values, each.tolerance);
        }
      }
    }
    program.dispose();
  });
}
