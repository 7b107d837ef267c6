/**
 * @file The webgpu engine in Node: programs on any graphics card, through Dawn. tfjs's own backend (4.22), with synchronous
 * reads, runs one op per call: the fallback for ops without a shader of ours, and the reference for compiled programs.
 */
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../backend.js';
import { createEagerProgram } from '../eager.js';
import { findPackage } from '../packages.js';
import { alone, type CreateProgram, type Program, typed } from '../program.js';
import { Unsupported } from '../wgsl/expressions.js';
import { openCompiler } from '../wgsl/program.js';
import { openDawn } from './dawn.js';
import { assumedBytes, type WebGpuDevice } from './device.js';

/** @throws UserError if there is no adapter, or a package is missing. */
export async function openWebGpuEngine(): Promise<Engine> {
  const gpu = await openDawn();
  await registerTfjsWebGpu(gpu, () => import(pathToFileURL(findPackage('@tensorflow/tfjs-backend-webgpu')!).href));
  const { name, driver, software } = gpu.facts;
  const assumed = assumedBytes(gpu.facts);
  const compile = openCompiler(gpu);
  const createEager: CreateProgram = (spec) => typed(withChecks(gpu, createEagerProgram(tfjsWebGpu, spec)), spec);
  const listeners: ((sentence: string) => void)[] = [];
  const told = new Set<string>();
  const create: CreateProgram = (spec) => {
    try {
      return compile(spec);
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error;
      const sentence = fallbackSentence(error, Object.keys(spec.functions));
      if (!told.has(sentence)) for (const listen of listeners) listen(sentence);
      if (listeners.length > 0) told.add(sentence);
      return createEager(spec);
    }
  };
  return {
    name: 'webgpu',
    description: `WebGPU on ${name}${software ? ', a software renderer' : ''} (${driver})`,
    device: 'gpu',
    ...(assumed !== undefined && { assumedBytes: assumed }),
    storesBytes: false,
    readsHalves: true,
    multipliesBfloat16: false,
    createProgram: create,
    createEagerProgram: createEager,
    createComposedProgram: create,
    onFallback: (listen) => listeners.push(listen),
    tensorCount: () => tf.memory().numTensors,
  };
}

/** @param functions of the program, all of which run op by op. */
function fallbackSentence({ message }: Unsupported, functions: readonly string[]): string {
  const which = functions.length === 1 ? 'it runs' : `${functions.join(', ')} run`;
  return `WebGPU cannot compile a program: ${message}. So ${which} op by op in float32: much slower, with the same results up to rounding.`;
}

/** Wraps `program` so that its calls throw the errors of the device. */
function withChecks({ check }: WebGpuDevice, program: Program): Program {
  const checked =
    <Arguments extends unknown[], Result>(call: (...given: Arguments) => Result) =>
    (...given: Arguments): Result => {
      check();
      const result = call(...given);
      check();
      return result;
    };
  const run = checked(program.run);
  return {
    spec: program.spec,
    ...alone(run),
    run,
    write: checked(program.write),
    fill: checked(program.fill),
    read: checked(program.read),
    dispose: program.dispose,
  };
}

/** Name of the backend in tfjs. */
const tfjsWebGpu = 'webgpu';

/** The parts of the backend's class (backend_webgpu.ts) that are used here. */
interface Backend extends tf.KernelBackend {
  readonly tensorMap: tf.DataStorage<{ values: tf.BackendValues | null; dtype: tf.DataType; resource?: GPUBuffer }>;
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

interface BackendModule {
  readonly WebGPUBackend: new (device: GPUDevice, info: GPUAdapterInfo) => Backend;
}

/** Registers the backend once per process. @param load imports tfjs-backend-webgpu. */
async function registerTfjsWebGpu({ device, read, check }: WebGpuDevice, load: () => Promise<unknown>): Promise<void> {
  if (tf.findBackendFactory(tfjsWebGpu) !== null) return;
  const { WebGPUBackend } = (await load()) as BackendModule;

  class SynchronousBackend extends WebGPUBackend {
    override readSync(dataId: object): tf.BackendValues {
      const { values, dtype, resource } = this.tensorMap.get(dataId);
      if (values !== null && values !== undefined) return values;
      this.endComputePassEncoder();
      if (this.commandEncoder !== null) this.submitQueue();
      const stored = read(resource!, resource!.size);
      // The backend stores bool as int32.
      const result = tf.util.convertBackendValuesAndArrayBuffer(stored, dtype);
      this.tensorMap.get(dataId).values = result;
      return result;
    }
  }

  // The constructor only checks that `navigator.gpu` exists.
  const restore = pretendNavigator();
  const backend = new SynchronousBackend(device, device.adapterInfo);
  restore();
  tf.registerBackend(tfjsWebGpu, () => backend, 2);
  replaceAddN();
  check();
}

function pretendNavigator(): () => void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { gpu: {} }, configurable: true });
  return () => {
    if (before === undefined) Reflect.deleteProperty(globalThis, 'navigator');
    else Object.defineProperty(globalThis, 'navigator', before);
  };
}

/** Replaces the backend's sum of many tensors, which binds them all at once: a card allows a shader eight or ten buffers. */
function replaceAddN(): void {
  const original = tf.getKernel(tf.AddN, tfjsWebGpu).kernelFunc;
  const together = 4;
  const sum: tf.KernelFunc = (call) => {
    let left = Object.values(call.inputs) as tf.TensorInfo[];
    const made: tf.TensorInfo[] = [];
    while (left.length > together) {
      const part = original({ ...call, inputs: left.slice(0, together) as never }) as tf.TensorInfo;
      made.push(part);
      left = [part, ...left.slice(together)];
    }
    const result = original({ ...call, inputs: left as never });
    for (const { dataId } of made) (call.backend as tf.KernelBackend).disposeData(dataId);
    return result;
  };
  tf.unregisterKernel(tf.AddN, tfjsWebGpu);
  tf.registerKernel({ kernelName: tf.AddN, backendName: tfjsWebGpu, kernelFunc: sum });
}
