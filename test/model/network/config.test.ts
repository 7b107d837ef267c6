import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelConfigJson, parseModelConfig } from '../../../src/model/network/config.js';
import { inverseFrequencies } from '../../../src/model/network/rope.js';
import { UserError } from '../../../src/util/errors.js';
import { assertUserError } from '../../helpers/errors.js';
import { fixtureModels, readFixture } from '../../helpers/files.js';
import { damage, fuzz, pick } from '../../helpers/fuzz.js';

const qwen2 = readFixture('qwen2-tied-f32', 'config.json');
const qwen3 = readFixture('qwen3-tied', 'config.json');
const llama = readFixture('llama', 'config.json');

function parse(record: Record<string, unknown>) {
  return parseModelConfig(record, 'config.json');
}

test('the four fixtures are read field by field', () => {
  const tied = parse(qwen2);
  assert.deepEqual(
    [tied.family, tied.vocabSize, tied.hiddenSize, tied.layers, tied.heads, tied.kvHeads, tied.headDim, tied.ffnSize],
    ['qwen2', 512, 64, 3, 4, 2, 16, 160],
  );
  assert.deepEqual(
    [tied.tied, tied.qkvBias, tied.outBias, tied.mlpBias, tied.qkNorm],
    [true, true, false, false, false],
  );
  assert.deepEqual(tied.rope, { theta: 1e6, scaling: { kind: 'default' }, attentionFactor: 1 });
  assert.deepEqual([tied.bosTokenId, tied.eosTokenIds, tied.padTokenId, tied.dtype], [489, [491], null, 'float32']);

  const untied = parse(readFixture('qwen2-untied-bf16', 'config.json'));
  assert.deepEqual([untied.tied, untied.dtype, untied.headDim, untied.kvHeads], [false, 'bfloat16', 16, 1]);

  const wide = parse(qwen3);
  assert.deepEqual([wide.family, wide.headDim, wide.qkNorm, wide.qkvBias], ['qwen3', 24, true, false]);
  assert.equal(wide.rope.theta, 1e6, 'from rope_parameters');

  const scaled = parse(llama);
  assert.deepEqual([scaled.family, scaled.rmsNormEps, scaled.rope.theta], ['llama', 1e-5, 5e5]);
  assert.deepEqual(scaled.rope.scaling, {
    kind: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositions: 128,
  });
});

test('defaults are those of the reference', () => {
  const { num_key_value_heads: _, head_dim: __, ...rest } = llama;
  assert.equal(parse(rest).kvHeads, 4, 'Llama: as many as query heads');
  assert.equal(parse(rest).headDim, 16);
  assert.equal(parse({ ...qwen2, num_key_value_heads: null }).kvHeads, 4, 'null: as many as query heads');
  const { head_dim: ___, ...noHeadDim } = qwen3;
  assert.equal(parse(noHeadDim).headDim, 128, 'Qwen3');
  const { tie_word_embeddings: ____, rms_norm_eps: _____, ...bare } = qwen2;
  assert.deepEqual([parse(bare).tied, parse(bare).rmsNormEps], [false, 1e-6]);
  const { bos_token_id: b, eos_token_id: e, ...noIds } = llama;
  assert.deepEqual([b, e, parse(noIds).bosTokenId, parse(noIds).eosTokenIds], [393, 395, 1, [2]]);
  assert.deepEqual(parse({ ...llama, eos_token_id: null }).eosTokenIds, [], 'null is none, not the default');
});

test('biases follow the family', () => {
  const biased = parse({ ...llama, attention_bias: true, mlp_bias: true });
  assert.deepEqual([biased.qkvBias, biased.outBias, biased.mlpBias], [true, true, true]);
  const qwen = parse({ ...qwen2, attention_bias: false, mlp_bias: true });
  assert.deepEqual([qwen.qkvBias, qwen.outBias, qwen.mlpBias], [true, false, false], 'Qwen2 has fixed biases');
  assert.equal(parse({ ...qwen3, attention_bias: true }).outBias, true);
});

test('every unsupported field is rejected by its name', () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ model_type: 'gpt2' }, /`model_type` must be "qwen2" or "qwen3" or "llama", not "gpt2"/],
    [{ model_type: undefined }, /`model_type` must be .*, not nothing/],
    [{ architectures: ['Qwen2ForSequenceClassification'] }, /`architectures`.*Qwen2ForCausalLM/],
    [{ hidden_act: 'gelu' }, /`hidden_act` must be "silu" or "swish", not "gelu"/],
    [{ quantization_config: { quant_method: 'awq' } }, /`quantization_config` \("awq"\)/],
    [{ use_sliding_window: true, max_window_layers: 1, sliding_window: 16 }, /`sliding_window` 16/],
    [{ layer_types: ['full_attention', 'sliding_attention', 'full_attention'] }, /sliding window/],
    [{ layer_types: ['full_attention'] }, /`layer_types` must list 3 layers/],
    [{ layer_types: ['full_attention', 'linear_attention', 'full_attention'] }, /"linear_attention"/],
    [{ rope_scaling: { rope_type: 'longrope' } }, /`rope_type` "longrope"/],
    [{ rope_scaling: { type: 'mrope', mrope_section: [1] } }, /`mrope_section`/],
    [{ rope_scaling: { rope_type: 'linear' } }, /`rope_scaling.factor` must be a number above 0, not nothing/],
    [{ rope_scaling: { rope_type: 'linear', factor: -2 } }, /`rope_scaling.factor`.*-2/],
    [{ rope_scaling: 4 }, /`rope_scaling` must be an object/],
    [{ rope_parameters: { full_attention: { rope_type: 'default' } } }, /layer type/],
    [{ partial_rotary_factor: 0.5 }, /`partial_rotary_factor`/],
    [{ hidden_size: 66 }, /`hidden_size` \(66\) is not a multiple of `num_attention_heads` \(4\)/],
    [{ head_dim: 15 }, /`head_dim` \(15\) must be even/],
    [{ num_key_value_heads: 3 }, /\(4\) is not a multiple of `num_key_value_heads` \(3\)/],
    [{ vocab_size: '512' }, /`vocab_size` must be an integer from 1 to 2147483647, not "512"/],
    [{ num_hidden_layers: 0 }, /`num_hidden_layers`.*not 0/],
    [{ rms_norm_eps: 0 }, /`rms_norm_eps` must be a number above 0/],
    [{ tie_word_embeddings: 'yes' }, /`tie_word_embeddings` must be true or false/],
    [{ torch_dtype: 'float8_e4m3fn' }, /`dtype` "float8_e4m3fn"/],
    [{ eos_token_id: 512 }, /`eos_token_id` must be an integer below `vocab_size` \(512\), not 512/],
    [{ eos_token_id: [1, 'x'] }, /`eos_token_id`.*"x"/],
  ];
  for (const [change, pattern] of cases)
    assertUserError(() => parse({ ...qwen2, ...change }), /^config\.json/, pattern);
});

test('all problems are reported at once', () => {
  assertUserError(() => parse({ ...qwen2, hidden_act: 'relu', vocab_size: 0 }), /hidden_act/, /vocab_size/);
});

test('a sliding window without effect is accepted', () => {
  parse({ ...qwen2, use_sliding_window: true, max_window_layers: 3, sliding_window: 16 });
  parse({ ...qwen2, use_sliding_window: true, max_window_layers: 0, sliding_window: 2048 });
  parse({ ...qwen2, use_sliding_window: false, max_window_layers: 0, sliding_window: 16 });
  parse({ ...llama, sliding_window: 16 });
});

test('plain, linear and dynamic frequencies', () => {
  const plain = inverseFrequencies(parse(qwen2).rope, 16);
  // theta^(-2i/C) with theta 1e6, C 16: 1, 10^-0.75, 10^-1.5, ...
  for (const [i, frequency] of plain.entries()) assert.ok(Math.abs(frequency / 10 ** (-0.75 * i) - 1) < 2e-7);
  const linear = parse({ ...qwen2, rope_scaling: { type: 'linear', factor: 4 } }).rope;
  assert.deepEqual(
    inverseFrequencies(linear, 16),
    plain.map((frequency) => frequency / 4),
  );
  const dynamic = parse({ ...qwen2, rope_scaling: { type: 'dynamic', factor: 4 } }).rope;
  assert.deepEqual(inverseFrequencies(dynamic, 16), plain, 'the same up to max_position_embeddings');
});

test('frequencies of every kind agree with the reference to one unit in the last place', () => {
  const { cases } = readFixture('rope.json');
  assert.ok(cases.length >= 9);
  let worst = 0;
  for (const { config, inverse_frequencies, attention_factor } of cases) {
    const { rope, headDim } = parse(config);
    const frequencies = inverseFrequencies(rope, headDim);
    assert.equal(frequencies.length, inverse_frequencies.length);
    for (const [i, frequency] of frequencies.entries()) {
      worst = Math.max(worst, Math.abs(frequency / inverse_frequencies[i] - 1));
    }
    assert.ok(Math.abs(rope.attentionFactor - attention_factor) < 1e-12);
  }
  assert.ok(worst <= 2 ** -23, `off by ${worst / 2 ** -23} units`);
});

test('llama3 scaling keeps short wavelengths, stretches long ones and blends between', () => {
  const config = parse(llama);
  const plain = inverseFrequencies({ ...config.rope, scaling: { kind: 'default' } }, 16);
  const scaled = inverseFrequencies(config.rope, 16);
  for (const [i, frequency] of plain.entries()) {
    const turns = (128 * frequency) / (2 * Math.PI);
    const smooth = (turns - 1) / 3;
    const expected =
      turns > 4 ? frequency : turns < 1 ? frequency / 8 : ((1 - smooth) * frequency) / 8 + smooth * frequency;
    assert.ok(Math.abs(scaled[i]! / expected - 1) < 1e-6, `pair ${i}`);
  }
});

test('yarn as Qwen2.5 documents it', () => {
  const rope_scaling = { type: 'yarn', factor: 4, original_max_position_embeddings: 32768 };
  const { rope } = parse({ ...qwen2, max_position_embeddings: 131072, rope_scaling });
  assert.ok(Math.abs(rope.attentionFactor - (0.1 * Math.log(4) + 1)) < 1e-12);
  const plain = inverseFrequencies({ ...rope, scaling: { kind: 'default' } }, 128);
  const scaled = inverseFrequencies(rope, 128);
  // floor/ceil of C·ln(L/(2π·turns))/(2 ln θ), turns 32 and 1: 23.59 -> 23 and 39.65 -> 40.
  assert.deepEqual(scaled.subarray(0, 24), plain.subarray(0, 24), 'short wavelengths stay');
  for (let i = 40; i < 64; i += 1) assert.ok(Math.abs(scaled[i]! / (plain[i]! / 4) - 1) < 1e-6, `pair ${i}`);
  const weight = (31 - 23) / (40 - 23);
  assert.ok(Math.abs(scaled[31]! / (plain[31]! * (1 - weight) + (plain[31]! / 4) * weight) - 1) < 1e-6);
  const given = parse({ ...qwen2, rope_scaling: { ...rope_scaling, attention_factor: 1.5 } });
  assert.equal(given.rope.attentionFactor, 1.5);
});

test('a config made here reads back the same', () => {
  for (const model of fixtureModels) {
    const config = { ...parse(readFixture(model, 'config.json')) };
    const plain = { ...config, rope: { ...config.rope, scaling: { kind: 'default' } as const } };
    assert.deepEqual(parse({ ...modelConfigJson(plain) }), plain);
  }
});

test('damaged configs are read or rejected, but never cause a crash', () => {
  const strange = [null, true, -1, 0, 0.5, 1e308, '', 'x', [], [1], {}, { factor: 'a' }, '__proto__', [null], 2 ** 31];
  fuzz(3000, (random) => {
    const record = { ...pick([qwen2, qwen3, llama], random) };
    for (let count = 1 + random() * 3; count > 0; count -= 1) {
      const name = pick([...Object.keys(record), 'rope_scaling', 'rope_parameters', 'quantization_config'], random);
      record[name] = pick(strange, random);
    }
    attempt(record);
  });
  fuzz(1000, (random) => {
    const text = new TextDecoder().decode(damage(Buffer.from(JSON.stringify(llama)), random));
    try {
      const record = JSON.parse(text);
      if (typeof record === 'object' && record !== null && !Array.isArray(record)) attempt(record);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  });
});

function attempt(record: Record<string, unknown>): void {
  try {
    const config = parse(record);
    assert.ok(inverseFrequencies(config.rope, Math.min(config.headDim, 1024)).every((f) => Number.isFinite(f)));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}
