/** The device that a plan is for is the one that the run would use. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AdapterFacts } from '../../src/engine/webgpu/device.js';
import { gpuRoom, processorRoom, wasmHeapBytes } from '../../src/model/load.js';
import type { DryRun } from '../../src/run/dry-run.js';
import { plannedDevice } from '../../src/run/needs.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

const never = new AbortController().signal;

test("WebGPU on a card is planned with a card's room, on a software adapter with a processor's", async () => {
  const card: AdapterFacts = {
    ...{ name: 'Some Card', driver: '1.2', software: false, float16: true },
    ...{ maxBindingBytes: 2 ** 31, maxBuffers: 8, maxThreads: 256, maxSharedBytes: 16384 },
  };
  const planned = (adapter: AdapterFacts) => plannedDevice('webgpu', never, async () => ({ adapter }));
  assert.deepEqual(await planned(card), { kind: 'gpu', room: gpuRoom(8e9), readsHalves: true });
  assert.deepEqual((await planned({ ...card, maxBindingBytes: 2 ** 27 })).room, gpuRoom(2 ** 29));
  const { kind, room } = await planned({ ...card, software: true });
  assert.deepEqual([kind, room], ['cpu', processorRoom]);
  assert.ok((await plannedDevice('wasm', never)).memoryBytes! <= wasmHeapBytes);
});

test('--engine auto is planned for the engine that it ends on', async (t) => {
  const root = temporaryFolder(t);
  // Nothing is installed, and tests have no card, or one that WebGPU would use.
  const environment = { TINYZERO_CACHE: join(root, 'cache'), TINYZERO_ENGINE: undefined };
  const args = ['train', '--dry-run', '--json', '--no-install', '--engine', 'auto', '--out', join(root, 'run')];
  const { code, stdout, stderr } = await tinyzero(args, environment);
  assert.equal(code, 0, stderr);
  const plan: DryRun = lastLine(stdout);
  assert.equal(plan.device, /^Engine: webgpu/m.test(stderr) ? 'gpu' : 'wasm');
});
