/**
 * @file tfjs's WebGPU backend (4.22) on an open device, with synchronous reads. It runs one op per call: the fallback for
 * ops without a shader of their own, and the reference for compiled programs.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGpuDevice } from './device.js';

/** Name of the backend in tfjs. */
export const tfjsWebGpu = 'webgpu';

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
export async function registerTfjsWebGpu(
  { device, read, check }: WebGpuDevice,
  load: () => Promise<unknown>,
): Promise<void> {
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

/** The backend's sum of many tensors binds them all at once, and a card allows a shader eight or ten buffers. */
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
