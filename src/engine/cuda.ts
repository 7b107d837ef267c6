/**
 * @file NVIDIA GPUs of this machine, and the settings of TensorFlow's CUDA build, which TensorFlow and CUDA read from the
 * environment when they start. The user's own take precedence. Loads no tensor library.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { cacheFolder } from '../util/machine.js';
import { findProgram } from '../util/process.js';

export interface NvidiaGpu {
  readonly name: string;
  readonly memoryBytes: number;
  /** Compute capability: 9.0 for Hopper. */
  readonly capability: number;
  readonly driver: string;
}

/** The GPUs that the driver lists and CUDA_VISIBLE_DEVICES allows, in the latter's order. Empty without a driver. */
export function nvidiaGpus(env: NodeJS.ProcessEnv = process.env): NvidiaGpu[] {
  const program = findProgram('nvidia-smi', env);
  if (program === undefined) return [];
  const query = ['--query-gpu=uuid,name,memory.total,compute_cap,driver_version', '--format=csv,noheader,nounits'];
  const { status, stdout } = spawnSync(program, query, { encoding: 'utf8', timeout: 10_000, env });
  return status === 0 ? visibleGpus(stdout, env.CUDA_VISIBLE_DEVICES) : []; // a driver without a working GPU
}

/** Compute capability from which NVIDIA's GPUs have instructions for products of bfloat16. */
export const bfloat16Capability = 8;

const mebibyte = 2 ** 20;

/**
 * @param csv output of nvidia-smi: uuid, name, MiB, capability, driver.
 * @param visible CUDA_VISIBLE_DEVICES: numbers or uuids.
 */
export function visibleGpus(csv: string, visible: string | undefined): NvidiaGpu[] {
  const all = csv
    .split('\n')
    .map((line) => line.split(',').map((field) => field.trim()))
    .filter(({ length }) => length === 5)
    .map(([uuid = '', name = '', memory, capability, driver = '']) => ({
      uuid,
      gpu: { name, memoryBytes: Number(memory) * mebibyte, capability: Number(capability), driver },
    }));
  if (visible === undefined) return all.map(({ gpu }) => gpu);
  const chosen: NvidiaGpu[] = [];
  for (const item of visible.split(',').map((part) => part.trim())) {
    const found = /^\d+$/.test(item) ? all[Number(item)] : all.find(({ uuid }) => item !== '' && uuid.startsWith(item));
    if (found === undefined) break; // CUDA ignores what follows an unknown name, such as -1
    chosen.push(found.gpu);
  }
  return chosen;
}

/** The most memory of a GPU that TensorFlow may take, in bytes: TINYZERO_GPU_MEMORY, in GB. Undefined: as much as it needs. */
export function gpuMemoryLimit(env: NodeJS.ProcessEnv = process.env): number | undefined {
  const gigabytes = Number(env.TINYZERO_GPU_MEMORY || undefined);
  return gigabytes > 0 ? gigabytes * 1e9 : undefined;
}

/** @param folder of the engine, with `nvidia/`. Call it before TensorFlow is loaded. */
export function chooseCudaSettings(folder: string, env: NodeJS.ProcessEnv = process.env): void {
  // Allocate memory as needed, not all of the GPU's at the start.
  env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  // Sums in a fixed order, so that runs repeat and resume with the same bytes.
  env.TF_DETERMINISTIC_OPS ??= '1';
  // `--precision f32` means float32. With TF32, products would round their operands to 11 significant bits.
  env.NVIDIA_TF32_OVERRIDE ??= '0';
  // On cards newer than the build, the driver compiles kernels at the first start. The cache has room for all of them.
  env.CUDA_CACHE_PATH ??= join(cacheFolder(env), 'cuda');
  env.CUDA_CACHE_MAXSIZE ??= '4294967296';
  const flags = env.XLA_FLAGS ?? '';
  if (!flags.includes('--xla_gpu_cuda_data_dir')) {
    env.XLA_FLAGS = `${flags} --xla_gpu_cuda_data_dir=${join(folder, 'nvidia', 'cuda_nvcc')}`.trim();
  }
}
