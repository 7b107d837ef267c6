/**
 * @file Checks that a new engine loads on this machine: TensorFlow's addon, and NVIDIA's libraries, which are first linked
 * into the folder where TensorFlow looks for them. Both are loaded in a separate process.
 */
import { existsSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../../util/process.js';
import { Unavailable } from '../fetch/unavailable.js';

const script = fileURLToPath(new URL('./load-check.js', import.meta.url));

/**
 * Loads an addon in a separate process and computes with it.
 *
 * @param kernelsPath the addon with tinyzero's kernels, if there is one.
 * @returns TensorFlow's version, and the number of tinyzero's kernels.
 */
export async function checkLoads(
  bindingPath: string,
  kernelsPath?: string,
  signal?: AbortSignal,
): Promise<{ tensorflow: string; ops: number }> {
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', NODE_OPTIONS: '' };
  const args = [script, 'addon', bindingPath, ...(kernelsPath === undefined ? [] : [kernelsPath])];
  const result = await run(process.execPath, args, { signal, env });
  if (result.code === 0) return JSON.parse(result.stdout) as { tensorflow: string; ops: number };
  throw new Unavailable('load-failed', explainLoad(result));
}

function explainLoad({ code, signal, stderr }: { code: number | null; signal: string | null; stderr: string }): string {
  const glibc = /version `(GLIBC(?:XX)?_[\d.]+)' not found/.exec(stderr)?.[1];
  if (glibc !== undefined) return `The addon does not load: it needs ${glibc}, which is newer than this system has.`;
  const missing = /(\S+): cannot open shared object file/.exec(stderr)?.[1];
  if (missing !== undefined) return `The addon does not load: the library ${missing.replace(/:$/, '')} is missing.`;
  if (signal === 'SIGILL') return 'The addon does not load: TensorFlow uses instructions (AVX) this processor lacks.';
  const reason = /^(?:\w*Error|Error): (.+)$/m.exec(stderr)?.[1] ?? stderr.trim().split('\n').at(-1) ?? '';
  return `The addon does not load (${signal ?? `exit ${code}`}): ${reason.replace(/\.?$/, '.')}`;
}

/** A folder in the search path of libtensorflow_framework, relative to the engine's folder. */
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

/**
 * Links every library below `folder`/nvidia into the searched folder, unless it holds one of that name. TensorFlow opens
 * NVIDIA's libraries by name, through the search path of libtensorflow_framework, which lacks the folder of cuSOLVER in
 * TensorFlow 2.21's wheel: without it, TensorFlow uses no GPU.
 */
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

/** Why a library that TensorFlow needs for a GPU does not open; undefined if all open. The check itself needs no GPU. */
export async function cudaLibraryFault(folder: string, signal?: AbortSignal): Promise<string | undefined> {
  const paths = opened.map((name) => join(folder, searched, `lib${name}`));
  const result = await run(process.execPath, [script, 'libraries', ...paths], {
    signal,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  return result.code === 0
    ? undefined
    : result.stderr.trim().split('\n').at(-1) || `exit code ${result.code ?? result.signal}`;
}

/** @throws Unavailable naming the first library that does not open. */
export async function checkCudaLibraries(folder: string, signal: AbortSignal): Promise<void> {
  const fault = await cudaLibraryFault(folder, signal);
  if (fault !== undefined) throw new Unavailable('load-failed', `A library of CUDA does not load: ${fault}`);
}
