/**
 * Decoding with whole layers as kernels against the same composed of TensorFlow's ops, for every kind of layer, in
 * batches that fill no vector; and a slot's bits whatever its neighbours.
 */
import assert from 'node:assert/strict';
import type { FunctionSpec } from '../../../src/engine/program.js';
import { parameterState } from '../../../src/model/load.js';
import { type ModelConfig, parseModelConfig } from '../../../src/model/network/config.js';
import type { CacheSizes } from '../../../src/model/sampling/kv-cache.js';
import { samplingParts } from '../../../src/model/sampling/program.js';
import { float32Uniform } from '../../../src/util/random.js';
import { assertClose } from '../../helpers/close.js';
import { compiledWay, composedWay, type Way } from '../../helpers/engines.js';
import { nativeTest } from '../../helpers/native.js';
import { allTokens } from '../../helpers/sampling.js';
import { noise } from '../../helpers/subjects.js';

const common = {
  num_hidden_layers: 2,
  vocab_size: 61,
  tie_word_embeddings: true,
  max_position_embeddings: 64,
  hidden_size: 40,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  intermediate_size: 52,
};
const models: Record<string, Record<string, unknown>> = {
  'Qwen2, biases, head of 24': { ...common, model_type: 'qwen2', hidden_size: 144 },
  'Qwen3, norms of heads, head of 10': { ...common, model_type: 'qwen3', head_dim: 10 },
  'Llama, head of 16, one query head per group': {
    ...common,
    model_type: 'llama',
    head_dim: 16,
    num_key_value_heads: 6,
  },
};

const positions = 9;
const slots = 21;
const sizes: CacheSizes = { slots, positions, prompts: 1, promptPositions: 1, chunk: 1, admissions: 1 };

interface Step {
  readonly tokens: Int32Array;
  readonly logProbs: Float32Array;
}

/** Decodes `rows` slots for all positions, slot r beginning at position r % 3, with its own numbers; and their caches. */
function decode(way: Way, config: ModelConfig, rows: number, first = 0): Step[] {
  const parts = samplingParts(config, { ...sizes, slots: rows }, allTokens);
  const program = way.create({ state: { ...parameterState(config), ...parts.state }, functions: parts.functions });
  for (const [index, name] of Object.keys(program.spec.state).entries()) {
    const size = (program.spec.state[name]?.shape ?? []).reduce((product, each) => product * each, 1);
    if (name in parts.state) program.fill(name, 0);
    else
      program.write(
        name,
        noise(size, index).map((each) => (name.includes('norm') ? 1 + each / 2 : each / 3)),
      );
  }
  const slot = Array.from({ length: rows }, (_, row) => row + first);
  let tokens = Int32Array.from(slot, (each) => (each * 7) % config.vocabSize);
  const steps: Step[] = [];
  for (let step = 0; step + 2 < positions; step++) {
    const drawn = program.run(`decode.${rows}`, {
      tokens,
      positions: Int32Array.from(slot, (each) => step + (each % 3)),
      uniforms: Float32Array.from(slot, (each) => float32Uniform(Math.abs(Math.sin(1 + each * 31 + step)))),
      inverseTemperature: Float32Array.of(0.8),
    }) as unknown as Step;
    steps.push(drawn);
    tokens = Int32Array.from(drawn.tokens);
  }
  program.dispose();
  return steps;
}

for (const [name, record] of Object.entries(models)) {
  const config = parseModelConfig(record, name);

  nativeTest(`decoding: kernel = composition: ${name}`, async () => {
    const found = decode(await compiledWay(), config, slots);
    const expected = decode(await composedWay(), config, slots);
    for (const [step, { tokens, logProbs }] of expected.entries()) {
      assert.deepEqual(found[step]?.tokens, tokens, `step ${step}`);
      assertClose(`log-probs of step ${step}`, found[step]?.logProbs ?? [], logProbs, {
        relative: 1e-5,
        absolute: 1e-5,
      });
    }
  });

  nativeTest(`decoding: a slot's draws do not depend on the others: ${name}`, async () => {
    const way = await compiledWay();
    const together = decode(way, config, slots);
    for (const row of [0, 16, slots - 1]) {
      for (const [step, { tokens, logProbs }] of decode(way, config, 1, row).entries()) {
        assert.equal(tokens[0], together[step]?.tokens[row], `token of slot ${row}, step ${step}`);
        assertClose(`log-prob of slot ${row}, step ${step}`, logProbs, [together[step]?.logProbs[row] ?? 0], {
          relative: 1e-6,
          absolute: 1e-6,
        });
      }
    }
  });
}

nativeTest('a position beyond the cache is rejected, and nothing is written', async () => {
  const config = parseModelConfig(models['Qwen2, biases, head of 24'] as Record<string, unknown>, 'config');
  const parts = samplingParts(config, { ...sizes, slots: 1 }, allTokens);
  const functions: Record<string, FunctionSpec> = parts.functions;
  const program = (await compiledWay()).create({ state: { ...parameterState(config), ...parts.state }, functions });
  for (const name of Object.keys(program.spec.state)) program.fill(name, 0.5);
  const run = (position: number) =>
    program.run('decode.1', {
      tokens: Int32Array.of(1),
      positions: Int32Array.of(position),
      uniforms: Float32Array.of(0.5),
      inverseTemperature: Float32Array.of(1),
    });
  for (const bad of [-1, positions])
    assert.throws(() => run(bad), new RegExp(`expected positions from 0 to ${positions - 1}, found ${bad}`));
  assert.ok(program.read('cache.k.0').every((each) => each === 0.5));
  run(positions - 1);
  assert.ok(program.read('cache.k.0').some((each) => each !== 0.5));
  program.dispose();
});
