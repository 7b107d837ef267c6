/**
 * @file The forward pass of network/transformer.ts as an ONNX graph, with a cache of keys and values (in
 * transformers.js, a decoder with past). Activations are `[N, D]`, N = B·T, so that a projection is one Gemm. Inputs and
 * outputs are named as by Hugging Face's exporter (optimum).
 */
import type { Weights } from '../checkpoint/pretrained.js';
import type { ModelConfig } from '../network/config.js';
import { embeddingName, headName, parameterSpecs } from '../network/params.js';
import { inverseFrequencies } from '../network/rope.js';
import { apply, applyMany, emptyGraph, floats, integers, type OnnxGraph, onnxTypes, scalar } from './graph.js';
import { linear, type OnnxFormat, type ParameterStore, rows, vector } from './parameters.js';

/** Names of the tensors that every layer uses. */
interface Context extends ParameterStore {
  readonly config: ModelConfig;
  /** Shapes for Reshape. */
  readonly shapes: {
    readonly queries: string;
    readonly keys: string;
    readonly grouped: string;
    readonly joined: string;
  };
  /** `[B, 1, T, C / 2]` */
  readonly cos: string;
  readonly sin: string;
  /** Which positions may be attended to, bool `[B, 1, 1, T, S]`. */
  readonly visible: string;
}

/** @param weights read tensor by tensor while the graph is written. */
export function decoderGraph(config: ModelConfig, weights: Pick<Weights, 'read'>, format: OnnxFormat): OnnxGraph {
  const graph = emptyGraph();
  const { kvHeads: K, headDim: C, vocabSize: V } = config;
  const batch = 'batch_size';
  graph.inputs.push(
    { name: 'input_ids', type: 'int64', shape: [batch, 'sequence_length'] },
    { name: 'attention_mask', type: 'int64', shape: [batch, 'total_sequence_length'] },
    { name: 'position_ids', type: 'int64', shape: [batch, 'sequence_length'] },
  );
  graph.outputs.push({ name: 'logits', type: 'float32', shape: [batch, 'sequence_length', V] });

  const parameters: ParameterStore = { graph, format, specs: parameterSpecs(config), weights };
  const context: Context = { ...parameters, config, ...sharedTensors(graph, config) };
  const flat = integers(graph, [-1, config.hiddenSize]);
  let x = apply(graph, 'Reshape', [rows(parameters, 'input_ids', embeddingName), flat]);
  for (let layer = 0; layer < config.layers; layer += 1) {
    for (const kind of ['key', 'value'] as const) {
      const past = [batch, K, 'past_sequence_length', C];
      const present = [batch, K, 'total_sequence_length', C];
      graph.inputs.push({ name: `past_key_values.${layer}.${kind}`, type: 'float32', shape: past });
      graph.outputs.push({ name: `present.${layer}.${kind}`, type: 'float32', shape: present });
    }
    x = decoderLayer(context, layer, x);
  }
  const logits = linear(parameters, norm(context, x, 'model.norm.weight'), config.tied ? embeddingName : headName);
  const [B, T] = batchSizes(graph);
  const shape = apply(graph, 'Concat', [B, T, integers(graph, [V])], { axis: { int: 0 } });
  apply(graph, 'Reshape', [logits, shape], {}, 'logits');
  return graph;
}

/** B and T, each a list of one. */
function batchSizes(graph: OnnxGraph): [B: string, T: string] {
  const shape = apply(graph, 'Shape', ['input_ids']);
  return [0, 1].map((index) => apply(graph, 'Gather', [shape, integers(graph, [index])])) as [string, string];
}

function sharedTensors(graph: OnnxGraph, config: ModelConfig): Pick<Context, 'shapes' | 'cos' | 'sin' | 'visible'> {
  const { heads: H, kvHeads: K, headDim: C, rope } = config;
  const [B, T] = batchSizes(graph);
  const shape = (...sizes: (string | number)[]) => {
    const parts = sizes.map((size) => (typeof size === 'number' ? integers(graph, [size]) : size));
    return apply(graph, 'Concat', parts, { axis: { int: 0 } });
  };
  const shapes = {
    queries: shape(B, T, H, C),
    keys: shape(B, T, K, C),
    grouped: shape(B, K, H / K, T, C),
    joined: integers(graph, [-1, H * C]),
  };

  const positions = apply(graph, 'Cast', ['position_ids'], { to: { int: onnxTypes.float32 } });
  // [B, 1, T, 1] times [C / 2].
  const unsqueezed = apply(graph, 'Unsqueeze', [positions, integers(graph, [1, 3])]);
  const frequencies = floats(graph, 'inverse_frequencies', inverseFrequencies(rope, C));
  const angles = apply(graph, 'Mul', [unsqueezed, frequencies]);
  const turned = (op: string) => {
    const result = apply(graph, op, [angles]);
    return rope.attentionFactor === 1 ? result : apply(graph, 'Mul', [result, scalar(graph, rope.attentionFactor)]);
  };
  return { shapes, cos: turned('Cos'), sin: turned('Sin'), visible: visiblePositions(graph, T) };
}

/** A position attends to itself and earlier ones in the cache, except those that the mask hides. */
function visiblePositions(graph: OnnxGraph, T: string): string {
  const one = integers(graph, [1], []);
  const zero = integers(graph, [0], []);
  const total = apply(graph, 'Gather', [apply(graph, 'Shape', ['attention_mask']), one]);
  const length = apply(graph, 'Squeeze', [T]);
  const places = apply(graph, 'Range', [zero, total, one]);
  const own = apply(graph, 'Range', [apply(graph, 'Sub', [total, length]), total, one]);
  const column = apply(graph, 'Unsqueeze', [own, integers(graph, [1])]);
  const before = apply(graph, 'LessOrEqual', [places, column]);
  const mask = apply(graph, 'Cast', ['attention_mask'], { to: { int: onnxTypes.bool } });
  return apply(graph, 'And', [before, apply(graph, 'Unsqueeze', [mask, integers(graph, [1, 2, 3])])]);
}

function decoderLayer(context: Context, layer: number, x: string): string {
  const { graph } = context;
  const prefix = `model.layers.${layer}`;
  const mixed = attention(context, layer, norm(context, x, `${prefix}.input_layernorm.weight`));
  const middle = apply(graph, 'Add', [x, mixed]);
  const normed = norm(context, middle, `${prefix}.post_attention_layernorm.weight`);
  const gate = project(context, normed, `${prefix}.mlp.gate_proj`);
  const up = project(context, normed, `${prefix}.mlp.up_proj`);
  const swish = apply(graph, 'Mul', [gate, apply(graph, 'Sigmoid', [gate])]);
  const down = project(context, apply(graph, 'Mul', [swish, up]), `${prefix}.mlp.down_proj`);
  return apply(graph, 'Add', [middle, down]);
}

function attention(context: Context, layer: number, x: string): string {
  const { graph, config, shapes, visible } = context;
  const prefix = `model.layers.${layer}.self_attn`;
  const heads = (name: 'q' | 'k' | 'v', shape: string): string => {
    const split = apply(graph, 'Reshape', [project(context, x, `${prefix}.${name}_proj`), shape]);
    const normed = config.qkNorm && name !== 'v' ? norm(context, split, `${prefix}.${name}_norm.weight`) : split;
    const moved = apply(graph, 'Transpose', [normed], { perm: { ints: [0, 2, 1, 3] } }); // [B, heads, T, C]
    return name === 'v' ? moved : turn(context, moved);
  };
  const joined = (kind: 'key' | 'value', fresh: string) => {
    const past = `past_key_values.${layer}.${kind}`;
    return apply(graph, 'Concat', [past, fresh], { axis: { int: 2 } }, `present.${layer}.${kind}`); // [B, K, S, C]
  };
  const q = apply(graph, 'Reshape', [heads('q', shapes.queries), shapes.grouped]); // [B, K, H / K, T, C]
  const scaled = apply(graph, 'Mul', [q, scalar(graph, 1 / Math.sqrt(config.headDim))]);
  const k = joined('key', heads('k', shapes.keys));
  const v = joined('value', heads('v', shapes.keys));
  const turnedKeys = apply(graph, 'Transpose', [k], { perm: { ints: [0, 1, 3, 2] } });
  const group = (name: string) => apply(graph, 'Unsqueeze', [name, integers(graph, [2])]); // for every query head
  const scores = apply(graph, 'MatMul', [scaled, group(turnedKeys)]); // [B, K, H / K, T, S]
  // The lowest float32, not minus infinity: a row of padding attends to nothing, and must not become NaN.
  const hidden = apply(graph, 'Where', [visible, scores, scalar(graph, -3.4028234663852886e38)]);
  const mixed = apply(graph, 'MatMul', [apply(graph, 'Softmax', [hidden], { axis: { int: -1 } }), group(v)]);
  const back = apply(graph, 'Transpose', [mixed], { perm: { ints: [0, 3, 1, 2, 4] } }); // [B, T, K, H / K, C]
  return project(context, apply(graph, 'Reshape', [back, shapes.joined]), `${prefix}.o_proj`);
}

/** Rotary embedding of `x` `[B, heads, T, C]`: channel i turns with channel i + C / 2. */
function turn({ graph, cos, sin, config }: Context, x: string): string {
  const half = config.headDim / 2;
  const [a, b] = applyMany(graph, 'Split', [x, integers(graph, [half, half])], 2, { axis: { int: -1 } }) as [
    string,
    string,
  ];
  const times = (left: string, right: string) => apply(graph, 'Mul', [left, right]);
  const first = apply(graph, 'Sub', [times(a, cos), times(b, sin)]);
  const second = apply(graph, 'Add', [times(b, cos), times(a, sin)]);
  return apply(graph, 'Concat', [first, second], { axis: { int: -1 } });
}

/** RMSNorm over the last dimension. */
function norm(context: Context, x: string, name: string): string {
  const { graph, config } = context;
  const last = { axes: { ints: [-1] }, keepdims: { int: 1 } };
  const square = apply(graph, 'ReduceMean', [apply(graph, 'Mul', [x, x])], last);
  const length = apply(graph, 'Sqrt', [apply(graph, 'Add', [square, scalar(graph, config.rmsNormEps)])]);
  return apply(graph, 'Mul', [apply(graph, 'Div', [x, length]), vector(context, name)]);
}

function project(context: Context, x: string, name: string): string {
  const bias = `${name}.bias`;
  return linear(context, x, `${name}.weight`, bias in context.specs ? vector(context, bias) : undefined);
}
