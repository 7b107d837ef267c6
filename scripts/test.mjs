// Runs the compiled tests: `node scripts/test.mjs [FILTER...]` runs every test file whose path contains a filter; `--slow` runs
// the slow ones instead (*.slow.ts), which download files or kill dozens of processes.
// Sets up the native engine first. If it is unavailable on this machine, its tests are skipped by name; if it should be
// available but the install failed, that is a failure.
// Each file runs in its own process (the native addon cannot be loaded twice in one), two at a time. Temporary files are in one
// folder, which is removed afterwards.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setUpChromium } from './chromium.mjs';
import { setUpNative } from './native.mjs';
import { setUpSwiftShader } from './swiftshader.mjs';

const slow = process.argv.includes('--slow');
const filters = process.argv.slice(2).filter((argument) => argument !== '--slow');
const files = readdirSync('dist/test', { recursive: true })
  .map((file) => `dist/test/${file}`)
  .filter((file) => file.endsWith(slow ? '.slow.js' : '.test.js'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${filters.join(' ')}`);
  process.exit(2);
}
/** Tests of the native kernels' results. They run again with the lowest instruction set, which other machines use. */
const numeric = [
  'engine/graph/bfloat16',
  'engine/graph/stored',
  'engine/ops/',
  'engine/optim',
  'model/sampling/kv-cache',
];
const lowest = { TINYZERO_CPU: 'baseline', ONEDNN_MAX_CPU_ISA: 'SSE41' };
const native = setUpNative();
const gpu = await setUpSwiftShader();
const inBrowser = files.some((file) => readFileSync(file, 'utf8').includes('browserTest'));
const browser = inBrowser ? await setUpChromium() : { env: {} };
const temporary = mkdtempSync(join(tmpdir(), 'tinyzero-tests-'));
let status = runTests(files, {}, 'spec');
if (filters.length === 0 && !slow && native.missing === undefined) {
  console.log(
    `\nOnce more with ${Object.entries(lowest)
      .map(([name, value]) => `${name}=${value}`)
      .join(' ')}`,
  );
  const renamed = numeric.find((part) => !files.some((file) => file.includes(part)));
  if (renamed !== undefined)
    throw new Error(`no test file matches ${renamed}, which should run with the lowest instruction set`);
  const again = files.filter((file) => numeric.some((part) => file.includes(part)));
  status ||= runTests(again, lowest, 'dot');
}
rmSync(temporary, { recursive: true, force: true });
if (gpu.missing !== undefined) console.error(`\nTests of WebGPU were skipped: ${gpu.missing}`);
if (browser.missing !== undefined) console.error(`\nTests in a browser were skipped: ${browser.missing}`);
if (native.missing !== undefined) console.error(`\nTests of the native engine were skipped: ${native.missing}`);
if (native.fault !== undefined)
  console.error(`The engine should be available here, so this is a failure: ${native.fault}`);
process.exit(status === 0 && native.fault === undefined ? 0 : status || 1);

function runTests(testFiles, env, reporter) {
  const run = spawnSync(
    process.execPath,
    [
      '--enable-source-maps',
      '--test',
      `--test-concurrency=${slow ? 1 : 2}`,
      `--test-reporter=${reporter}`,
      ...testFiles,
    ],
    { stdio: 'inherit', env: { ...process.env, ...native.env, ...gpu.env, ...browser.env, ...env, TMPDIR: temporary } },
  );
  return run.status ?? 1;
}
