/**
 * Compiling does not touch weights: the training step of a Qwen2 with 494 million parameters (Qwen2.5-0.5B) becomes a
 * graph within seconds and a few megabytes. Only traced and encoded here, never run: the weights alone take 2 GB.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
// Registers tfjs's gradients and chained methods, as in every program.
import '../../src/engine/backend.js';
import { compileFunction } from '../../src/engine/graph/compile.js';
import { Graph } from '../../src/engine/graph/graph.js';
import { encodeSavedModel } from '../../src/engine/graph/graphdef.js';
import { addHandles, addStateAccess } from '../../src/engine/graph/variables.js';
import { tokenLogProbs } from '../../src/engine/ops/ops.js';
import { clipScale, globalNorm, optimizerState, stepInputs, update } from '../../src/engine/optim/adamw.js';
import { defineFunction, type TensorRecord, type TensorSpec } from '../../src/engine/program.js';
import { parseModelConfig } from '../../src/model/network/config.js';
import { parameterCount, parameterSpecs } from '../../src/model/network/params.js';
import { logits, sequenceStates } from '../../src/model/network/transformer.js';

const config = parseModelConfig(
  {
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    vocab_size: 151936,
    hidden_size: 896,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    intermediate_size: 4864,
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    tie_word_embeddings: true,
    max_position_embeddings: 32768,
    eos_token_id: 151643,
    bos_token_id: 151643,
    initializer_range: 0.02,
    torch_dtype: 'bfloat16',
  },
  'this test',
);

test('the training step of a 494M Qwen2 compiles in seconds, without its weights', () => {
  assert.equal(parameterCount(config), 494_032_768);
  const parameters: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(parameterSpecs(config)).map(([name, shape]) => [name, { dtype: 'float32', shape }]),
  );
  const names = Object.keys(parameters);
  const [B, T] = [4, 64];
  const state = { ...parameters, ...optimizerState(parameters) };
  const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 };
  const ids = { dtype: 'int32', shape: [B, T] } as const;

  const before = process.memoryUsage().rss;
  const start = process.cpuUsage();
  const shared = new Graph('state');
  const handles = addHandles(shared, state);
  addStateAccess(shared, state, handles);
  const graph = new Graph('step');
  compileFunction(
    graph,
    'step',
    defineFunction({
      inputs: { ids, targets: ids, mask: { dtype: 'float32', shape: [B * T] }, ...stepInputs },
      body: (weights, inputs) => {
        const loss = (...values: tf.Tensor[]) => {
          const record = Object.fromEntries(names.map((name, index) => [name, values[index]])) as TensorRecord;
          const hidden = sequenceStates(record, config, inputs.ids).reshape([B * T, config.hiddenSize]);
          const targets = inputs.targets.reshape([B * T]);
          const logProbs = tokenLogProbs(logits(record, config, hidden), targets);
          return tf.neg(tf.mean(tf.mul(logProbs, inputs.mask))) as tf.Scalar;
        };
        const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => weights[name]!));
        const gradients = Object.fromEntries(names.map((name, index) => [name, grads[index]!]));
        const norm = globalNorm(gradients);
        const assign = update(weights, gradients, inputs, options, clipScale(norm, 1));
        return { outputs: { loss: value, norm }, assign };
      },
      checkNumerics: true,
      precision: 'bf16',
    }),
    state,
    handles,
  );
  const bytes = encodeSavedModel([shared, graph]).byteLength;
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;

  // Of the process's own time, which a busy machine does not stretch.
  assert.ok(seconds < 10, `took ${seconds} s`);
  assert.ok(grown < 1024, `took ${grown.toFixed(0)} MiB`);
  assert.ok(bytes < 5e6, `the graph has ${bytes} bytes`);
  // Everything stored is small: the angles' frequencies, shapes, axes.
  const constants = graph.nodes.map(({ attributes: { value } }) =>
    value && 'tensor' in value ? value.tensor.data.byteLength : 0,
  );
  assert.ok(Math.max(...constants) <= 4096, `a constant of ${Math.max(...constants)} bytes`);
  const updates = graph.nodes.filter(({ op }) => op === 'ResourceApplyAdam').length;
  assert.equal(updates, names.length);
  console.log(
    `traced ${graph.nodes.length} nodes, ${bytes} bytes, in ${seconds.toFixed(1)} s and ${grown.toFixed(0)} MiB`,
  );
});
