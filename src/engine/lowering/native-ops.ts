/**
 * @file Lowerings to native ops, which have a kernel in native/: names, inputs, result shapes and attributes. A graph may use
 * an op only if its `nativeOps` contains it, which ops/ ensures.
 */
import { noteInPlaceUpdate, stateHandles, updateAtOnce } from '../graph/aliasing.js';
import { type Attribute, type Graph, type Output, type OutputType, outputOf } from '../graph/graph.js';
import { byteOps, bytesOf, widenedFrom } from '../graph/stored.js';
import { formatShape, type Shape, sizeOf } from '../shape.js';
import type { Inputs, Lowering } from './emit.js';

/** Names of the ops; tfjs finds the lowerings under the same names. */
export const nativeOps = {
  linear: 'TinyzeroLinear',
  product: 'TinyzeroProduct',
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
  clear: 'TinyzeroClear',
  cachedAttention: 'TinyzeroCachedAttention',
  decoderLayers: 'TinyzeroDecoderLayers',
  draw: 'TinyzeroDraw',
  about: 'TinyzeroAbout',
  ...byteOps,
} as const;

/** Ops that contain matrix products and compute only in float32. */
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

/** Appends a node and returns its results. */
function addOp(
  graph: Graph,
  op: string,
  inputs: readonly Output[],
  results: readonly OutputType[],
  attributes: Record<string, Attribute> = {},
): Output[] {
  const node = graph.addNode(op, inputs, results, { attributes });
  return results.map((_, index) => outputOf(node, index));
}

function requireShape(condition: boolean, op: string, problem: string, ...shapes: readonly Shape[]): void {
  if (!condition) throw new Error(`${op}: ${problem}, not ${shapes.map(formatShape).join(' and ')}`);
}

/** Checks number and width of query and key/value heads; empty ones would divide by 0. */
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

type AttentionInputs = Inputs<'q' | 'k' | 'v' | 'bias'>;
type AdamWInputs = Inputs<'parameter' | 'm' | 'v' | 'gradient' | 'scale'> &
  Inputs<'learningRate' | 'beta1Power' | 'beta2Power' | 'epsilon' | 'decay'>;

interface AdamWAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly decays: boolean;
}

interface CacheAttributes {
  readonly scale: number;
  readonly kvHeads: number;
  readonly length: number;
}

interface LayersAttributes extends CacheAttributes {
  readonly epsilon: number;
  /** Names of the cache inputs, all keys before all values; `weights` names the weight inputs. */
  readonly caches: readonly string[];
  readonly weights: readonly string[];
  readonly biases: boolean;
  readonly headNorms: boolean;
}

export const nativeLowerings = {
  /** x `[R, D]`, weight `[E, D]` -> `[R, E]`. A weight stored as bfloat16 or bytes is read as such. */
  [nativeOps.linear]: (graph, { x, weight }: Inputs<'x' | 'weight'>) => {
    const results = [float(x.shape[0]!, weight.shape[0]!)];
    const matrix = bytesOf(weight) ?? widenedFrom(weight) ?? weight;
    const attributes = { W: { type: matrix.dtype }, round: { bool: false } } as const;
    return addOp(graph, nativeOps.linear, [x, matrix], results, attributes);
  },

  /** x `[..., D]` -> y, and 1 / sqrt(mean(x^2) + epsilon) of every row. */
  [nativeOps.rmsNorm]: (graph, { x, weight }: Inputs<'x' | 'weight'>, { epsilon }: { readonly epsilon: number }) => {
    const results = [x, float(rowsOf(x.shape))];
    return addOp(graph, nativeOps.rmsNorm, [x, weight], results, { epsilon: { float: epsilon } });
  },

  [nativeOps.rmsNormGradient]: (graph, { dy, x, weight, inverse }: Inputs<'dy' | 'x' | 'weight' | 'inverse'>) =>
    addOp(graph, nativeOps.rmsNormGradient, [dy, x, weight, inverse], [x, weight]),

  [nativeOps.swiglu]: (graph, { gate, up }: Inputs<'gate' | 'up'>) =>
    addOp(graph, nativeOps.swiglu, [gate, up], [gate]),

  [nativeOps.swigluGradient]: (graph, { dy, gate, up }: Inputs<'dy' | 'gate' | 'up'>) =>
    addOp(graph, nativeOps.swigluGradient, [dy, gate, up], [gate, gate]),

  /** `back` rotates the other way. */
  [nativeOps.rope]: (graph, { x, cos, sin }: Inputs<'x' | 'cos' | 'sin'>, { back }: { readonly back: boolean }) => {
    const [, , , C = 0] = x.shape;
    requireShape(
      x.shape.length === 4 && C > 0 && C % 2 === 0,
      'rope',
      'expected [B, T, N, C] with C even and above 0',
      x.shape,
    );
    return addOp(graph, nativeOps.rope, [x, cos, sin], [x], { back: { bool: back } });
  },

  /** Of logits `[N, V]` -> log-probs of `ids` `[N]`, and two numbers per row that the gradient needs. */
  [nativeOps.logProb]: (graph, { logits, ids, scale }: Inputs<'logits' | 'ids' | 'scale'>) => {
    const [N = 0] = logits.shape;
    return addOp(graph, nativeOps.logProb, [logits, ids, scale], [float(N), float(N, 2)]);
  },

  [nativeOps.logProbGradient]: (graph, inputs: Inputs<'dy' | 'logits' | 'ids' | 'scale' | 'stats'>) => {
    const { dy, logits, ids, scale, stats } = inputs;
    return addOp(graph, nativeOps.logProbGradient, [dy, logits, ids, scale, stats], [logits]);
  },

  /** -> the result `[B, T, H * C]`, and two numbers per row that the gradient needs. */
  [nativeOps.attention]: (graph, { q, k, v, bias }: AttentionInputs, { scale }: { readonly scale: number }) => {
    const [B = 0, T = 0, H = 0, C = 0] = q.shape;
    requireHeads('attention', q.shape, k.shape[2] ?? 0, k.shape[3] ?? 0, k.shape);
    const results = [float(B, T, H * C), float(B, H, T, 2)];
    return addOp(graph, nativeOps.attention, [q, k, v, bias], results, { scale: { float: scale } });
  },

  [nativeOps.attentionGradient]: (
    graph,
    { dy, q, k, v, bias, out, stats }: AttentionInputs & Inputs<'dy' | 'out' | 'stats'>,
    { scale }: { readonly scale: number },
  ) => {
    const inputs = [dy, q, k, v, bias, out, stats];
    return addOp(graph, nativeOps.attentionGradient, inputs, [q, k, v], { scale: { float: scale } });
  },

  [nativeOps.sumOfSquares]: (graph, { x }: Inputs<'x'>) => addOp(graph, nativeOps.sumOfSquares, [x], [float()]),

  /** The state with zeros in its own memory, most of which goes back to the system until it is used again. */
  [nativeOps.clear]: (graph, { state }: Inputs<'state'>) => {
    const update = updateAtOnce('clear', state);
    const node = graph.addNode(nativeOps.clear, [state], [state]);
    const result = outputOf(node, 0);
    update.writes.push(node);
    noteInPlaceUpdate(update, [result]);
    return [result];
  },

  /** The states `parameter`, `m` and `v` after one step, in their own memory. */
  [nativeOps.adamW]: (graph, inputs: AdamWInputs, { beta1, beta2, decays }: AdamWAttributes) => {
    const states = [inputs.parameter, inputs.m, inputs.v];
    const handles = stateHandles('adamW', states);
    const { gradient, scale, learningRate, beta1Power, beta2Power, epsilon, decay } = inputs;
    const used = [gradient, scale, learningRate, beta1Power, beta2Power, epsilon, decay];
    const node = graph.addNode(nativeOps.adamW, [...states, ...used], states, {
      attributes: { beta1: { float: beta1 }, beta2: { float: beta2 }, decays: { bool: decays } },
    });
    const results = states.map((_, index) => outputOf(node, index));
    const usedNow = () => node.inputs.slice(states.length);
    noteInPlaceUpdate({ handles, writes: [node], inputs: usedNow, oldValue: 'copied' }, results);
    return results;
  },

  /** q `[B, T, H, C]` against the first B slots of a cache -> `[B, T, H * C]`. */
  [nativeOps.cachedAttention]: (
    graph,
    { q, keys, values, positions }: Inputs<'q' | 'keys' | 'values' | 'positions'>,
    { scale, kvHeads, length }: CacheAttributes,
  ) => {
    const [B = 0, T = 0, H = 0, C = 0] = q.shape;
    requireHeads('cachedAttention', q.shape, kvHeads, keys.shape[1] ?? 0, keys.shape);
    return addOp(graph, nativeOps.cachedAttention, [q, keys, values, positions], [float(B, T, H * C)], {
      scale: { float: scale },
      kv_heads: { int: kvHeads },
      length: { int: length },
    });
  },

  /** -> the last layer's result `[B, D]`, and the caches with the new position written into them. */
  [nativeOps.decoderLayers]: (graph, inputs: Inputs, attributes: LayersAttributes) => {
    const named = (names: readonly string[]) => names.map((name) => inputs[name]!);
    const given = named(['x', 'cos', 'sin', 'positions']);
    const states = named(attributes.caches);
    const weights = named(attributes.weights);
    const handles = stateHandles('decoderLayers', states);
    const { scale, epsilon, kvHeads, length, biases, headNorms } = attributes;
    const node = graph.addNode(nativeOps.decoderLayers, [...given, ...states, ...weights], [given[0]!, ...states], {
      attributes: {
        scale: { float: scale },
        epsilon: { float: epsilon },
        kv_heads: { int: kvHeads },
        length: { int: length },
        biases: { bool: biases },
        head_norms: { bool: headNorms },
        layers: { int: states.length / 2 },
        count: { int: weights.length },
      },
    });
    const results = node.outputs.map((_, index) => outputOf(node, index));
    const usedNow = () => [...node.inputs.slice(0, given.length), ...node.inputs.slice(-weights.length)];
    noteInPlaceUpdate({ handles, writes: [node], inputs: usedNow, oldValue: 'lost' }, results.slice(1));
    return results;
  },

  /** -> drawn tokens int32 `[B]` and their log-probs `[B]`. */
  [nativeOps.draw]: (graph, { logits, uniforms, scale }: Inputs<'logits' | 'uniforms' | 'scale'>) => {
    const [B = 0] = logits.shape;
    return addOp(graph, nativeOps.draw, [logits, uniforms, scale], [int(B), float(B)]);
  },
} satisfies Record<string, Lowering>;
