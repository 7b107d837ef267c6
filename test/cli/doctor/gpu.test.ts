/** What `doctor` says about NVIDIA GPUs, from the output of nvidia-smi. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nvidiaChecks, usedGpuChecks } from '../../../src/cli/doctor/gpu.js';
import { visibleGpus } from '../../../src/engine/cuda.js';
import { explained } from '../../../src/engine/session.js';
import { UserError } from '../../../src/util/errors.js';

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

test('a GPU that TensorFlow did not open is told', () => {
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
  assert.match(error.message, /too little memory for accumulate\. No room was left for a tensor \[36, 151936\]/);
  assert.match(error.message, /--micro-batch/);
});
