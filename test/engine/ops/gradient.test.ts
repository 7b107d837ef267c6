/** Computation that the backward pass repeats: the same numbers to the last bit, and less memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { bytesPerElement, type TypedArray } from '../../../src/engine/dtype.js';
import { compileFunction } from '../../../src/engine/graph/compile.js';
import { Graph, type GraphNode } from '../../../src/engine/graph/graph.js';
import { checkpointed, valueAndGradients } from '../../../src/engine/ops/gradient.js';
import { linear, rmsNorm, swiglu } from '../../../src/engine/ops/ops.js';
import { defineFunction, type TensorRecord } from '../../../src/engine/program.js';
import { sizeOf } from '../../../src/engine/shape.js';
import { runOnce, testEveryWay, wasmWay } from '../../helpers/engines.js';
import { noise } from '../../helpers/subjects.js';

const [rows, width, hidden, layers] = [96, 8, 32, 4];

const shapes: Record<string, number[]> = {
  norm: [width],
  gate: [hidden, width],
  up: [hidden, width],
  down: [width, hidden],
};
const parameters = Object.fromEntries(
  Array.from({ length: layers }, (_, layer) =>
    Object.entries(shapes).map(([name, shape]) => [`${name}.${layer}`, { dtype: 'float32', shape }] as const),
  ).flat(),
);
const inputs = {
  ...parameters,
  x: { dtype: 'float32', shape: [rows, width] },
  mask: { dtype: 'float32', shape: [rows, hidden] },
} as const;
const data: Record<string, TypedArray> = Object.fromEntries(
  Object.entries(inputs).map(([name, { shape }], salt) => [name, noise(sizeOf(shape), salt)]),
);

/** A layer with a residual. */
function feedForward(mask: tf.Tensor, x: tf.Tensor, ...[norm, gate, up, down]: tf.Tensor[]): tf.Tensor {
  const normed = rmsNorm(x, norm!, 1e-5);
  return tf.add(x, linear(tf.mul(swiglu(linear(normed, gate!), linear(normed, up!)), mask), down!));
}

/** The loss of `depth` layers and its gradients; `lookAt` is called at the end of the forward pass. */
function training(isCheckpointed: boolean, depth = layers, lookAt: () => void = () => {}) {
  return defineFunction({
    inputs,
    body(_state, given) {
      const layer = feedForward.bind(undefined, tf.mul(given.mask, 2));
      const loss = (variables: TensorRecord) => {
        let x = variables.x!;
        for (let index = 0; index < depth; index++) {
          const own = [x, ...Object.keys(shapes).map((name) => variables[`${name}.${index}`]!)] as const;
          x = isCheckpointed ? checkpointed(layer, own) : layer(...own);
        }
        lookAt();
        return tf.mean(tf.square(x));
      };
      const { value, gradients } = valueAndGradients(
        given,
        ['x', ...Object.keys(parameters).slice(0, depth * Object.keys(shapes).length)],
        loss,
      );
      return { outputs: { value, ...gradients } };
    },
  });
}

testEveryWay('the loss and every gradient are those of the plain computation, to the last bit', (way) => {
  const [again, plain] = [runOnce(way, training(true), data), runOnce(way, training(false), data)];
  assert.equal(Object.keys(again).length, 2 + Object.keys(parameters).length);
  assert.deepEqual(again, plain);
});

testEveryWay('an argument that the result does not depend on is rejected', (way) => {
  const spec = defineFunction({
    inputs: { x: { dtype: 'float32', shape: [2] }, w: { dtype: 'float32', shape: [2] } },
    body(_state, given) {
      const loss = ({ x, w }: TensorRecord) => tf.sum(checkpointed((value, _) => tf.square(value), [x!, w!]));
      return { outputs: valueAndGradients(given, ['x', 'w'], loss).gradients };
    },
  });
  const twoNumbers = Float32Array.of(1, 2);
  assert.throws(() => runOnce(way, spec, { x: twoNumbers, w: twoNumbers }), /Cannot compute gradient/);
});

test('nothing but arguments of layers is alive at the end of the forward pass, and nothing after the run (wasm)', async () => {
  const way = await wasmWay();
  const buffers = (isCheckpointed: boolean, depth: number) => {
    let count = 0;
    const before = tf.backend().numDataIds();
    const lookAt = () => {
      count = tf.backend().numDataIds() - before;
    };
    const program = way.create({ state: {}, functions: { f: training(isCheckpointed, depth, lookAt) } });
    program.run('f', data);
    program.dispose();
    assert.equal(tf.backend().numDataIds(), before);
    return count;
  };
  // A layer's result, and its arguments x and four parameters, of which this backend makes copies.
  assert.equal(buffers(true, 4) - buffers(true, 3), 1 + 5);
  // The plain layer has these too, and at least the normed x, gate, up, sigmoid and product.
  assert.ok(buffers(false, 4) - buffers(false, 3) >= 1 + 5 + 5);
});

test('a graph recomputes a layer once the gradient of its result is available, and has a smaller peak', () => {
  const compiled = (isCheckpointed: boolean) => {
    const graph = new Graph('f');
    compileFunction(graph, 'f', training(isCheckpointed), {}, new Map());
    return graph;
  };
  const [again, plain] = [compiled(true), compiled(false)];
  const sigmoids = (graph: Graph) => graph.nodes.filter(({ op }) => op === 'Sigmoid');
  assert.equal(sigmoids(plain).length, layers);
  assert.equal(sigmoids(again).length, 2 * layers);
  // No two have the same input, so TensorFlow does not merge them.
  assert.equal(new Set(sigmoids(again).map(({ inputs: [x] }) => x?.node)).size, 2 * layers);
  const waiting = sigmoids(again).filter((node) =>
    [...ancestors(node)].some(({ op, control }) => op === 'Identity' && control.length > 0),
  );
  assert.equal(waiting.length, layers);
  assert.ok(peakBytes(again) < 0.6 * peakBytes(plain), `${peakBytes(again)} of ${peakBytes(plain)} bytes`);
});

function ancestors(node: GraphNode, found = new Set<GraphNode>()): Set<GraphNode> {
  for (const before of [...node.inputs.map((input) => input.node), ...node.control]) {
    if (!found.has(before)) ancestors(before, found.add(before));
  }
  return found;
}

/** The most bytes that results of nodes hold together when they run in order and freed after their last use. */
function peakBytes(graph: Graph): number {
  const needed = new Set(
    graph.nodes.filter(({ name }) => name.includes('output')).flatMap((node) => [node, ...ancestors(node)]),
  );
  const nodes = graph.nodes.filter((node) => needed.has(node) && node.op !== 'Placeholder' && node.op !== 'Const');
  const lastUse = new Map<GraphNode, number>();
  nodes.forEach((node, index) => {
    for (const { node: source } of node.inputs) lastUse.set(source, index);
  });
  const bytesOf = ({ op, outputs }: GraphNode) =>
    // These return their input's memory.
    op === 'Identity' || op === 'Reshape'
      ? 0
      : outputs.reduce(
          (sum, { dtype, shape }) => sum + sizeOf(shape) * (dtype === 'resource' ? 0 : bytesPerElement[dtype]),
          0,
        );
  let [bytes, peak] = [0, 0];
  nodes.forEach((node, index) => {
    bytes += bytesOf(node);
    peak = Math.max(peak, bytes);
    for (const source of new Set([node, ...node.inputs.map((input) => input.node)])) {
      if ((lastUse.get(source) ?? index) === index && nodes.includes(source)) bytes -= bytesOf(source);
    }
  });
  return peak;
}
