/**
 * @file The parameters of a model as tensors of an ONNX graph, in float32, float16 or bytes, and the operators that use them.
 * float16 and bytes are only storage: the graph widens them on loading and computes in float32. Bytes have a scale per row. Activations
 * are never bytes: that changed all of 20 greedy answers of SmolLM2-135M.
 */
import { narrow } from '../checkpoint/dtype.js';
import type { Weights } from '../checkpoint/pretrained.js';
import { elementCount, type ParameterSpecs } from '../network/params.js';
import { apply, constant, floats, integers, type OnnxGraph, onnxTypes, store } from './write.js';

export type OnnxFormat = 'f32' | 'f16' | 'q8';

export interface ParameterStore {
  readonly graph: OnnxGraph;
  readonly format: OnnxFormat;
  readonly specs: ParameterSpecs;
  readonly weights: Pick<Weights, 'read'>;
}

/** A norm's weight or a bias, `[N]`, always float32. */
export function vector({ graph, specs, weights }: ParameterStore, name: string): string {
  const shape = specs[name]!;
  const bytes = () => new Uint8Array(weights.read(name).buffer);
  return store(graph, { name, type: 'float32', shape, byteLength: 4 * elementCount(shape), bytes });
}

/** `x` `[N, in]` times the transposed matrix `name` `[out, in]`, plus a bias: `[N, out]`. */
export function linear(parameters: ParameterStore, x: string, name: string, bias?: string): string {
  const inputs = [x, matrix(parameters, name), ...(bias === undefined ? [] : [bias])];
  return apply(parameters.graph, 'Gemm', inputs, { transB: { int: 1 } });
}

/** Rows `ids` `[B, T]` of the matrix `name` `[V, D]`: `[B, T, D]`. */
export function rows(parameters: ParameterStore, ids: string, name: string): string {
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
  const [rowCount, width] = shape as [number, number];
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
