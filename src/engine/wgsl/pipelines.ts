/** @file Pipelines of kernels, shared by all programs of a device, and recorded dispatches with their operands. */
import { type Dispatch, maxSlots } from './kernel.js';
import { preamble } from './preamble.js';

/** Bytes of a dispatch's operands. Also the strictest alignment of offsets that a card may require. */
const operandBytes = 4 * maxSlots;

export interface Pipelines {
  readonly device: GPUDevice;
  /** @param buffers number of the kernel's buffers besides inputs, constants and flags. */
  of(code: string, buffers: number): GPUComputePipeline;
  /** The buffers of a kernel, in the order of the preamble. */
  bind(buffers: readonly GPUBuffer[]): GPUBindGroup;
  /** Operands of a function's dispatches. */
  bindOperands(buffer: GPUBuffer): GPUBindGroup;
}

export function openPipelines(device: GPUDevice): Pipelines {
  const known = new Map<string, GPUComputePipeline>();
  const layouts = new Map<number, GPUBindGroupLayout>();
  const storageLayout = (count: number): GPUBindGroupLayout => {
    let layout = layouts.get(count);
    if (layout === undefined) {
      const entries = Array.from({ length: count }, (_, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: binding < 2 ? ('read-only-storage' as const) : ('storage' as const) },
      }));
      layout = device.createBindGroupLayout({ entries });
      layouts.set(count, layout);
    }
    return layout;
  };
  const operandLayout = device.createBindGroupLayout({
    entries: [
      {
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: operandBytes },
      },
    ],
  });
  return {
    device,
    of(code, buffers) {
      const key = `${buffers} ${code}`;
      let pipeline = known.get(key);
      if (pipeline === undefined) {
        const module = device.createShaderModule({ code: preamble(buffers) + code });
        const layout = device.createPipelineLayout({ bindGroupLayouts: [storageLayout(3 + buffers), operandLayout] });
        pipeline = device.createComputePipeline({ layout, compute: { module, entryPoint: 'main' } });
        known.set(key, pipeline);
      }
      return pipeline;
    },
    bind: (buffers) =>
      device.createBindGroup({
        layout: storageLayout(buffers.length),
        entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
      }),
    bindOperands: (buffer) =>
      device.createBindGroup({
        layout: operandLayout,
        entries: [{ binding: 0, resource: { buffer, size: operandBytes } }],
      }),
  };
}

/** Dispatches whose pipelines are compiled and whose operands are on the card. */
export interface Recorded {
  readonly steps: readonly {
    readonly pipeline: GPUComputePipeline;
    readonly groups: readonly [number, number];
    readonly bindings: GPUBindGroup;
  }[];
  readonly operands: GPUBuffer;
  readonly group: GPUBindGroup;
}

/**
 * @param bindingsOf the bindings of a kernel's own buffers, by their names.
 * @param constantsFrom where the function's constants begin.
 */
export function record(
  pipelines: Pipelines,
  bindingsOf: (buffers: readonly string[]) => GPUBindGroup,
  dispatches: readonly Dispatch[],
  constantsFrom: number,
): Recorded {
  const { device } = pipelines;
  const table = new Uint32Array(Math.max(1, dispatches.length) * maxSlots);
  const steps = dispatches.map(({ code, groups, slots, buffers }, index) => {
    slots.forEach(({ buffer, offset }, slot) => {
      table[index * maxSlots + slot] = offset + (buffer === 'constants' ? constantsFrom : 0);
    });
    return { pipeline: pipelines.of(code, buffers.length), groups, bindings: bindingsOf(buffers) };
  });
  const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
  const operands = device.createBuffer({ size: table.byteLength, usage });
  device.queue.writeBuffer(operands, 0, table);
  return { steps, operands, group: pipelines.bindOperands(operands) };
}

export function replay(encoder: GPUCommandEncoder, { steps, group }: Recorded): void {
  if (steps.length === 0) return;
  const pass = encoder.beginComputePass();
  let last: Partial<Recorded['steps'][number]> = {};
  steps.forEach((step, index) => {
    if (step.bindings !== last.bindings) pass.setBindGroup(0, step.bindings);
    if (step.pipeline !== last.pipeline) pass.setPipeline(step.pipeline);
    last = step;
    pass.setBindGroup(1, group, [index * operandBytes]);
    pass.dispatchWorkgroups(step.groups[0], step.groups[1]);
  });
  pass.end();
}
