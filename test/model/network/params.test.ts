import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ModelConfig, parseModelConfig } from '../../../src/model/network/config.js';
import { fanInDeviation, initialParameter, parameterCount, parameterSpecs } from '../../../src/model/network/params.js';
import { fixtureModels, readFixture } from '../../helpers/files.js';
import { uniform } from '../../helpers/fuzz.js';

function configOf(model: string): ModelConfig {
  return parseModelConfig(readFixture(model, 'config.json'), model);
}

test('names and shapes are those the reference reports', () => {
  for (const model of fixtureModels) {
    const expected = readFixture(model, 'expected.json').parameters as Record<string, number[]>;
    const specs = parameterSpecs(configOf(model));
    assert.deepEqual(Object.keys(specs).sort(), Object.keys(expected).sort(), model);
    for (const [name, shape] of Object.entries(specs)) assert.deepEqual(shape, expected[name], `${model} ${name}`);
  }
});

test('the published size of Qwen2.5-0.5B comes out', () => {
  // 494,032,768 on its card: V 151936, D 896, 24 layers, H 14, K 2, F 4864, tied.
  const base = readFixture('qwen2-tied-f32', 'config.json');
  const sizes = { vocab_size: 151936, hidden_size: 896, num_hidden_layers: 24, num_attention_heads: 14 };
  const record = { ...base, ...sizes, num_key_value_heads: 2, intermediate_size: 4864 };
  assert.equal(parameterCount(parseModelConfig(record, 'test')), 494_032_768);
});

test('every bias of a Llama that has them is listed', () => {
  const record = { ...readFixture('llama', 'config.json'), attention_bias: true, mlp_bias: true };
  const names = Object.keys(parameterSpecs(parseModelConfig(record, 'test'))).filter((name) => name.endsWith('.bias'));
  assert.equal(names.length, 2 * 7);
});

test('initial values have the requested mean and deviation and depend only on the generator', () => {
  const shape = [300, 201]; // an odd count: the last number of a pair is dropped
  const values = initialParameter('model.layers.0.mlp.up_proj.weight', shape, 0.3, uniform(7));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  // Standard errors: 0.3/sqrt(60300) = 0.0012 of the mean, 0.3/sqrt(2·60300) = 0.00086 of the deviation; 4 of each.
  assert.ok(Math.abs(mean) < 0.005 && Math.abs(deviation - 0.3) < 0.0035, `${mean} ${deviation}`);
  assert.deepEqual(initialParameter('x.weight', shape, 0.3, uniform(7)), values);
  assert.notDeepEqual(initialParameter('x.weight', shape, 0.3, uniform(8)), values);
  assert.deepEqual([...initialParameter('model.norm.weight', [3], 0.3, uniform(7))], [1, 1, 1]);
  assert.deepEqual([...initialParameter('a.q_proj.bias', [2], 0.3, uniform(7))], [0, 0]);
  assert.ok(initialParameter('x.weight', [2, 2], 1, () => 0).every(Number.isFinite));
});

test('projections into the residual stream start smaller', () => {
  const config = configOf('qwen2-tied-f32');
  assert.equal(fanInDeviation('model.layers.0.self_attn.q_proj.weight', [64, 64], config), 1 / 8);
  assert.equal(fanInDeviation('model.layers.0.mlp.down_proj.weight', [64, 160], config), 1 / Math.sqrt(160 * 6));
  assert.equal(fanInDeviation('model.embed_tokens.weight', [512, 64], config), 0.2);
});
