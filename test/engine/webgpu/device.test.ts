/** The device of the webgpu engine: what it is, what it says when it fails, and the choice of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { webGpuCheck } from '../../../src/cli/doctor/machine.js';
import { openDawn, probeWebGpu } from '../../../src/engine/webgpu/dawn.js';
import type { AdapterFacts } from '../../../src/engine/webgpu/device.js';
import { UserError } from '../../../src/util/errors.js';
import { tinyzero } from '../../helpers/cli.js';
import { webGpuTest } from '../../helpers/webgpu.js';

const card: AdapterFacts = {
  name: 'Some Card',
  driver: 'Some driver 1.2',
  software: false,
  float16: true,
  maxBindingBytes: 2 ** 31,
  maxBuffers: 8,
  maxThreads: 1024,
  maxSharedBytes: 49152,
};

webGpuTest('the adapter is found in a process of its own, with its limits', async () => {
  const { adapter, missing } = await probeWebGpu();
  assert.equal(missing, undefined);
  if (process.env.TINYZERO_TEST_GPU !== '1')
    assert.deepEqual([adapter?.name, adapter?.software], ['SwiftShader', true]);
  assert.ok(adapter!.maxBindingBytes >= 2 ** 27 && adapter!.maxThreads >= 256 && adapter!.maxBuffers >= 8);
});

webGpuTest('bytes written to a buffer are read at once', async () => {
  const gpu = await openDawn();
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const buffer = gpu.device.createBuffer({ size: 16, usage });
  for (let turn = 0; turn < 50; turn += 1) {
    gpu.device.queue.writeBuffer(buffer, 0, Float32Array.of(turn, 2, 3, 4));
    assert.deepEqual(new Float32Array(gpu.read(buffer, 16)), Float32Array.of(turn, 2, 3, 4));
  }
  gpu.device.destroy();
});

webGpuTest(
  'a lost device, a tensor that is too large and a rejected command are errors that say what to do',
  async () => {
    const gpu = await openDawn();
    const { device, facts } = gpu;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const buffer = device.createBuffer({ size: 16, usage });
    const failsWith = (pattern: RegExp, kind: typeof Error | typeof UserError) =>
      assert.throws(
        () => gpu.check(),
        (error: Error) => error instanceof kind && pattern.test(error.message),
      );

    device.createBuffer({ size: device.limits.maxBufferSize + 4, usage });
    failsWith(/^A tensor is larger than the GPU \(.+\) lets a program use: [\d.]+ [MG]B\..*--resume/, UserError);
    gpu.check(); // it is thrown once

    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, buffer, 0, 99);
    device.queue.submit([encoder.finish()]);
    failsWith(/^WebGPU: /, Error);

    const error = new GPUOutOfMemoryError('no memory');
    device.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error }));
    failsWith(/^The GPU \(.+\) has no memory left\. Use a smaller --batch-size.*--resume/, UserError);

    device.destroy();
    assert.throws(
      () => gpu.read(buffer, 16),
      (lost: Error) => lost instanceof UserError && lost.message.startsWith(`The GPU (${facts.name}) was lost: `),
    );
  },
);

test('doctor says what the card is, or why there is none', () => {
  const found = webGpuCheck({ adapter: card }, true);
  assert.deepEqual([found.ok, found.needed], [true, false]);
  assert.match(
    found.found,
    /^Some Card \(Some driver 1\.2\): tensors to 2\.1 GB, 8 buffers a shader, .*float16 stored$/,
  );
  const software = webGpuCheck({ adapter: { ...card, software: true } }, true);
  assert.deepEqual([software.ok, software.needed], [false, false]);
  const missing = { problem: 'The package is missing.', fix: 'Install it.' };
  const none = webGpuCheck({ missing }, true);
  assert.deepEqual([none.ok, none.needed, none.found, none.fix], [false, true, missing.problem, missing.fix]);
  assert.equal(webGpuCheck({ missing }, false).fix, 'Needed only for `--engine webgpu`. Install it.');
});

const withoutDriver = {
  VK_ICD_FILENAMES: '/nowhere.json',
  VK_DRIVER_FILES: '/nowhere.json',
  LD_LIBRARY_PATH: '/nowhere',
};

test('without a driver, doctor prints what is missing and what to do, each once', async () => {
  const { code, stdout } = await tinyzero(['doctor', '--engine', 'webgpu', '--no-install'], withoutDriver);
  if (process.platform !== 'linux') return; // other systems do not look for drivers there
  assert.equal(code, 1);
  for (const text of ['WebGPU found no graphics card', 'expected: a card with', 'to do: Install the driver'])
    assert.equal(stdout.split(text).length, 2, `${text}, in: ${stdout}`);
});

test('without a driver, the engine says what it needs', async () => {
  const { code, stderr } = await tinyzero(['eval', '--engine', 'webgpu', '--num-test', '1'], withoutDriver);
  if (process.platform !== 'linux') return; // other systems do not look for drivers there
  assert.equal(code, 1);
  assert.match(stderr, /WebGPU found no graphics card\. Expected a card with .* driver\. Install the driver/);
});
