/**
 * @file The ways in which a program can run, for tests that compare them: compiled, compiled without native ops,
 * and op by op on native TensorFlow, and op by op on WebAssembly.
 */
import { test } from 'node:test';
import { type Engine, openEngine } from '../../src/engine/backend.js';
import type { TypedArray } from '../../src/engine/dtype.js';
import type { FunctionSpec, Program, ProgramSpec } from '../../src/engine/program.js';
import { nativeTest } from './native.js';
import { webGpuTest } from './webgpu.js';

export interface Way {
  readonly name: 'compiled' | 'composed' | 'eager' | 'webgpu' | 'wasm';
  readonly engine: Engine;
  create(spec: ProgramSpec): Program;
}

export async function wasmWay(): Promise<Way> {
  const engine = await openEngine('wasm');
  return { name: 'wasm', engine, create: (spec) => engine.createProgram(spec) };
}

/** Compiled to WGSL. */
async function webGpuWay(): Promise<Way> {
  const engine = await openEngine('webgpu');
  return { name: 'webgpu', engine, create: (spec) => engine.createProgram(spec) };
}

export async function compiledWay(): Promise<Way> {
  const engine = await openEngine('tensorflow');
  return { name: 'compiled', engine, create: (spec) => engine.createProgram(spec) };
}

export async function composedWay(): Promise<Way> {
  const engine = await openEngine('tensorflow');
  return { name: 'composed', engine, create: (spec) => engine.createComposedProgram(spec) };
}

export async function eagerWay(): Promise<Way> {
  const engine = await openEngine('tensorflow');
  // The first program registers the backend's kernels.
  engine.createEagerProgram({ state: {}, functions: {} }).dispose();
  return { name: 'eager', engine, create: (spec) => engine.createEagerProgram(spec) };
}

export async function allWays(): Promise<Way[]> {
  return [await compiledWay(), await composedWay(), await eagerWay(), await wasmWay()];
}

/** Builds a program of one function without state, runs it once and frees it. */
export function runOnce(
  way: Way,
  spec: FunctionSpec,
  inputs: Readonly<Record<string, TypedArray>> = {},
): Record<string, TypedArray> {
  const program = way.create({ state: {}, functions: { f: spec } });
  try {
    return program.run('f', inputs);
  } finally {
    program.dispose();
  }
}

/** Declares `name` five times, once per way; those that need native TensorFlow are skipped if it is unavailable. */
export function testEveryWay(name: string, body: (way: Way) => void | Promise<void>): void {
  nativeTest(`${name} (compiled)`, async () => body(await compiledWay()));
  nativeTest(`${name} (composed)`, async () => body(await composedWay()));
  nativeTest(`${name} (eager)`, async () => body(await eagerWay()));
  webGpuTest(`${name} (webgpu)`, async () => body(await webGpuWay()));
  test(`${name} (wasm)`, async () => body(await wasmWay()));
}
