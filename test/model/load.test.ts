/** Loading a checkpoint into a program: what is refused, and that nothing is left behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { checkMemory, createModelProgram, gpuRoom, processorRoom, roomOf } from '../../src/model/load.js';
import { assertUserError } from '../helpers/errors.js';
import { fixture } from '../helpers/files.js';

test('parameters are those of the checkpoint, all other state is zero', async () => {
  const pretrained = openPretrained(fixture('qwen2-untied-bf16'));
  const engine = await openEngine('wasm');
  const extra = { dtype: 'int32', shape: [3] } as const;
  const told: number[] = [];
  const program = await createModelProgram(
    engine,
    pretrained,
    { state: { extra }, functions: {} },
    {
      onProgress: (done, total) => told.push(done / total),
    },
  );
  for (const name of ['model.embed_tokens.weight', 'lm_head.weight', 'model.layers.1.self_attn.q_proj.bias']) {
    assert.deepEqual(program.read(name), pretrained.weights.read(name));
  }
  assert.deepEqual(program.read('extra'), new Int32Array(3));
  assert.equal(told.at(-1), 1);
  assert.deepEqual(
    told,
    told.toSorted((a, b) => a - b),
  );
  program.dispose();
  pretrained.weights.close();
});

test('stopping leaves no tensors', async () => {
  const pretrained = openPretrained(fixture('llama'));
  const engine = await openEngine('wasm');
  const before = engine.tensorCount();
  const controller = new AbortController();
  const loading = createModelProgram(
    engine,
    pretrained,
    { state: {}, functions: {} },
    { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) },
  );
  await assert.rejects(loading, /enough/);
  assert.equal(engine.tensorCount(), before);
  pretrained.weights.close();
});

test('a model that does not fit is rejected before anything is loaded', async () => {
  const engine = await openEngine('wasm');
  checkMemory(engine, 1e9, 'This');
  assertUserError(
    () => checkMemory(engine, 5e9, 'The model'),
    /The model needs 5\.0 GB of memory, but the wasm engine has 4\.3 GB/,
    /--engine tensorflow/,
  );
  const native = { ...engine, name: 'tensorflow' as const };
  assertUserError(() => checkMemory(native, 1e15, 'The model'), /needs 1000 TB of memory, but this machine has/);
  // A GPU's memory is not the machine's, and may be unknown.
  const { memoryBytes: _, ...unknown } = native;
  const gpu = { ...unknown, device: 'gpu' as const };
  checkMemory(gpu, 1e15, 'The model');
  assertUserError(
    () => checkMemory({ ...gpu, memoryBytes: 8e9 }, 9e9, 'The model'),
    /needs 9\.0 GB of memory, but the GPU has 8\.0 GB/,
  );
});

test('a card has more room than a processor, even if its memory is unknown; a software card has not', () => {
  const card = { name: 'webgpu', device: 'gpu' } as const;
  assert.deepEqual(roomOf(card), processorRoom);
  assert.deepEqual(roomOf({ ...card, assumedBytes: 8e9 }), gpuRoom(8e9));
  assert.deepEqual(roomOf({ name: 'tensorflow', device: 'gpu' }), gpuRoom(8e9));
  assert.deepEqual(gpuRoom(5e8).activationBytes, processorRoom.activationBytes);
  assert.ok(gpuRoom(80e9).activationBytes.all > gpuRoom(8e9).activationBytes.all);
});
