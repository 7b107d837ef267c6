// `npm run test:cuda`: whether every node of every program has a kernel in TensorFlow's CUDA build, and what crosses between host
// and GPU in each function. Needs `tinyzero engine install --gpu` and a C++ compiler, but no GPU.
// `npm run test:cuda -- --verbose` names every node that computes on the host and every tensor that crosses.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findInstalledEngine } from '../dist/src/engine/install/installed.js';

const engine = findInstalledEngine();
if (engine?.variant !== 'gpu') {
  console.error(
    "TensorFlow's CUDA build is not installed. Run `tinyzero engine install --gpu` (3.4 GB download); no GPU is needed.",
  );
  process.exit(2);
}
/** Writes the lists of ops and kernels that a build has. The functions are those of tensorflow/c/c_api.h and kernels.h. */
const source = `#include <cstdio>
extern "C" {
struct TF_Status;
struct TF_Buffer { const void *data; size_t length; void (*free)(void *, size_t); };
TF_Status *TF_NewStatus();
int TF_GetCode(const TF_Status *);
const char *TF_Message(const TF_Status *);
TF_Buffer *TF_GetAllOpList();
TF_Buffer *TF_GetAllRegisteredKernels(TF_Status *);
}
static bool write(const char *path, const TF_Buffer *buffer) {
  FILE *file = fopen(path, "wb");
  if (file == nullptr) return false;
  const bool whole = fwrite(buffer->data, 1, buffer->length, file) == buffer->length;
  return fclose(file) == 0 && whole;
}
int main(int, char **paths) {
  TF_Status *status = TF_NewStatus();
  const TF_Buffer *kernels = TF_GetAllRegisteredKernels(status);
  if (TF_GetCode(status) != 0) return fprintf(stderr, "%s\\n", TF_Message(status)), 1;
  return write(paths[1], TF_GetAllOpList()) && write(paths[2], kernels) ? 0 : 1;
}
`;
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-cuda-'));
let status = 1;
try {
  const [reader, code, ops, kernels] = ['reader', 'reader.cc', 'ops.pb', 'kernels.pb'].map((name) =>
    join(folder, name),
  );
  writeFileSync(code, source);
  const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'].map((name) =>
    join(engine.libraryFolder, name),
  );
  const [compiler, ...flags] = (process.env.CXX ?? 'g++').trim().split(/\s+/);
  run(compiler, [...flags, code, ...libraries, `-Wl,-rpath,${engine.libraryFolder}`, '-o', reader]);
  run(reader, [ops, kernels], { TF_CPP_MIN_LOG_LEVEL: '2' });
  const check = ['--enable-source-maps', 'dist/test/cuda/check.js', ops, kernels, ...process.argv.slice(2)];
  status = spawnSync(process.execPath, check, { stdio: 'inherit' }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status);

function run(command, args, env = {}) {
  const { status: code, error } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  if (code !== 0) throw new Error(`${command} failed: ${error?.message ?? `exit code ${code}`}`);
}
