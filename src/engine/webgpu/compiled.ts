/** @file Programs compiled to WGSL on an open device, in Node and in a page. */
import type { Program, ProgramSpec } from '../program.js';
import { openPipelines } from '../wgsl/pipelines.js';
import { createWgslProgram } from '../wgsl/program.js';
import type { WebGpuDevice } from './device.js';

/** Threads that share a row on a card. */
const rowThreads = 64;

/** @returns what compiles a program. It throws Unsupported for an op without a kernel. */
export function openCompiler(gpu: WebGpuDevice): (spec: ProgramSpec) => Program {
  const pipelines = openPipelines(gpu.device);
  // A processor that pretends to be a card runs the threads of a workgroup in turn, and each barrier is a switch of all.
  const threads = gpu.facts.software ? 1 : rowThreads;
  return (spec) => createWgslProgram(gpu, pipelines, spec, threads);
}
