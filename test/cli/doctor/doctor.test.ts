/** What `doctor` says about NVIDIA GPUs, from the output of nvidia-smi. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { judgeProduct, modelCheck } from '../../../src/cli/doctor/engine.js';
import {
  type Check,
  formatChecks,
  installationChecks,
  nodeCheck,
  nvidiaChecks,
  usedGpuChecks,
} from '../../../src/cli/doctor/machine.js';
import { visibleGpus } from '../../../src/engine/cuda.js';
import { engineFormat, inspectEngine } from '../../../src/engine/install/installed.js';
import { explained } from '../../../src/engine/session.js';
import { UserError } from '../../../src/util/errors.js';
import { lastLine, temporaryFolder, tinyzero } from '../../helpers/cli.js';
import { nativeTest } from '../../helpers/native.js';

const fixture = join('test', 'fixtures', 'qwen2-tied-f32');

async function doctor(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await tinyzero(['doctor', '--json', '--no-install', ...args], env);
  const { ok, checks } = lastLine(stdout) as { ok: boolean; checks: Check[] };
  return { code, ok, stderr, checks, named: (name: string) => checks.find((check) => check.name === name) };
}

const computed = ['engine', 'instructions', 'matmul', 'gradients', 'agreement', 'training step'];

nativeTest('all is well with native TensorFlow', async (t) => {
  const { code, ok, checks, named, stderr } = await doctor([]);
  assert.equal(code, 0, JSON.stringify(checks.filter((check) => !check.ok)));
  assert.equal(ok, true);
  for (const name of ['node', 'platform', 'memory', 'cores', 'disk', 'cache', 'native engine', ...computed]) {
    const check = named(name);
    assert.ok(check, name);
    if (check.needed) assert.equal(check.ok, true, name);
    assert.ok(check.found.length > 0 && check.expected.length > 0);
  }
  assert.match(named('engine')?.found ?? '', /^TensorFlow 2\./);
  assert.match(named('instructions')?.found ?? '', /--precision bf16/);
  assert.match(named('agreement')?.found ?? '', /^compiled = op by op = wasm = reference within /);
  assert.match(stderr, /^Engine: tensorflow \(.*it is installed\)\.$/m);
  t.diagnostic(['matmul', 'gradients', 'agreement'].map((name) => `${name}: ${named(name)?.found}`).join('; '));
});

nativeTest('a limit on the instruction set is reported, and an invalid one rejected', async () => {
  const limited = await doctor([], { TINYZERO_CPU: 'baseline' });
  assert.match(
    limited.named('instructions')?.found ?? '',
    /^baseline \(limited by TINYZERO_CPU=baseline\); this processor has no/,
  );
  const wrong = await doctor([], { TINYZERO_CPU: 'sse9' });
  assert.equal(wrong.code, 1);
  assert.equal(wrong.named('engine')?.fix, 'Set it to one of these, or unset it.');
  assert.match(wrong.named('engine')?.found ?? '', /^TINYZERO_CPU: expected baseline, avx2.* found "sse9"\.$/);
});

test('all is well with WebAssembly, chosen by environment, where nothing native is', async () => {
  const { code, named } = await doctor([], { TINYZERO_ENGINE: 'wasm', TINYZERO_CACHE: temporaryFolder('cache') });
  assert.equal(code, 0);
  for (const name of computed) assert.ok(named(name)?.ok || named(name)?.needed === false, name);
  assert.match(named('engine')?.found ?? '', /^WebAssembly/);
  const native = named('native engine');
  assert.deepEqual([native?.ok, native?.needed], [false, false]);
  assert.match(native?.fix ?? '', /tinyzero engine install/);
});

test('a missing requirement means exit code 1', async () => {
  const env = { TINYZERO_CACHE: temporaryFolder('cache') };
  const { code, ok, named } = await doctor(['--engine', 'tensorflow'], env);
  assert.equal(code, 1);
  assert.equal(ok, false);
  assert.deepEqual([named('native engine')?.ok, named('native engine')?.needed], [false, true]);
  assert.equal(named('matmul'), undefined, 'nothing computes');
});

test('a slow product is a note, a wrong one a failure', () => {
  const slow = judgeProduct('tensorflow', { size: 1024, corner: 1024, gflops: 0.1 });
  assert.deepEqual([slow.ok, slow.needed, slow.found], [false, false, '0.1 GFLOP/s (1024 x 1024)']);
  assert.match(slow.fix ?? '', /emulated/);
  const wrong = judgeProduct('wasm', { size: 512, corner: 511, gflops: 50 });
  assert.deepEqual([wrong.ok, wrong.needed, wrong.found, wrong.expected], [false, true, 'wrong: 511', '512']);
  assert.equal(judgeProduct('wasm', { size: 512, corner: 512, gflops: 50 }).ok, true);
});

test('a model folder is opened, and its problems are reported', async () => {
  const good = await modelCheck(fixture);
  assert.equal(good.ok, true, good.found);
  assert.match(good.found, /: [\d,]+ parameters, (float32|bfloat16|float16), /);

  const nothing = await modelCheck(join(fixture, 'nothing'));
  assert.match(nothing.found, /^There is no model "[^"]+"\.$/);
  assert.match(nothing.expected, /^a folder, a \.gguf file, or a hub id/);
  const cut = temporaryFolder('model');
  cpSync(fixture, cut, { recursive: true });
  truncateSync(join(cut, 'model.safetensors'), statSync(join(cut, 'model.safetensors')).size - 4);
  const damaged = await modelCheck(cut);
  assert.deepEqual([damaged.ok, damaged.needed], [false, true]);
  assert.match(damaged.found, /model\.safetensors/);
  cpSync(fixture, cut, { recursive: true });
  rmSync(join(cut, 'tokenizer.json'));
  assert.match((await modelCheck(cut)).found, /tokenizer\.json/);
});

test('a hub model is only looked up in the cache', async (t) => {
  const before = process.env.HF_HOME;
  process.env.HF_HOME = temporaryFolder('hub');
  t.after(() => {
    if (before === undefined) delete process.env.HF_HOME;
    else process.env.HF_HOME = before;
  });
  const { ok, found } = await modelCheck('some/model');
  assert.equal(ok, false);
  assert.match(found, /some\/model is not fully in the cache/);
});

test('an engine that lost a file, or has another format, is reported as broken', async () => {
  const cache = temporaryFolder('cache');
  const { root } = inspectEngine({ TINYZERO_CACHE: cache });
  mkdirSync(join(root, 'it'), { recursive: true });
  writeFileSync(join(root, 'current.json'), '{"folder": "it"}');
  const look = async () => (await installationChecks(inspectEngine({ TINYZERO_CACHE: cache }), false))[0];
  assert.match((await look())?.found ?? '', /broken in .* has no readable engine\.json/);
  writeFileSync(join(root, 'it', 'engine.json'), '{"format": 99, "files": []}');
  assert.match((await look())?.found ?? '', /it has format 99/);
  const files = [{ path: 'gone.so', bytes: 5, sha256: '' }];
  writeFileSync(join(root, 'it', 'engine.json'), JSON.stringify({ format: engineFormat, files }));
  assert.match((await look())?.found ?? '', /gone\.so is missing or/);
  assert.match((await look())?.fix ?? '', /tinyzero engine install/);
});

test('the versions of Node that package.json names are enough', () => {
  const ok = (...versions: string[]) => versions.map((version) => nodeCheck(version).ok);
  assert.deepEqual(ok('18.20.4', '20.14.9', '21.7.3', '22.1.0'), [false, false, false, false]);
  assert.deepEqual(ok('20.15.0', '22.2.0', '24.0.0', '26.10.0'), [true, true, true, true]);
  const { engines } = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.equal(engines.node, '^20.15 || >=22.2', 'the check and the package agree');
});

test('people see a mark per line, and below it what to do', () => {
  const base = { found: 'this', expected: 'that', fix: 'Do it.' };
  assert.equal(
    formatChecks([
      { name: 'a', ok: true, needed: true, ...base },
      { name: 'long', ok: false, needed: true, ...base },
      { name: 'b', ok: false, needed: false, ...base },
    ]),
    `ok    a     this
FAIL  long  this
            expected: that
            to do: Do it.
note  b     this
            expected: that
            to do: Do it.`,
  );
});

const csv = `GPU-aaaa-1, NVIDIA H100 80GB HBM3, 81559, 9.0, 580.95.05
GPU-bbbb-2, Tesla T4, 15360, 7.5, 535.104.05
GPU-cccc-3, GeForce GTX 960, 4096, 5.2, 535.104.05
GPU-dddd-4, NVIDIA RTX PRO 6000, 97887, 12.0, 580.95.05
`;
const gpus = visibleGpus(csv, undefined);

test('GPUs are those that CUDA_VISIBLE_DEVICES leaves, in its order', () => {
  assert.deepEqual(gpus[0], {
    name: 'NVIDIA H100 80GB HBM3',
    memoryBytes: 81559 * 2 ** 20,
    capability: 9,
    driver: '580.95.05',
  });
  const names = (visible: string) => visibleGpus(csv, visible).map(({ name }) => name);
  assert.deepEqual(names('1,0'), ['Tesla T4', 'NVIDIA H100 80GB HBM3']);
  assert.deepEqual(names('GPU-cccc'), ['GeForce GTX 960']);
  assert.deepEqual(names('0,-1,1'), ['NVIDIA H100 80GB HBM3']);
  assert.deepEqual(names(''), []);
  assert.deepEqual(visibleGpus('', undefined), []);
});

test('a card for which the build has code is fine; others get advice', () => {
  const [h100, t4, old, blackwell] = nvidiaChecks(gpus, 'gpu');
  assert.ok(h100?.ok && t4?.ok);
  assert.match(h100.found, /^NVIDIA H100 80GB HBM3, 86 GB, compute capability 9\.0, driver 580/);
  assert.match(t4.found, /no instructions for --precision bf16/);
  assert.ok(!old?.ok && /--engine webgpu/.test(old?.fix ?? ''));
  assert.ok(!blackwell?.ok && /first start compiles.*--from/.test(blackwell?.fix ?? ''));
  const [cpuBuild] = nvidiaChecks(gpus, 'cpu');
  assert.match(cpuBuild?.fix ?? '', /engine install --gpu/);
  const [outdated] = nvidiaChecks([{ ...gpus[0]!, driver: '470.82' }], 'gpu');
  assert.match(outdated?.fix ?? '', /Update the NVIDIA driver/);
});

test('a GPU that TensorFlow did not open is reported', () => {
  assert.equal(usedGpuChecks(gpus, 'gpu', 'gpu')[0]?.ok, true);
  assert.match(usedGpuChecks(gpus, 'gpu', 'cpu')[0]?.fix ?? '', /TF_CPP_MIN_LOG_LEVEL=0/);
  assert.deepEqual(usedGpuChecks([], 'gpu', 'cpu'), []);
  assert.deepEqual(usedGpuChecks(gpus, 'cpu', 'cpu'), []);
});

test("the error of a GPU's full memory says what to do", () => {
  const message =
    'OOM when allocating tensor with shape[36,151936] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc';
  const error = explained('accumulate', new Error(message));
  assert.ok(error instanceof UserError);
  assert.match(error.message, /too little memory for accumulate\. There was no room for a tensor \[36, 151936\]/);
  assert.match(error.message, /--micro-batch/);
});
