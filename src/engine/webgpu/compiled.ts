/** @file Programs compiled to WGSL on an open device, in Node and in a page. */
import { type CreateProgram, typed } from '../program.js';
import { openPipelines } from '../wgsl/pipelines.js';
import { createWgslProgram } from '../wgsl/program.js';
import { type Tuning, tuningOf } from '../wgsl/tuning.js';
import type { WebGpuDevice } from './device.js';

/** @returns a function that compiles programs. It throws Unsupported for an op without a kernel. */
export function openCompiler(gpu: WebGpuDevice, tuning: Tuning = tuningOf(gpu.facts)): CreateProgram {
  const pipelines = openPipelines(gpu.device);
  return (spec) => typed(createWgslProgram(gpu, pipelines, spec, tuning), spec);
}
