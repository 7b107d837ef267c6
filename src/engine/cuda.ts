/**
 * @file Settings of TensorFlow's CUDA build, which TensorFlow and CUDA read from the environment when they start. The user's own
 * take precedence.
 */
import { join } from 'node:path';
import { cacheFolder } from '../util/machine.js';

/** @param folder of the engine, with `nvidia/`. Call it before TensorFlow is loaded. */
export function chooseCudaSettings(folder: string, env: NodeJS.ProcessEnv = process.env): void {
  // Memory is taken as it is needed, not all of the GPU's at the start.
  env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true';
  // Sums in a fixed order, so that runs repeat and resume with the same bytes.
  env.TF_DETERMINISTIC_OPS ??= '1';
  // `--precision f32` means float32. With TF32, products would round their operands to 11 significant bits.
  env.NVIDIA_TF32_OVERRIDE ??= '0';
  // Kernels that the driver compiles for this GPU at the first start are kept, and there is room for all of them.
  env.CUDA_CACHE_PATH ??= join(cacheFolder(env), 'cuda');
  env.CUDA_CACHE_MAXSIZE ??= '4294967296';
  const flags = env.XLA_FLAGS ?? '';
  if (!flags.includes('--xla_gpu_cuda_data_dir')) {
    env.XLA_FLAGS = `${flags} --xla_gpu_cuda_data_dir=${join(folder, 'nvidia', 'cuda_nvcc')}`.trim();
  }
}
