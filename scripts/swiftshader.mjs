// SwiftShader for the tests of WebGPU: a Vulkan driver that computes on the processor, and Vulkan's loader. Both are in the npm
// package @sparticuz/chromium (Linux on x64), from which they are extracted once.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { unpack, untar } from './chromium.mjs';

const files = ['libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json'];

/**
 * `env`: for the test processes, so that Dawn finds the driver. `missing`: why there is none.
 * With `TINYZERO_TEST_GPU=1`, the tests run on this machine's card and driver.
 */
export async function setUpSwiftShader() {
  if (process.env.TINYZERO_TEST_GPU === '1') return { env: {} };
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return missing('SwiftShader is taken from a package for Linux on x64; TINYZERO_TEST_GPU=1 uses a real card');
  }
  const folder = resolve('node_modules/.cache/tinyzero-swiftshader');
  if (!files.every((file) => existsSync(join(folder, file)))) {
    try {
      await unpack(folder, (staging) => untar('swiftshader.tar.br', staging, files));
    } catch (error) {
      return missing(`SwiftShader could not be unpacked: ${error.message}`);
    }
  }
  const libraries = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { env: { VK_ICD_FILENAMES: join(folder, 'vk_swiftshader_icd.json'), LD_LIBRARY_PATH: libraries } };
}

function missing(reason) {
  return { env: { TINYZERO_TEST_WEBGPU_MISSING: reason }, missing: reason };
}

// `node scripts/swiftshader.mjs SCRIPT ARGUMENT...` runs a script with the driver.
if (process.argv[1] === import.meta.filename) {
  const { env } = await setUpSwiftShader();
  const run = spawnSync(process.execPath, process.argv.slice(2), { stdio: 'inherit', env: { ...process.env, ...env } });
  process.exit(run.status ?? 1);
}
