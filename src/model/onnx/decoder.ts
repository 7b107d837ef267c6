/**
 * @file Writes a model for transformers.js: the graph in `onnx/`, and config.json, tokenizer and generation files. The graph
 * is the forward pass of network/transformer.ts with a cache of keys and values (in transformers.js, a decoder with past).
 * Activations are `[N, D]`, N = B·T, so that a projection is one Gemm. Inputs and outputs are named as by Hugging Face's
 * exporter (optimum).
 *
 * Parameters are stored in float32, float16 or bytes with a scale per row; the graph widens them on loading and computes in
 * float32. Activations are never quantised: that changed all of 20 greedy answers of SmolLM2-135M.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { take } from '../../engine/shape.js';
import { makeFolder, readRegularFile, writeFileAtomic } from '../../util/file.js';
import { readJsonRecord } from '../../util/json.js';
import { narrow } from '../checkpoint/dtype.js';
import type { Pretrained, Weights } from '../checkpoint/pretrained.js';
import { carriedFiles } from '../checkpoint/save.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import { readTokenizerFiles, withAllParts } from '../checkpoint/tokenizer-file.js';
import type { ModelConfig } from '../network/config.js';
import { elementCount, embeddingName, headName, type ParameterSpecs, parameterSpecs } from '../network/params.js';
import { inverseFrequencies } from '../network/rope.js';
import {
  apply,
  applyMany,
  constant,
  emptyGraph,
  floats,
  integers,
  type OnnxGraph,
  onnxTypes,
  scalar,
  store,
  writeOnnx,
} from './write.js';

export type OnnxFormat = 'f32' | 'f16' | 'q8';

interface ParameterStore {
  readonly graph: OnnxGraph;
  readonly format: OnnxFormat;
  readonly specs: ParameterSpecs;
  readonly weights: Pick<Weights, 'read'>;
}

/** A norm's weight or a bias, `[N]`, always float32. */
function vector({ graph, specs, weights }: ParameterStore, name: string): string {
  const shape = specs[name]!;
  const bytes = () => new Uint8Array(weights.read(name).buffer);
  return store(graph, { name, type: 'float32', shape, byteLength: 4 * elementCount(shape), bytes });
}

/** `x` `[N, in]` times the transposed matrix `name` `[out, in]`, plus a bias: `[N, out]`. */
function linear(parameters: ParameterStore, x: string, name: string, bias?: string): string {
  const inputs = [x, matrix(parameters, name), ...(bias === undefined ? [] : [bias])];
  return apply(parameters.graph, 'Gemm', inputs, { transB: { int: 1 } });
}

/** Rows `ids` `[B, T]` of the matrix `name` `[V, D]`: `[B, T, D]`. */
function rows(parameters: ParameterStore, ids: string, name: string): string {
  return apply(parameters.graph, 'Gather', [matrix(parameters, name), ids]);
}

function toFloat(graph: OnnxGraph, x: string): string {
  return apply(graph, 'Cast', [x], { to: { int: onnxTypes.float32 } });
}

/** A matrix in float32, widened by the graph if it is stored in a narrower format. */
function matrix(parameters: ParameterStore, name: string): string {
  const { graph, format, specs, weights } = parameters;
  const shape = specs[name]!;
  if (format === 'q8') {
    const { bytes, zero, scales } = quantized(parameters, name);
    const steps = apply(graph, 'Sub', [toFloat(graph, bytes), toFloat(graph, zero)]);
    return apply(graph, 'Mul', [steps, apply(graph, 'Unsqueeze', [scales, integers(graph, [-1])])]);
  }
  const half = format === 'f16';
  const stored = store(graph, {
    name,
    shape,
    type: half ? 'float16' : 'float32',
    byteLength: (half ? 2 : 4) * elementCount(shape),
    bytes: () => narrow(weights.read(name), half ? 'float16' : 'float32'),
  });
  return half ? toFloat(graph, stored) : stored;
}

/** Bytes `[out, in]` with zero point 128, and a scale per row. */
function quantized({ graph, specs, weights }: ParameterStore, name: string) {
  const shape = specs[name]!;
  const [rowCount, width] = take(shape, 2);
  const scales = rowScales(weights.read(name), rowCount);
  const bytes = store(graph, {
    name,
    type: 'uint8' as const,
    shape,
    byteLength: rowCount * width,
    bytes() {
      const values = weights.read(name);
      return Uint8Array.from(values, (value, i) => {
        const scale = scales[Math.floor(i / width)]!;
        return scale === 0 ? 128 : 128 + Math.round(value / scale);
      });
    },
  });
  const zero = constant(graph, { name: 'zero_point', type: 'uint8', shape: [], bytes: Uint8Array.of(128) });
  return { bytes, zero, scales: floats(graph, `${name}.scales`, scales) };
}

/** The largest magnitude of each row, divided by 127. */
function rowScales(values: Float32Array, rowCount: number): Float32Array {
  const width = values.length / rowCount;
  const scales = new Float32Array(rowCount);
  for (let i = 0; i < values.length; i += 1) {
    const row = Math.floor(i / width);
    scales[row] = Math.max(scales[row]!, Math.abs(values[i]!));
  }
  return scales.map((largest) => largest / 127);
}

/** The formats' names in transformers.js, and the suffixes of its file names. */
export const onnxDtypes = { f32: 'fp32', f16: 'fp16', q8: 'q8' } as const satisfies Record<OnnxFormat, string>;
const suffixes: Readonly<Record<OnnxFormat, string>> = { f32: '', f16: '_fp16', q8: '_quantized' };

interface OnnxModel {
  readonly pretrained: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly tokenizerFolder: string;
}

/**
 * Writes the folder.
 *
 * @param limit size in bytes above which tensors are stored in files next to the graph; default 2 GB.
 * @returns the files of the graph.
 * @throws the system error of a failing write.
 */
export async function exportOnnx(
  folder: string,
  { pretrained, tokenizer, tokenizerFolder }: OnnxModel,
  format: OnnxFormat,
  limit?: number,
): Promise<string[]> {
  const { config, configRecord, generation, weights } = pretrained;
  makeFolder(join(folder, 'onnx'));
  const name = `model${suffixes[format]}.onnx`;
  const path = join(folder, 'onnx', name);
  const { dataFiles } = await writeOnnx(path, decoderGraph(config, weights, format), limit);

  const put = (file: string, data: string | Uint8Array) => writeFileAtomic(join(folder, file), data);
  for (const file of carriedFiles) {
    const source = [tokenizerFolder, pretrained.folder]
      .map((from) => join(from, file))
      .find((from) => existsSync(from));
    if (source !== undefined) put(file, readRegularFile(source));
  }
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  // transformers.js requires parts that other programs may omit, and reads the template only from the second file.
  put('tokenizer.json', JSON.stringify(withAllParts(readTokenizerFiles(tokenizerFolder).json)));
  const settings = join(folder, 'tokenizer_config.json');
  const tokenizerConfig = existsSync(settings) ? readJsonRecord(settings) : {};
  const template = tokenizer.chatTemplate === null ? {} : { chat_template: tokenizer.chatTemplate };
  put('tokenizer_config.json', json({ ...tokenizerConfig, ...template }));
  if (!existsSync(join(folder, 'generation_config.json'))) {
    put('generation_config.json', json({ eos_token_id: generation.eosTokenIds, pad_token_id: config.padTokenId }));
  }
  const external = dataFiles.length > 0 && { use_external_data_format: { [name]: dataFiles.length } };
  put(
    'config.json',
    json({
      ...configRecord,
      num_key_value_heads: config.kvHeads,
      head_dim: config.headDim,
      ...(external && { 'transformers.js_config': external }),
    }),
  );
  return [name, ...dataFiles].map((file) => join(folder, 'onnx', file));
}

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
function decoderGraph(config: ModelConfig, weights: Pick<Weights, 'read'>, format: OnnxFormat): OnnxGraph {
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

/** B and T, each as a list of one element. */
function batchSizes(graph: OnnxGraph): [B: string, T: string] {
  const shape = apply(graph, 'Shape', ['input_ids']);
  const sizeOf = (axis: number) => apply(graph, 'Gather', [shape, integers(graph, [axis])]);
  return [sizeOf(0), sizeOf(1)];
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

/** Rotary embedding of `x` `[B, heads, T, C]`: channel i is rotated with channel i + C / 2. */
function turn({ graph, cos, sin, config }: Context, x: string): string {
  const half = config.headDim / 2;
  const [a, b] = take(applyMany(graph, 'Split', [x, integers(graph, [half, half])], 2, { axis: { int: -1 } }), 2);
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
