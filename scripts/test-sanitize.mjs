// `npm run test:sanitize`: the tests of our C++ under AddressSanitizer and UndefinedBehaviorSanitizer (Linux, g++).
// Installs an engine whose addons are compiled with both into a cache of its own, which is removed afterwards; the first
// finding ends the test's process and prints a stack. Leaks are not checked: Node and TensorFlow keep memory for good.
// The tests run with each table of kernels: that of the processor, of AVX2 and of the baseline.
// `npm run test:sanitize -- FILTER...` takes other tests than the default ones.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const filters = process.argv.slice(2);
const tests =
  filters.length > 0 ? filters : ['engine/checksum', 'engine/ops', 'engine/graph', 'engine/optim', 'model/sampling'];
const compiler = process.env.CXX ?? 'g++';
const cache = mkdtempSync(join(tmpdir(), 'tinyzero-sanitize-'));
// GCC 12 at -O2 and -O3 reports `result` in `load` (native/math/vector.h), inlined into unrolled loops, as used after its
// scope. That is wrong: it is written in the statement after its declaration. Clang 14 at -O0 to -O3, and GCC at -O0, at
// -O1 and without the pass that unrolls (cunrolli), find nothing in the same code. So the check stays on without the pass.
const env = {
  ...process.env,
  TINYZERO_CACHE: cache,
  TINYZERO_NO_INSTALL: '',
  CXX: `${compiler} -fsanitize=address,undefined -fno-sanitize-recover=all -fdisable-tree-cunrolli -fno-omit-frame-pointer -g1`,
  // The runtime must be there before Node starts; the compiler knows where it is.
  LD_PRELOAD: ['libasan.so', 'libubsan.so'].map(libraryPath).join(' '),
  ASAN_OPTIONS: 'detect_leaks=0:alloc_dealloc_mismatch=0',
  UBSAN_OPTIONS: 'print_stacktrace=1',
};
let status = 0;
try {
  for (const TINYZERO_CPU of ['', 'avx2', 'baseline']) {
    console.log(`\nTINYZERO_CPU=${TINYZERO_CPU}`);
    const run = spawnSync(process.execPath, ['scripts/test.mjs', ...tests], {
      stdio: 'inherit',
      env: { ...env, TINYZERO_CPU },
    });
    status ||= run.status ?? 1;
  }
} finally {
  rmSync(cache, { recursive: true, force: true });
}
process.exit(status);

function libraryPath(name) {
  const [command, ...args] = compiler.trim().split(/\s+/);
  const answer = spawnSync(command, [...args, `-print-file-name=${name}`], { encoding: 'utf8' });
  if (answer.status === 0) return answer.stdout.trim();
  console.error(`${command} does not say where ${name} is`);
  process.exit(1);
}
