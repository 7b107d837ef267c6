/**
 * In bfloat16, and with int8 weights for sampling, a policy that trains samples from rounded copies of its weights: those it has,
 * and what anyone else would see. With adapters it samples from merged copies, or from weights and adapters.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEngine } from '../../../src/engine/backend.js';
import { type FunctionSpecs, type StateSpec, withFunctions } from '../../../src/engine/program.js';
import { gpuDevice, traceProgram } from '../../../src/engine/session.js';
import { processorRoom, stateBytes } from '../../../src/model/load.js';
import { type ModelConfig, parseModelConfig } from '../../../src/model/network/config.js';
import {
  elementCount,
  fanInDeviation,
  initialParameter,
  loraTargets,
  parameterCount,
} from '../../../src/model/network/params.js';
import { samplingParts } from '../../../src/model/sampling/program.js';
import { sample } from '../../../src/model/sampling/sample.js';
import { copyFunction, frozenState, onAdapters, onCopies, samplerCopies } from '../../../src/model/sampling/weights.js';
import { policyLayout } from '../../../src/policy/layout.js';
import { createPolicy, type Policy, type PolicyOptions } from '../../../src/policy/policy.js';
import { checkSampler, samplerTolerance } from '../../../src/stage2/checks.js';
import { policyGradient } from '../../../src/stage2/loss.js';
import { keyedRandom } from '../../../src/util/random.js';
import { rounded } from '../../helpers/bfloat16.js';
import { assertClose } from '../../helpers/close.js';
import { nativeTest } from '../../helpers/native.js';

const configRecord = {
  model_type: 'qwen2',
  vocab_size: 300,
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 512,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  tie_word_embeddings: true,
  max_position_embeddings: 64,
  initializer_range: 0.1,
};
const config = parseModelConfig(configRecord, 'test');
/** Its layers do not fit in a core's cache, so that they are read as bytes. */
const wide = parseModelConfig({ ...configRecord, num_hidden_layers: 1, intermediate_size: 1152 }, 'test');

test('large matrices are stored in half the memory, the rest is not', () => {
  const state = frozenState(config, 'bf16');
  const stored = Object.keys(state).filter((name) => state[name]!.stored === 'bf16');
  const parts = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'];
  const layers = [0, 1].flatMap((layer) => parts.map((part) => `model.layers.${layer}.${part}.weight`));
  assert.deepEqual(stored.sort(), ['model.embed_tokens.weight', ...layers].sort());
  const large = 300 * 256 + 2 * (2 * 256 * 256 + 3 * 512 * 256);
  assert.equal(stateBytes(state), 4 * parameterCount(config) - 2 * large);
  assert.equal(stateBytes(frozenState(config, 'f32')), 4 * parameterCount(config));
  assert.equal(stateBytes(samplerCopies(config, 'bf16', { frozen: [] })), 2 * large);
  assert.deepEqual(samplerCopies(config, 'f32', { frozen: [] }), {});
});

test('each layer widens its weights when its input is ready, so only one layer is wide at a time', () => {
  const sizes = { slots: 20, positions: 16, prompts: 2, promptPositions: 8, chunk: 8, admissions: 2 };
  const { state, functions } = samplingParts(config, sizes, { greedy: false, topK: 0, topP: 1 });
  const { graphs } = traceProgram({ state: { ...frozenState(config, 'bf16'), ...state }, functions }, gpuDevice);
  for (const { prefix, nodes } of graphs.filter((graph) => /prefill|decode/.test(graph.prefix))) {
    const used = new Set(nodes.flatMap(({ inputs }) => inputs.map(({ node }) => node)));
    const widened = nodes.filter((node) => {
      const [source] = node.inputs;
      return node.op === 'Cast' && used.has(node) && source?.dtype === 'bfloat16' && source.node.op !== 'GatherV2';
    });
    const early = widened.filter(({ inputs: [source] }) => source!.node.control.length === 0);
    assert.ok(widened.length >= 10, `${prefix}: ${widened.length} weights are widened`);
    assert.deepEqual(early, [], `${prefix}: weights are widened at once`);
  }
});

test('large matrices are stored as bytes, except those of layers that a core keeps in its cache', () => {
  const storedIn = (state: Record<string, StateSpec>) =>
    Object.keys(state).filter((name) => state[name]!.stored === 'int8');
  assert.deepEqual(storedIn(frozenState(config, 'int8')), ['model.embed_tokens.weight']);
  const parts = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'];
  const names = ['model.embed_tokens.weight', ...parts.map((part) => `model.layers.0.${part}.weight`)];
  assert.deepEqual(storedIn(frozenState(wide, 'int8')).sort(), [...names].sort());
  const copied = (merged: string[]) =>
    Object.keys(samplerCopies(wide, 'int8', { frozen: merged.length === 0 ? [] : names, merged })).sort();
  assert.deepEqual(copied([]), names.map((name) => `sampler.${name}`).sort());
  // With adapters, k_proj is small but has another value than the base's.
  const small = 'model.layers.0.self_attn.k_proj.weight';
  assert.deepEqual(copied([small]), [...names, small].map((name) => `sampler.${name}`).sort());
});

const initialOf = (of: ModelConfig) => (name: string) => {
  const shape = frozenState(of, 'f32')[name]!.shape;
  return initialParameter(name, shape, fanInDeviation(name, shape, of), keyedRandom('weights', name).uniform);
};
const initial = initialOf(config);

const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };

const someRollouts = () =>
  Array.from({ length: 12 }, (_, i) => ({
    promptIds: [3 + (i % 4), 7, 9],
    uniform: keyedRandom('draw', i).uniform,
    maxNewTokens: 8,
  }));
const options = { temperature: 1, endIds: new Set<number>() };

async function drawn(policy: Policy): Promise<{ ids: number[]; logProbs: number[] }[]> {
  const completions = await policy.sample(someRollouts(), options);
  return completions.map(({ ids, logProbs }) => ({ ids, logProbs }));
}

nativeTest('a bfloat16 reference loses nothing when stored as bfloat16', async () => {
  const narrow = (name: string) => rounded(initial(name));
  const engine = await openEngine('tensorflow');
  const policy = createPolicy(engine, config, {
    sizes: { promptLengths: [3], maxNewTokens: 8, slots: 8 },
    dtypeOf: () => 'bfloat16',
    training: { batchSize: 2, optimizer, maxGradientNorm: 1, loss: policyGradient },
  });
  try {
    policy.load(narrow);
    policy.loadReference(narrow);
    policy.loadMoments();
    const rows = (await drawn(policy)).slice(0, 2).map(({ ids }) => ({ promptIds: [3, 7, 9], completionIds: ids }));
    const batch = { rows, advantages: [-1, 1], temperature: 1, learningRate: 0.01 };
    const first = await policy.update({ ...batch, step: 1 });
    assert.deepEqual(first.logProbs, first.refLogProbs);
    const second = await policy.update({ ...batch, step: 2 });
    assert.deepEqual(second.refLogProbs, first.refLogProbs);
    assert.notDeepEqual(second.logProbs, first.logProbs);
  } finally {
    policy.dispose();
  }
});

const sizes = { promptLengths: [3], maxNewTokens: 8, slots: 8 };
const training = { batchSize: 2, optimizer, maxGradientNorm: 1, loss: policyGradient };

/** A policy, one that only samples, both with the initial weights, and the completions that both draw. */
async function policyAndSampler(
  of: ModelConfig,
  how: Pick<PolicyOptions, 'precision' | 'samplerWeights'>,
  more: Pick<NonNullable<PolicyOptions['training']>, 'lora'> = {},
) {
  const engine = await openEngine('tensorflow');
  const policy = createPolicy(engine, of, { sizes, ...how, training: { ...training, ...more } });
  const frozen = createPolicy(engine, of, { sizes, ...how });
  const initial = initialOf(of);
  policy.load(initial);
  policy.loadReference(initial);
  policy.loadMoments();
  frozen.load(initial);
  const before = await drawn(policy);
  assert.deepEqual(await drawn(frozen), before);
  return { policy, frozen, before };
}

for (const [title, of, how] of [
  ['bfloat16', config, { precision: 'bf16' }],
  ['int8', wide, { samplerWeights: 'int8' }],
] as const) {
  nativeTest(
    `a policy samples from the ${title} weights that it has, as a policy that only samples would`,
    async () => {
      const initial = initialOf(of);
      const { policy, frozen, before } = await policyAndSampler(of, how);
      try {
        const rows = before.slice(0, 2).map(({ ids }) => ({ promptIds: [3, 7, 9], completionIds: ids }));
        const { logProbs, refLogProbs } = await policy.update({
          rows,
          advantages: [-1, 1],
          temperature: 1,
          step: 1,
          learningRate: 0.01,
        });
        assert.deepEqual(logProbs, refLogProbs);
        const after = await drawn(policy);
        assert.notDeepEqual(after, before);
        frozen.load(policy.read);
        assert.deepEqual(await drawn(frozen), after);
        policy.load(initial);
        assert.deepEqual(await drawn(policy), before);
      } finally {
        policy.dispose();
        frozen.dispose();
      }
    },
  );
}

nativeTest('adapters give the same samples merged into copies of the weights and computed beside them', async () => {
  const engine = await openEngine('tensorflow');
  const lora = { rank: 4, alpha: 8, targets: loraTargets };
  const draw = async (mergedBytes: number) => {
    const room = { ...processorRoom, mergedBytes };
    const layout = policyLayout(config, sizes, { form: 'f32', formOf: () => 'bf16', lora, room });
    const { functions } = samplingParts(config, layout.sizes, { greedy: false, topK: 0, topP: 1 }, 'f32');
    const isMerged = Object.keys(layout.copies).length > 0;
    assert.equal(isMerged, mergedBytes > 0);
    const all: FunctionSpecs = isMerged
      ? { ...onCopies(functions, layout.copies), copy: copyFunction(layout.copies, lora) }
      : onAdapters(functions, lora);
    const program = engine.createProgram({
      state: { ...layout.caches, ...layout.parameters, ...layout.adapters, ...layout.copies },
      functions: all,
    });
    for (const name of Object.keys(layout.caches)) program.fill(name, 0);
    for (const name of Object.keys(layout.parameters)) program.write(name, initial(name));
    for (const [name, { shape }] of Object.entries(layout.adapters)) {
      const { uniform } = keyedRandom('adapter', name);
      program.write(
        name,
        Float32Array.from({ length: elementCount(shape) }, () => 0.2 * (uniform() - 0.5)),
      );
    }
    if (isMerged) program.run('copy');
    const { completions } = await sample(withFunctions(program, functions), layout.sizes, someRollouts(), options);
    program.dispose();
    return completions;
  };
  const [merged, beside] = [await draw(2 ** 28), await draw(0)];
  // A token whose number lies between two others by less than a rounding may differ, and all after it.
  const same = beside.filter(({ ids }, i) => ids.join() === merged[i]!.ids.join());
  assert.ok(same.length >= 10, `${same.length} of 12`);
  for (const completion of same) {
    const { logProbs } = merged[beside.indexOf(completion)]!;
    assertClose('log-probs', completion.logProbs, logProbs, { absolute: 1e-4 });
  }
});

nativeTest(
  'an int8 sampler is near the policy, whose update uses its own log-probs; adapters are merged first',
  async () => {
    const lora = { rank: 2, alpha: 4, targets: ['k_proj', 'down_proj'] } as const;
    for (const more of [{}, { lora }]) {
      const { policy, frozen, before } = await policyAndSampler(wide, { samplerWeights: 'int8' }, more);
      try {
        const rows = before.slice(0, 2).map(({ ids }, i) => ({ promptIds: [3 + i, 7, 9], completionIds: ids }));
        const batch = { rows, advantages: [-1, 1], temperature: 1, step: 1, learningRate: 0.01 };
        const { logProbs, refLogProbs } = await policy.update(batch);
        assert.deepEqual(logProbs, refLogProbs, "both are of the model's own weights");
        const sampled = before.slice(0, 2).map((row) => row.logProbs);
        const { mean, max } = checkSampler(sampled, logProbs, samplerTolerance.int8);
        assert.ok(mean > 1e-4 && max < 0.5, `mean ${mean}, max ${max}`);
        assert.notDeepEqual(await drawn(policy), before, 'the copies follow the update');
      } finally {
        policy.dispose();
        frozen.dispose();
      }
    }
  },
);
