/**
 * @file NVIDIA's libraries where TensorFlow looks for them. It opens them by name, through the search path of
 * libtensorflow_framework, which lacks the folder of cuSOLVER in TensorFlow 2.21's wheel: without it, TensorFlow uses no GPU. So
 * one folder of that path gets links to the libraries of all others.
 */
import { existsSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../../util/process.js';
import { Unavailable } from '../fetch/unavailable.js';

/** In the search path of libtensorflow_framework, relative to the engine's folder. */
const searched = join('nvidia', 'cuda_runtime', 'lib');

/** The libraries without which TensorFlow registers no GPU (xla/tsl/platform/default/dlopen_checker.cc). */
const opened = [
  'cudart.so.12',
  'cublas.so.12',
  'cublasLt.so.12',
  'cufft.so.11',
  'cusolver.so.11',
  'cusparse.so.12',
  'cudnn.so.9',
];

/** Links every library below `folder`/nvidia into the searched folder, unless one of its name is there. */
export function linkCudaLibraries(folder: string): void {
  const nvidia = join(folder, 'nvidia');
  for (const part of readdirSync(nvidia)) {
    const libraries = join(nvidia, part, 'lib');
    if (!existsSync(libraries)) continue;
    for (const name of readdirSync(libraries).filter((each) => /^lib.+\.so\.\d+$/.test(each))) {
      const link = join(folder, searched, name);
      if (!existsSync(link)) symlinkSync(join('..', '..', part, 'lib', name), link);
    }
  }
}

const script = fileURLToPath(new URL('./cuda-check.js', import.meta.url));

/** Why a library that TensorFlow needs for a GPU does not open; needs no GPU. Undefined if all do. */
export async function cudaLibraryFault(folder: string, signal?: AbortSignal): Promise<string | undefined> {
  const paths = opened.map((name) => join(folder, searched, `lib${name}`));
  const result = await run(process.execPath, [script, ...paths], { signal, env: { ...process.env, NODE_OPTIONS: '' } });
  return result.code === 0
    ? undefined
    : result.stderr.trim().split('\n').at(-1) || `exit code ${result.code ?? result.signal}`;
}

/** @throws Unavailable naming the first library that does not open. */
export async function checkCudaLibraries(folder: string, signal: AbortSignal): Promise<void> {
  const fault = await cudaLibraryFault(folder, signal);
  if (fault !== undefined) throw new Unavailable('load-failed', `A library of CUDA does not load: ${fault}`);
}
