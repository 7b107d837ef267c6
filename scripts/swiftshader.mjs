// SwiftShader for the tests of WebGPU: a Vulkan driver that computes on the processor, and Vulkan's loader. Both are in the npm
// package @sparticuz/chromium (Linux on x64), from which they are extracted once.
import { spawnSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';
import { extract } from 'tar';

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
      await unpack(folder);
    } catch (error) {
      return missing(`SwiftShader could not be unpacked: ${error.message}`);
    }
  }
  const libraries = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { env: { VK_ICD_FILENAMES: join(folder, 'vk_swiftshader_icd.json'), LD_LIBRARY_PATH: libraries } };
}

async function unpack(folder) {
  const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
  const archive = join(
    entry.slice(0, entry.indexOf('@sparticuz')),
    '@sparticuz',
    'chromium',
    'bin',
    'swiftshader.tar.br',
  );
  mkdirSync(dirname(folder), { recursive: true });
  const staging = mkdtempSync(`${folder}-`);
  try {
    await pipeline(createReadStream(archive), createBrotliDecompress(), extract({ cwd: staging }, files));
    rmSync(folder, { recursive: true, force: true });
    renameSync(staging, folder);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
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
