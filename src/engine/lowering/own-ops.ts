/**
 * @file Ops of our own (native/), as nodes: their names, inputs, result shapes and attributes. Only a graph whose
 * `nativeOps` has them may use them; ops.ts, ops-native.ts and state-ops.ts see to that.
 */

import { noteInPlaceUpdate, stateHandle } from '../graph/aliasing.js';
import { type Attribute, type Graph, type GraphNode, type Output, type OutputType, outputOf } from '../graph/graph.js';
import { formatShape, type Shape, sizeOf } from '../shape.js';
import { type Attributes, type Inputs, type Kernel, need } from './emit.js';

/** Names of the ops, which are also those of the tfjs kernels that append them. */
export const nativeOps = {
  linear: 'TinyzeroLinear',
  rmsNorm: 'TinyzeroRmsNorm',
  rmsNormGradient: 'TinyzeroRmsNormGradient',
  swiglu: 'TinyzeroSwiglu',
  swigluGradient: 'TinyzeroSwigluGradient',
  rope: 'TinyzeroRope',
  logProb: 'TinyzeroLogProb',
  logProbGradient: 'TinyzeroLogProbGradient',
  attention: 'TinyzeroAttention',
  attentionGradient: 'TinyzeroAttentionGradient',
  adamW: 'TinyzeroAdamW',
  sumOfSquares: 'TinyzeroSumOfSquares',
  cachedAttention: 'TinyzeroCachedAttention',
  decoderLayers: 'TinyzeroDecoderLayers',
  draw: 'TinyzeroDraw',
} as const;

/** Ops with matrix products inside that know float32 alone. */
export const opsWithProducts: ReadonlySet<string> = new Set([
  nativeOps.attention,
  nativeOps.attentionGradient,
  nativeOps.cachedAttention,
  nativeOps.decoderLayers,
]);

const float = (...shape: number[]): OutputType => ({ dtype: 'float32', shape });
const int = (...shape: number[]): OutputType => ({ dtype: 'int32', shape });

/** All dimensions but the last as one. */
const rowsOf = (shape: Shape) => sizeOf(shape.slice(0, -1));

/** A node with the inputs called `names`, in order. */
function addOp(
  graph: Graph,
  op: string,
  inputs: Inputs,
  names: readonly string[],
  outputs: readonly OutputType[],
  attributes: Record<string, Attribute> = {},
): Output[] {
  const node = graph.addNode(
    op,
    names.map((name) => need(inputs, name)),
    outputs,
    { attributes },
  );
  return outputs.map((_, index) => outputOf(node, index));
}

function numberAttributes(attributes: Attributes, names: readonly string[]): Record<string, Attribute> {
  return Object.fromEntries(names.map((name) => [name, { float: attributes[name] as number }]));
}

function handlesOf(op: string, states: readonly Output[]): GraphNode[] {
  return states.map((state) => {
    const handle = stateHandle(state);
    if (handle === undefined) throw new Error(`${op} works on state tensors, not on computed ones`);
    return handle;
  });
}

function requireShape(condition: boolean, op: string, problem: string, ...shapes: readonly Shape[]): void {
  if (!condition) throw new Error(`${op}: ${problem}, not ${shapes.map(formatShape).join(' and ')}`);
}

/** Query and key/value heads, in number and width: empty ones would divide by 0. */
function requireHeads(op: string, q: Shape, kvHeads: number, width: number, kv: Shape): void {
  const [, , H = 0, C = 0] = q;
  const fits = q.length === 4 && kvHeads > 0 && H % kvHeads === 0 && C > 0 && C === width;
  requireShape(
    fits,
    op,
    'expected query heads that share one or more key/value heads of the same width above 0',
    q,
    kv,
  );
}

const attentionInputs = ['q', 'k', 'v', 'bias'];
const adamWStates = ['parameter', 'm', 'v'];
const adamWInputs = ['gradient', 'scale', 'learningRate', 'beta1Power', 'beta2Power', 'epsilon', 'decay'];
const layerInputs = ['x', 'cos', 'sin', 'positions'];

export const nativeKernels: Record<string, Kernel> = {
  /** x `[R, D]`, weight `[E, D]` -> `[R, E]`. */
  [nativeOps.linear]: (graph, inputs) => {
    const [[R = 0], [E = 0]] = [need(inputs, 'x').shape, need(inputs, 'weight').shape];
    return addOp(graph, nativeOps.linear, inputs, ['x', 'weight'], [float(R, E)], {
      T: { type: 'float32' },
    })[0] as Output;
  },

  /** x `[..., D]` -> y, and 1 / sqrt(mean(x^2) + epsilon) of every row. */
  [nativeOps.rmsNorm]: (graph, inputs, attributes) => {
    const x = need(inputs, 'x');
    const results = [x, float(rowsOf(x.shape))];
    return addOp(graph, nativeOps.rmsNorm, inputs, ['x', 'weight'], results, numberAttributes(attributes, ['epsilon']));
  },

  [nativeOps.rmsNormGradient]: (graph, inputs) => {
    const results = [need(inputs, 'x'), need(inputs, 'weight')];
    return addOp(graph, nativeOps.rmsNormGradient, inputs, ['dy', 'x', 'weight', 'inverse'], results);
  },

  [nativeOps.swiglu]: (graph, inputs) =>
    addOp(graph, nativeOps.swiglu, inputs, ['gate', 'up'], [need(inputs, 'gate')])[0] as Output,

  [nativeOps.swigluGradient]: (graph, inputs) => {
    const gate = need(inputs, 'gate');
    return addOp(graph, nativeOps.swigluGradient, inputs, ['dy', 'gate', 'up'], [gate, gate]);
  },

  [nativeOps.rope]: (graph, inputs, { back }) => {
    const { shape } = need(inputs, 'x');
    const [, , , C = 0] = shape;
    requireShape(
      shape.length === 4 && C > 0 && C % 2 === 0,
      'rope',
      'expected [B, T, N, C] with C even and above 0',
      shape,
    );
    const attributes = { back: { bool: back === true } };
    return addOp(graph, nativeOps.rope, inputs, ['x', 'cos', 'sin'], [need(inputs, 'x')], attributes)[0] as Output;
  },

  /** Of logits `[N, V]` -> log-probs of `ids` `[N]`, and two numbers per row that the gradient needs. */
  [nativeOps.logProb]: (graph, inputs) => {
    const [N = 0] = need(inputs, 'logits').shape;
    return addOp(graph, nativeOps.logProb, inputs, ['logits', 'ids', 'scale'], [float(N), float(N, 2)]);
  },

  [nativeOps.logProbGradient]: (graph, inputs) => {
    const names = ['dy', 'logits', 'ids', 'scale', 'stats'];
    return addOp(graph, nativeOps.logProbGradient, inputs, names, [need(inputs, 'logits')])[0] as Output;
  },

  /** -> the result `[B, T, H * C]`, and two numbers per row that the gradient needs. */
  [nativeOps.attention]: (graph, inputs, attributes) => {
    const [q, k] = [need(inputs, 'q').shape, need(inputs, 'k').shape];
    const [B = 0, T = 0, H = 0, C = 0] = q;
    requireHeads('attention', q, k[2] ?? 0, k[3] ?? 0, k);
    const results = [float(B, T, H * C), float(B, H, T, 2)];
    return addOp(graph, nativeOps.attention, inputs, attentionInputs, results, numberAttributes(attributes, ['scale']));
  },

  [nativeOps.attentionGradient]: (graph, inputs, attributes) => {
    const names = ['dy', ...attentionInputs, 'out', 'stats'];
    const results = ['q', 'k', 'v'].map((name) => need(inputs, name));
    const scale = numberAttributes(attributes, ['scale']);
    return addOp(graph, nativeOps.attentionGradient, inputs, names, results, scale);
  },

  [nativeOps.sumOfSquares]: (graph, inputs) =>
    addOp(graph, nativeOps.sumOfSquares, inputs, ['x'], [float()])[0] as Output,

  /** The states `parameter`, `m` and `v` after one step, in their own memory. */
  [nativeOps.adamW]: (graph, inputs, { beta1, beta2, decays }) => {
    const states = adamWStates.map((name) => need(inputs, name));
    const handles = handlesOf('adamW', states);
    const results = addOp(graph, nativeOps.adamW, inputs, [...adamWStates, ...adamWInputs], states, {
      ...numberAttributes({ beta1, beta2 }, ['beta1', 'beta2']),
      decays: { bool: decays === true },
    });
    const { node } = results[0] as Output;
    const used = () => node.inputs.slice(states.length);
    noteInPlaceUpdate({ handles, writes: [node], inputs: used, oldValue: 'copied' }, results);
    return results;
  },

  /** q `[B, T, H, C]` against the first B slots of a cache -> `[B, T, H * C]`. */
  [nativeOps.cachedAttention]: (graph, inputs, { scale, kvHeads, length }) => {
    const [q, keys] = [need(inputs, 'q').shape, need(inputs, 'keys').shape];
    const [B = 0, T = 0, H = 0, C = 0] = q;
    requireHeads('cachedAttention', q, kvHeads as number, keys[1] ?? 0, keys);
    const names = ['q', 'keys', 'values', 'positions'];
    return addOp(graph, nativeOps.cachedAttention, inputs, names, [float(B, T, H * C)], {
      ...numberAttributes({ scale }, ['scale']),
      kv_heads: { int: kvHeads as number },
      length: { int: length as number },
    })[0] as Output;
  },

  /**
   * -> the last layer's result `[B, D]`, and the states that the inputs `caches` name, all keys before all values, with
   * the new position written into them.
   */
  [nativeOps.decoderLayers]: (graph, inputs, { scale, epsilon, kvHeads, length, caches, weights, ...has }) => {
    const [stateNames, weightNames] = [caches as string[], weights as string[]];
    const states = stateNames.map((name) => need(inputs, name));
    const handles = handlesOf('decoderLayers', states);
    const names = [...layerInputs, ...stateNames, ...weightNames];
    const results = addOp(graph, nativeOps.decoderLayers, inputs, names, [need(inputs, 'x'), ...states], {
      ...numberAttributes({ scale, epsilon }, ['scale', 'epsilon']),
      kv_heads: { int: kvHeads as number },
      length: { int: length as number },
      biases: { bool: has.biases === true },
      head_norms: { bool: has.headNorms === true },
      layers: { int: stateNames.length / 2 },
      count: { int: weightNames.length },
    });
    const { node } = results[0] as Output;
    const used = () => [...node.inputs.slice(0, layerInputs.length), ...node.inputs.slice(-weightNames.length)];
    noteInPlaceUpdate({ handles, writes: [node], inputs: used, oldValue: 'lost' }, results.slice(1));
    return results;
  },

  /** -> drawn tokens int32 `[B]` and their log-probs `[B]`. */
  [nativeOps.draw]: (graph, inputs) => {
    const [B = 0] = need(inputs, 'logits').shape;
    return addOp(graph, nativeOps.draw, inputs, ['logits', 'uniforms', 'scale'], [int(B), float(B)]);
  },
};
