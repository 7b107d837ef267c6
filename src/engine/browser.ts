/**
 * @file The engines of a page: WebGPU, whose programs are compiled to WGSL, and WebAssembly. The page loads only the parts
 * of tfjs imported here: its core, the gradients of its kernels and its wasm backend. The page's server provides them.
 */
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../util/errors.js';
import type { Engine } from './backend.js';
import './ops/tfjs-gradients.js';
import { openWasmEngine } from './wasm.js';
import { adapterFacts, assumedBytes, deviceDescriptor, openDevice } from './webgpu/device.js';
import { openCompiler } from './wgsl/program.js';

/** The part of an engine that training a policy needs. */
export type PageEngine = Pick<
  Engine,
  'name' | 'description' | 'device' | 'assumedBytes' | 'readsHalves' | 'createProgram'
>;

/** `auto`: a graphics card if the browser has one, else WebAssembly. */
export type PageEngineChoice = 'auto' | 'webgpu' | 'wasm';

/**
 * @param folder URL of the folder that holds tfjs's wasm file.
 * @throws UserError when the choice is unavailable in this browser.
 */
export async function openPageEngine(choice: PageEngineChoice, folder: string): Promise<PageEngine> {
  if (choice === 'wasm') return await openWasm(folder);
  const gpu = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  const advice = 'Choose WebAssembly and train again.';
  const facts = adapter ? { ...adapterFacts(adapter), advice } : undefined;
  // A software renderer is slower than WebAssembly.
  if (choice === 'auto' && (facts === undefined || facts.software)) return await openWasm(folder);
  if (!adapter || facts === undefined) {
    throw new UserError({
      problem: 'This browser has no WebGPU adapter.',
      found: gpu === undefined ? 'no navigator.gpu: WebGPU needs https or localhost, and a current browser' : undefined,
      fix: 'Choose WebAssembly.',
    });
  }
  const { info } = adapter;
  const name = info.description || [info.vendor, info.device || info.architecture].filter(Boolean).join(' ');
  const device = openDevice(await adapter.requestDevice(deviceDescriptor(adapter)), facts);
  const assumed = assumedBytes(facts);
  return {
    name: 'webgpu',
    description: `WebGPU on ${name || facts.name}${facts.software ? ', a software renderer' : ''}`,
    device: 'gpu',
    ...(assumed !== undefined && { assumedBytes: assumed }),
    readsHalves: true,
    createProgram: openCompiler(device),
  };
}

async function openWasm(folder: string): Promise<PageEngine> {
  setWasmPaths(folder);
  // Threads would need extra headers from the server and a different wasm file.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
  return await openWasmEngine();
}
