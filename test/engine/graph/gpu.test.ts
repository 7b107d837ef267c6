/** Graphs for a GPU, on machines without one: what is in them, and that the processor's kernels compute the same with them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { qwen2Config } from '../../../bench/checkpoints.js';
import { batch, blockProgram, initialParameters, parameterNames } from '../../../src/cli/doctor/block.js';
import { openEngine } from '../../../src/engine/backend.js';
import { chooseCudaSettings } from '../../../src/engine/cuda.js';
import { findInstalledEngine } from '../../../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../../../src/engine/native.js';
import type { Program, ProgramSpec } from '../../../src/engine/program.js';
import { createSessionProgram, gpuDevice, traceProgram } from '../../../src/engine/session.js';
import { samplingSizes } from '../../../src/model/load.js';
import { samplingParts } from '../../../src/model/sampling/program.js';
import { frozenState } from '../../../src/model/sampling/weights.js';
import { nativeTest } from '../../helpers/native.js';

const config = qwen2Config({ layers: 2, width: 512, heads: 8, kvHeads: 2, ffn: 1024, vocabulary: 600 });
const sizes = samplingSizes(config, { promptLengths: [12], rollouts: 4, maxNewTokens: 8 });

function sampling(precision: 'f32' | 'bf16', draw = { greedy: false, topK: 0, topP: 1 }): ProgramSpec {
  const { state, functions } = samplingParts(config, sizes, draw, precision);
  return { state: { ...frozenState(config, precision), ...state }, functions };
}

test('no kernel of the processor is in a graph for a GPU', async () => {
  await openEngine('wasm'); // registers gradients
  for (const spec of [blockProgram, sampling('f32'), sampling('bf16')]) {
    for (const { nodes } of traceProgram(spec, gpuDevice).graphs) {
      const ours = nodes.filter(({ op }) => op.startsWith('Tinyzero'));
      assert.deepEqual(ours, []);
    }
  }
});

test('a product is not divided for a GPU', async () => {
  await openEngine('wasm');
  const { graphs } = traceProgram(sampling('f32'), gpuDevice);
  const { nodes } = graphs.find(({ prefix }) => prefix.endsWith('prefill'))!;
  const matrices = new Set(Object.values(frozenState(config, 'f32')).map(({ shape }) => shape.join()));
  for (const node of nodes) {
    if (node.op === 'SplitV') assert.ok(!matrices.has(node.inputs[0]!.shape.join()), `${node.name} divides a weight`);
  }
});

nativeTest("the processor's kernels compute the same with a graph for a GPU", () => {
  const engine = findInstalledEngine()!;
  const binding = loadBinding(engine.bindingPath);
  const addon = engine.kernelsPath === undefined ? undefined : loadKernels(engine.kernelsPath);
  // The processor's own product of bfloat16 may truncate; everything else is as on a GPU.
  const asOnGpu = { ...gpuDevice, multipliesBfloat16: false };
  const results = (['gpu', 'cpu'] as const).map((kind) => {
    const program = createSessionProgram(binding, addon, blockProgram, { ...asOnGpu, kind });
    fillBlock(program);
    return program.run('gradients', batch);
  });
  for (const name of ['loss', ...parameterNames]) {
    const [gpu, cpu] = results.map((result) => result[name]);
    const largest = Math.max(...cpu!.map(Math.abs));
    for (const [i, value] of gpu!.entries())
      assert.ok(Math.abs(value - cpu![i]!) <= 1e-5 * largest, `${name}: ${value}`);
  }
});

function fillBlock(program: Program): void {
  for (const [name, values] of Object.entries(initialParameters())) program.write(name, values);
}

test("CUDA's settings leave those of the user", () => {
  const env: NodeJS.ProcessEnv = { TINYZERO_CACHE: '/cache', TF_DETERMINISTIC_OPS: '0', XLA_FLAGS: '--other' };
  chooseCudaSettings('/engine', env);
  assert.equal(env.TF_DETERMINISTIC_OPS, '0');
  assert.equal(env.TF_FORCE_GPU_ALLOW_GROWTH, 'true');
  assert.equal(env.NVIDIA_TF32_OVERRIDE, '0');
  assert.equal(env.XLA_FLAGS, '--other --xla_gpu_cuda_data_dir=/engine/nvidia/cuda_nvcc');
  chooseCudaSettings('/another', env);
  assert.ok(!env.XLA_FLAGS!.includes('/another'));
});
