/**
 * @file The webgpu engine in Node: programs on any graphics card, through Dawn.
 */
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../backend.js';
import { createEagerProgram } from '../eager.js';
import { findPackage } from '../packages.js';
import { alone, type CreateProgram, type Program, typed } from '../program.js';
import { Unsupported } from '../wgsl/expressions.js';
import { openCompiler } from './compiled.js';
import { openDawn } from './dawn.js';
import type { WebGpuDevice } from './device.js';
import { registerTfjsWebGpu, tfjsWebGpu } from './tfjs-backend.js';

/** @throws UserError if there is no adapter, or a package is missing. */
export async function openWebGpuEngine(): Promise<Engine> {
  const gpu = await openDawn();
  await registerTfjsWebGpu(gpu, () => import(pathToFileURL(findPackage('@tensorflow/tfjs-backend-webgpu')!).href));
  const { name, driver, software } = gpu.facts;
  const compile = openCompiler(gpu);
  const createEager: CreateProgram = (spec) => typed(withChecks(gpu, createEagerProgram(tfjsWebGpu, spec)), spec);
  const create: CreateProgram = (spec) => {
    try {
      return compile(spec);
    } catch (error) {
      if (error instanceof Unsupported) return createEager(spec);
      throw error;
    }
  };
  return {
    name: 'webgpu',
    description: `WebGPU on ${name}${software ? ', a processor pretending to be a card' : ''} (${driver})`,
    device: 'gpu',
    storesBytes: false,
    multipliesBfloat16: false,
    createProgram: create,
    createEagerProgram: createEager,
    createComposedProgram: create,
    tensorCount: () => tf.memory().numTensors,
  };
}

/** `program`, whose calls throw what went wrong on the device. */
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
