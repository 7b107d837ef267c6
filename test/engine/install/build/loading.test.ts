/** Links to CUDA's libraries, and the check that each opens: with real shared libraries of this system, where there are some. */
import assert from 'node:assert/strict';
import { mkdirSync, readlinkSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cudaLibraryFault, linkCudaLibraries } from '../../../../src/engine/install/build/loading.js';
import { temporaryFolder } from '../../../helpers/files.js';

test('the searched folder has links to the libraries of all others, and keeps its own', async (t) => {
  const folder = temporaryFolder(t);
  const library = (part: string, name: string) => {
    mkdirSync(join(folder, 'nvidia', part, 'lib'), { recursive: true });
    writeFileSync(join(folder, 'nvidia', part, 'lib', name), part);
  };
  library('cuda_runtime', 'libcudart.so.12');
  library('cusolver', 'libcusolver.so.11');
  library('cusolver', 'libcusolverMg.so.11');
  library('nccl', 'README');
  mkdirSync(join(folder, 'nvidia', 'cuda_nvcc', 'bin'), { recursive: true });
  for (let run = 0; run < 2; run += 1) linkCudaLibraries(folder);
  const searched = join(folder, 'nvidia', 'cuda_runtime', 'lib');
  assert.equal(readlinkSync(join(searched, 'libcusolver.so.11')), '../../cusolver/lib/libcusolver.so.11');
  const target = join(folder, 'nvidia', 'cusolver', 'lib', 'libcusolverMg.so.11');
  assert.equal(realpathSync(join(searched, 'libcusolverMg.so.11')), realpathSync(target));
  assert.throws(() => readlinkSync(join(searched, 'libcudart.so.12')), /EINVAL/); // its own file, no link
  // These are no libraries: the loader says so, and which.
  assert.match((await cudaLibraryFault(folder)) ?? '', /libcudart\.so\.12.*(file too short|invalid ELF header)/);
  rmSync(join(searched, 'libcudart.so.12'));
  assert.match((await cudaLibraryFault(folder)) ?? '', /libcudart\.so\.12.*cannot open shared object file/);
});
