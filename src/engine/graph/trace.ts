/**
 * @file The tracing backend: a tfjs backend that computes nothing. Each tfjs kernel is lowered to nodes of the graph under
 * construction and returns a tensor that represents the result. Ordinary tfjs code, including autodiff, thus *describes* a
 * computation, as under `jax.jit` and `tf.function`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type DType, dtypeOf, isDType, type TypedArray } from '../dtype.js';
import { reshape } from '../lowering/emit.js';
import { lowerings } from '../lowering/lowerings.js';
import { nativeOps } from '../lowering/native-ops.js';
import { usesOwnProduct } from '../lowering/shapes.js';
import { formatShape } from '../shape.js';
import { unshaped } from './aliasing.js';
import { type Graph, type Output, outputOf } from './graph.js';
import { bytesOf, storedSource, widen, widenedFrom } from './stored.js';

/** Name of the tracing backend in tfjs. */
export const traceBackendName = 'tinyzero-graph';

/** A larger constant is probably a weight or a data set, which should be state or an input. */
const maxConstantBytes = 16 * 1024 * 1024;

/** A function cannot be traced: it reads a value, or uses an unsupported tfjs kernel or tensor. */
export class TraceError extends Error {
  override readonly name = 'TraceError';
}

class TraceBackend extends tf.KernelBackend {
  graph: Graph | undefined;
  private outputs = new WeakMap<object, { readonly output: Output; readonly graph: Graph }>();

  /** The tensor that represents `output`. */
  info(output: Output): tf.TensorInfo {
    const dataId = {};
    this.outputs.set(dataId, { output, graph: this.currentGraph() });
    return { dataId, shape: [...output.shape], dtype: output.dtype as tf.DataType };
  }

  output(tensor: tf.TensorInfo): Output {
    const known = this.outputs.get(tensor.dataId);
    if (known === undefined || known.graph !== this.graph) {
      throw new TraceError(
        `A tensor of shape ${formatShape(tensor.shape)} was made outside the function that is being compiled. ` +
          'Make it inside, or pass it as an input or as state.',
      );
    }
    return known.output;
  }

  currentGraph(): Graph {
    if (this.graph === undefined) throw new TraceError('a traced tensor was used after its function had been traced');
    return this.graph;
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): object {
    if (!isDType(dtype)) {
      throw new TraceError(`tensors of dtype ${dtype} cannot be compiled; use float32, int32 or bool`);
    }
    const data = typedValues(values, dtype);
    if (data.byteLength > maxConstantBytes && !isFilled(data)) {
      throw new TraceError(
        `A constant of shape ${formatShape(shape)} (${data.byteLength} bytes) would become part of the graph. ` +
          'Pass it as an input or as state.',
      );
    }
    return this.info(this.currentGraph().constant(dtype, shape, data)).dataId;
  }

  override read(_dataId: object): Promise<tf.BackendValues> {
    throw new TraceError(readMessage);
  }

  override readSync(_dataId: object): tf.BackendValues {
    throw new TraceError(readMessage);
  }

  override disposeData(): boolean {
    return true;
  }

  override incRef(): void {}

  override refCount(): number {
    return 1;
  }

  override numDataIds(): number {
    return 0;
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }

  override timerAvailable(): boolean {
    return false;
  }

  override dispose(): void {}
}

const readMessage =
  'The value of a tensor was read (data, dataSync, array, print, ...) while a function was being compiled: ' +
  'there are no values yet. Return the tensor as an output and read it after the run.';

let backend: TraceBackend | undefined;

function traceBackend(): TraceBackend {
  if (backend === undefined) {
    const created = new TraceBackend();
    tf.registerBackend(traceBackendName, () => created, 0);
    for (const [kernelName, lower] of Object.entries(lowerings)) {
      tf.registerKernel({
        kernelName,
        backendName: traceBackendName,
        kernelFunc: ({ inputs, attrs }) => {
          const operands: Record<string, Output> = {};
          for (const [name, tensor] of Object.entries(inputs as Record<string, tf.TensorInfo | null | undefined>)) {
            if (tensor) operands[name] = created.output(tensor);
          }
          // Each lowering declares the inputs and attributes that tfjs gives to its kernel.
          const result = lower(created.currentGraph(), operands as never, (attrs ?? {}) as never);
          return Array.isArray(result) ? result.map((each) => created.info(each)) : created.info(result);
        },
      });
    }
    backend = created;
  }
  return backend;
}

/** A tensor that represents `output`; valid only while `output`'s graph is being traced. */
export function tracedTensor(output: Output): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo(traceBackend().info(output));
}

/** The output that `tensor` represents in the graph being traced. */
export function outputOfTensor(tensor: tf.Tensor): Output {
  return traceBackend().output(tensor);
}

/** The dtype in which TensorFlow's products read a float32 tensor, in the function being traced. */
export function productDtype(tensor: tf.Tensor): 'float32' | 'bfloat16' {
  const { precision, multipliesBfloat16 } = traceBackend().currentGraph().products;
  const narrow = precision === 'bf16' && multipliesBfloat16 && widenedFrom(outputOfTensor(tensor)) !== undefined;
  return narrow ? 'bfloat16' : 'float32';
}

/**
 * `tensor`, available only after `event` has been computed, in the function being traced. State stored in a narrower form is
 * widened again, so that the wide copy need not live until then.
 */
export function tensorAfter(tensor: tf.Tensor, event: tf.Tensor): tf.Tensor {
  const target = traceBackend();
  const graph = target.currentGraph();
  const value = target.output(tensor);
  const stored = storedSource(value) ?? value;
  const attributes = { T: { type: stored.dtype } };
  const control = [target.output(event).node];
  return tracedTensor(widen(graph, graph.add('Identity', [stored], stored, { attributes, control }), value));
}

/** Whether `tensor` is state stored as bfloat16, in the function being traced. */
export function isStoredAsBfloat16(tensor: tf.Tensor): boolean {
  return isTracing() && widenedFrom(traceBackend().output(tensor)) !== undefined;
}

/** Rows `start` to `start + size` of `tensor`, a matrix stored as bfloat16, widened after `event` has been computed. */
export function widenedRowsAfter(
  tensor: tf.Tensor,
  { start, size, event }: { readonly start: number; readonly size: number; readonly event: tf.Tensor },
): tf.Tensor {
  const target = traceBackend();
  const stored = widenedFrom(target.output(tensor));
  if (stored === undefined) throw new Error('the tensor is not stored as bfloat16');
  const graph = target.currentGraph();
  const shape = [size, ...stored.shape.slice(1)];
  const attributes = { T: { type: stored.dtype }, Index: { type: 'int32' } } as const;
  const from = graph.ints(shape.map((_, axis) => (axis === 0 ? start : 0)));
  const control = [target.output(event).node];
  const rows = graph.add(
    'Slice',
    [stored, from, graph.ints(shape)],
    { dtype: stored.dtype, shape },
    { attributes, control },
  );
  return tracedTensor(widen(graph, rows, { dtype: 'float32', shape }));
}

/** Native ops that make one pass over memory. Next to the products that use their results, computing them again is cheap. */
const light: ReadonlySet<string> = new Set([nativeOps.rmsNorm, nativeOps.swiglu]);

/** Elements of a result that is worth computing again. Of smaller ones, all layers' fit in the processor's cache. */
const worthRecomputing = 1 << 16;

/** `tensor`, computed again after `event` if it is the large result of a light op, so that it need not be kept until then. */
export function recomputedAfter(tensor: tf.Tensor, event: tf.Tensor): tf.Tensor {
  if (!isTracing() || tensor.size < worthRecomputing) return tensor;
  const target = traceBackend();
  const output = target.output(tensor);
  const { node } = unshaped(output);
  if (!light.has(node.op)) return tensor;
  const graph = target.currentGraph();
  const control = [target.output(event).node];
  const again = graph.addNode(node.op, node.inputs, node.outputs, { attributes: node.attributes, control });
  return tracedTensor(reshape(graph, outputOf(again, 0), output.shape));
}

/** Whether the function being traced runs on a GPU. */
export function onGpu(): boolean {
  return backend?.graph?.device === 'gpu';
}

/** Runs `body`, whose ops are computed by this replica. Only in a function with `joint`, while it is traced. */
export function onReplica<Result>(replica: number, body: () => Result): Result {
  const graph = traceBackend().currentGraph();
  if (!graph.joint) throw new TraceError('only a joint function can say which replica computes what');
  const previous = graph.replica;
  graph.replica = replica;
  try {
    return body();
  } finally {
    graph.replica = previous;
  }
}

/** Whether a product of `rows` rows with a matrix of `size` elements uses our own kernel, in the function being traced. */
export function usesOwnKernel(rows: number, size: number): boolean {
  return usesOwnProduct(traceBackend().currentGraph(), rows, size);
}

/** Whether `tensor` is state stored as bytes, in the function being traced. */
export function isStoredInBytes(tensor: tf.Tensor): boolean {
  return isTracing() && bytesOf(traceBackend().output(tensor)) !== undefined;
}

/**
 * {@link tensorAfter} for state stored in a narrower form, which is then wide only while it is used. Returns any other
 * tensor, and any tensor outside of a trace, unchanged.
 */
export function widenedAfter(tensor: tf.Tensor, event: tf.Tensor): tf.Tensor {
  if (!isTracing() || storedSource(traceBackend().output(tensor)) === undefined) return tensor;
  return tensorAfter(tensor, event);
}

/** True while tracing a function that may use the native op `op`. */
export function canUse(op: string): boolean {
  return backend?.graph?.nativeOps.has(op) ?? false;
}

/** Appends an op for which tfjs has no kernel; its lowering defines its inputs, attributes and `Results`. */
export function runOp<Results extends tf.Tensor[] = [tf.Tensor]>(
  op: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  attributes: object = {},
): Results {
  // tfjs types the results of every kernel as one tensor.
  return tf.engine().runKernel(op, { ...inputs }, { ...attributes }) as unknown as Results;
}

/** True while tracing a function, which may then use ops that no eager backend has. */
export function isTracing(): boolean {
  return backend?.graph !== undefined;
}

/**
 * Runs `body` once with tfjs on the tracing backend and appends every op that it calls to `graph`.
 *
 * @throws TraceError naming an unsupported tfjs kernel and the line that called it, or the line that read a value.
 */
export function trace<Result>(graph: Graph, body: () => Result): Result {
  const target = traceBackend();
  if (target.graph !== undefined) throw new TraceError('a compiled function cannot be built inside another');
  const engine = tf.engine();
  const previous = engine.backendName;
  target.graph = graph;
  engine.startScope('trace');
  try {
    useBackend(traceBackendName);
    return body();
  } catch (error) {
    throw explained(error);
  } finally {
    engine.endScope();
    target.graph = undefined;
    if (previous !== undefined && previous !== null) useBackend(previous);
  }
}

/** tfjs switches the backend immediately if it is ready, as this one and the previous one are. */
function useBackend(name: string): void {
  void tf.setBackend(name);
  if (tf.getBackend() !== name) throw new Error(`the tfjs backend ${name} is not ready`);
}

function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const kernel = /[Kk]ernel '(\w+)' (not registered )?for backend 'tinyzero-graph'/.exec(error.message)?.[1];
  if (kernel === undefined && !(error instanceof TraceError)) return error;
  const problem =
    kernel === undefined
      ? error.message
      : `The tfjs kernel ${kernel} cannot be compiled. Compiled functions may use ${Object.keys(lowerings).sort().join(', ')}.`;
  const caller = callerLine(error);
  return new TraceError(caller === undefined ? problem : `${problem} Called at ${caller}`, { cause: error });
}

const libraryLine = /node_modules|node:internal|[\\/]tfjs[\w-]*[\\/]|[\\/]src[\\/]engine[\\/]/;

/** The first stack line outside of libraries (tfjs's source maps name `tfjs-core/src`) and of this engine. */
function callerLine(error: Error): string | undefined {
  const lines = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const caller = lines.find((line) => !libraryLine.test(line));
  return caller?.trim().replace(/^at /, '');
}

function typedValues(values: tf.BackendValues, dtype: DType): TypedArray {
  if (dtypeOf(values) === dtype) return values as Float32Array;
  const list = values as unknown as ArrayLike<number>;
  if (dtype === 'float32') return Float32Array.from(list);
  return dtype === 'int32' ? Int32Array.from(list) : Uint8Array.from(list);
}

function isFilled(data: ArrayLike<number>): boolean {
  for (let index = 1; index < data.length; index++) if (!Object.is(data[index], data[0])) return false;
  return true;
}
