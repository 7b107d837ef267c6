/** @file The wasm engine, in Node and in a browser: programs op by op on tfjs-backend-wasm. */
import * as tf from '@tensorflow/tfjs-core';
import { UserError } from '../util/errors.js';
import type { Engine } from './backend.js';
import { createEagerProgram } from './eager.js';
import { replaceWasmKernels } from './wasm.js';

/** tfjs's backend, and the gradients of its kernels, must be imported. @throws UserError if it does not start. */
export async function openWasmEngine(): Promise<Engine> {
  if (!(await tf.setBackend('wasm'))) {
    throw new UserError({
      problem: 'The wasm engine did not start.',
      expected: 'WebAssembly SIMD: Node 20 or later, or a browser of 2023 or later, on a processor that has it',
      fix: 'In Node, `tinyzero doctor` checks both.',
    });
  }
  replaceWasmKernels();
  return {
    name: 'wasm',
    description: 'WebAssembly (SIMD, 1 thread)',
    device: 'cpu',
    storesBytes: false,
    multipliesBfloat16: false,
    createProgram: (spec) => createEagerProgram('wasm', spec),
    createEagerProgram: (spec) => createEagerProgram('wasm', spec),
    createComposedProgram: (spec) => createEagerProgram('wasm', spec),
    tensorCount: () => tf.memory().numTensors,
  };
}
