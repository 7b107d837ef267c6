/**
 * Empty heads would be a division by zero in the native kernels, which ends the process: they are rejected when a function is
 * traced, and by the kernels themselves for other graphs.
 */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import type { Attribute } from '../../../src/engine/graph/graph.js';
import { nativeOps } from '../../../src/engine/lowering/native-ops.js';
import { attention, rope } from '../../../src/engine/ops/ops.js';
import { type Shape, sizeOf } from '../../../src/engine/shape.js';
import { compiledWay, runOnce } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { openKernels, runOwnOp } from '../../helpers/own-op.js';

const zeros = (...shape: number[]) => tf.zeros(shape);

const traced: Record<string, () => tf.Tensor> = {
  'rope with heads of width 0': () => rope(zeros(1, 2, 3, 0), zeros(1, 2, 0), zeros(1, 2, 0)),
  'rope with heads of odd width': () => rope(zeros(1, 2, 3, 5), zeros(1, 2, 2), zeros(1, 2, 2)),
  'attention without key/value heads': () =>
    attention(zeros(1, 2, 4, 8), zeros(1, 2, 0, 8), zeros(1, 2, 0, 8), zeros(1, 2, 2), 1),
  'attention with heads of width 0': () =>
    attention(zeros(1, 2, 4, 0), zeros(1, 2, 2, 0), zeros(1, 2, 2, 0), zeros(1, 2, 2), 1),
};

for (const [name, body] of Object.entries(traced)) {
  nativeTest(`${name} is rejected when the function is traced`, async () => {
    const way = await compiledWay();
    assert.throws(() => runOnce(way, { inputs: {}, body: () => ({ outputs: { y: body() } }) }), /not|cannot/);
  });
}

type Input = readonly [Shape, 'float32' | 'int32'];
const float = (...shape: number[]): Input => [shape, 'float32'];
const int = (...shape: number[]): Input => [shape, 'int32'];
const scale = { scale: { float: 1 } };

interface Refusal {
  readonly op: string;
  readonly inputs: readonly Input[];
  readonly attributes: Record<string, Attribute>;
  readonly says: RegExp;
}

const layerNumbers = (kvHeads: number) => ({
  ...scale,
  epsilon: { float: 1 },
  kv_heads: { int: kvHeads },
  length: { int: 3 },
  biases: { bool: false },
  head_norms: { bool: false },
  layers: { int: 1 },
  count: { int: 1 },
});

const refusals: Record<string, Refusal> = {
  'rope of heads of width 0': {
    op: nativeOps.rope,
    inputs: [float(1, 2, 3, 0), float(1, 2, 0), float(1, 2, 0)],
    attributes: { back: { bool: false } },
    says: /expected heads of an even width above 0, found 0/,
  },
  'rope of a scalar': {
    op: nativeOps.rope,
    inputs: [float(), float(), float()],
    attributes: { back: { bool: false } },
    says: /expected x \[B, T, N, C\], found \[\]/,
  },
  'attention without key/value heads': {
    op: nativeOps.attention,
    inputs: [float(1, 2, 4, 8), float(1, 2, 0, 8), float(1, 2, 0, 8), float(1, 2, 2)],
    attributes: scale,
    says: /with S, K and C above 0, .* found q \[1, 2, 4, 8\], k \[1, 2, 0, 8\]/,
  },
  'attention to a cache without heads': {
    op: nativeOps.cachedAttention,
    inputs: [float(1, 1, 4, 8), float(6, 8), float(6, 8), int(1)],
    attributes: { ...scale, kv_heads: { int: 0 }, length: { int: 3 } },
    says: /expected kv_heads and length above 0, found 0 and 3/,
  },
  'attention to a cache without a width': {
    op: nativeOps.cachedAttention,
    inputs: [float(1, 1, 4, 0), float(6, 0), float(6, 0), int(1)],
    attributes: { ...scale, kv_heads: { int: 2 }, length: { int: 3 } },
    says: /expected keys and values \[at least 6, above 0\], found \[6, 0\]/,
  },
  'decoder layers without key/value heads': {
    op: nativeOps.decoderLayers,
    inputs: [float(1, 8), float(1, 4), float(1, 4), int(1), float(6, 8), float(6, 8), float(8)],
    attributes: layerNumbers(0),
    says: /expected layers and kv_heads above 0, found 1 and 0/,
  },
  'RMSNorm of a scalar': {
    op: nativeOps.rmsNorm,
    inputs: [float(), float()],
    attributes: { epsilon: { float: 1 } },
    says: /expected a tensor with axis -1, found shape \[\]/,
  },
};

for (const [name, { op, inputs, attributes, says }] of Object.entries(refusals)) {
  nativeTest(`the kernel rejects ${name}`, (t) => {
    const addon = openKernels();
    if (addon === undefined) return t.skip('this engine has no kernels addon');
    const zeroed = inputs.map(([shape, dtype]) => {
      const size = sizeOf(shape);
      return { shape, values: dtype === 'int32' ? new Int32Array(size) : new Float32Array(size) };
    });
    assert.throws(() => runOwnOp(addon, op, zeroed, attributes), says);
  });
}
