/** The gradient of an update does not depend on how its rows are packed, split or recomputed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../../src/engine/backend.js';
import { valueAndGradients } from '../../src/engine/ops/gradient.js';
import { embedding } from '../../src/engine/ops/ops.js';
import { defineFunction, type TensorRecord } from '../../src/engine/program.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import type { ModelConfig } from '../../src/model/network/config.js';
import {
  type CompletionTensors,
  completionInputs,
  completionLogProbs,
  packCompletions,
} from '../../src/model/network/log-probs.js';
import { initialAdapter } from '../../src/model/network/lora.js';
import { planPasses, predictionsPerSequence } from '../../src/model/network/packed.js';
import type { LoraOptions } from '../../src/model/network/params.js';
import { parameterSpecs } from '../../src/model/network/params.js';
import { logits, sequenceStates } from '../../src/model/network/transformer.js';
import { gradientName, policyLayout } from '../../src/policy/layout.js';
import { runScore, runUpdate, type UpdateBatch, updateFunctions } from '../../src/policy/update.js';
import type { UpdateShape } from '../../src/policy/update-shape.js';
import { squaredError } from '../../src/stage2/loss.js';
import { keyedRandom } from '../../src/util/random.js';
import { mean } from '../../src/util/statistics.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const beta2 = 0.3;
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };
const loss = (arithmetic: never, row: never) => squaredError(arithmetic, row, beta2);
const longest = { prompt: 5, completion: 7 };

/** Rows of various lengths; the last has a prompt and a completion of one token each. */
const rows = Array.from({ length: 6 }, (_, i) => {
  const random = keyedRandom('rows', i);
  const ids = (count: number) => Array.from({ length: count }, () => 2 + Math.floor(60 * random.uniform()));
  return { promptIds: ids([5, 3, 4, 1, 2, 1][i]!), completionIds: ids([7, 2, 5, 7, 3, 1][i]!) };
});
const batch: UpdateBatch = {
  rows,
  advantages: [0.5, -0.4, 0.2, 0.9, -0.7, 0.1],
  temperature: 0.8,
  step: 1,
  learningRate: 0.01,
};

/** The same rows behind three tokens that all of them share. */
const prefix = [5, 9, 40];
const prefixed: UpdateBatch = {
  ...batch,
  rows: rows.map(({ promptIds, completionIds }) => ({ promptIds: [...prefix, ...promptIds], completionIds })),
};

const shapes: Record<string, Partial<UpdateShape>> = {
  'one pass': { sequences: 6 },
  'a sequence at a time': { sequences: 1 },
  'two sequences, layers again': { sequences: 2, recompute: { layers: true, logitRows: 100 } },
  'two sequences, layers and logits again': { sequences: 2, recompute: { layers: true, logitRows: 5 } },
  'three sequences, logits again': { sequences: 3, recompute: { layers: false, logitRows: 4 } },
};

function complete({
  sequences = 1,
  recompute = { layers: false, logitRows: 1000 },
}: Partial<UpdateShape>): UpdateShape {
  const length = longest.prompt + longest.completion;
  const predictions = sequences * predictionsPerSequence(length, 1, longest.completion);
  return { sequences, length, predictions, rows: rows.length, sharedPrefix: 0, recompute };
}

const lora: LoraOptions = { rank: 4, alpha: 6, targets: ['q_proj', 'v_proj', 'o_proj', 'up_proj', 'down_proj'] };

/** Gradients of an update, what it returned, and what the parameters were: all of them, or adapters with noise in B. */
async function gradientsOf(
  engine: Engine,
  shape: UpdateShape,
  adapters?: LoraOptions,
  shifted: (name: string, values: Float32Array) => Float32Array = (_, values) => values,
  updated: UpdateBatch = batch,
  addsValue = false,
) {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const sizes = { promptLengths: [longest.prompt], maxNewTokens: longest.completion, slots: 1 };
  const layout = policyLayout(config, sizes, { form: 'f32', lora: adapters });
  const options = { loss: loss as never, optimizer, maxGradientNorm: 1e9, lora: adapters, addsValue, scores: true };
  const program = engine.createProgram({
    state: {
      ...layout.parameters,
      ...layout.adapters,
      ...layout.reference,
      ...layout.moments,
      ...layout.gradients,
    },
    functions: updateFunctions(config, layout, shape, options, 'f32'),
  });
  try {
    const noisy = (name: string, values: Float32Array, size: number) => {
      const random = keyedRandom('noise', name);
      return values.map((value) => value + size * random.normal());
    };
    const start: Record<string, Float32Array> = {};
    for (const name of Object.keys(layout.parameters)) {
      const values = weights.read(name);
      start[name] = adapters === undefined ? noisy(name, values, 0.02) : values;
      program.write(name, start[name]!);
      if (adapters === undefined) program.write(`ref.${name}`, values);
    }
    for (const [name, shapeOf] of Object.entries(adapters === undefined ? {} : layout.trained)) {
      const { uniform } = keyedRandom('adapter', name);
      start[name] = shifted(name, noisy(name, initialAdapter(name, shapeOf, uniform), 0.05));
      program.write(name, start[name]!);
    }
    for (const name of [...Object.keys(layout.moments), ...Object.keys(layout.gradients)]) program.fill(name, 0);
    const scored = await runScore(program, updated.rows, updated.temperature, shape);
    const result = await runUpdate(program, updated, shape, { optimizer, addsValue });
    const names = Object.keys(layout.trained);
    const gradients = new Map(names.map((name) => [name, program.read(gradientName(name)) as Float32Array]));
    const after = new Map(
      [...Object.keys(layout.parameters), ...names].map((name) => [name, program.read(name) as Float32Array]),
    );
    return { ...result, scored, gradients, start, after, layout };
  } finally {
    program.dispose();
    weights.close();
  }
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string, tolerance = 2e-5): void {
  assert.equal(actual.length, expected.length, what);
  const size = Math.max(1e-3, ...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i += 1) {
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) <= tolerance * size,
      `${what}[${i}]: ${actual[i]} for ${expected[i]}`,
    );
  }
}

/** log Σ exp(logits / temperature) over the whole vocabulary, of the logits before each row's first token: `[B]`. */
function firstLogSums(
  policy: TensorRecord,
  config: ModelConfig,
  { ids, predictors, mask, inverseTemperature }: CompletionTensors,
): tf.Tensor {
  const states = sequenceStates(policy, config, ids).reshape([-1, config.hiddenSize]);
  const all = tf.mul(logits(policy, config, embedding(states, predictors)), inverseTemperature);
  return tf.slice(tf.log(tf.sum(tf.exp(all), 1)).reshape(mask.shape), [0, 0], [mask.shape[0]!, 1]).reshape([-1]);
}

/** The same gradient by the plain formula: rows padded to the longest, one function, no recomputation. */
async function plainGradients(engine: Engine, start: Record<string, Float32Array>, addsValue = false) {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  const [B, W] = [rows.length, longest.completion];
  const T = longest.prompt + W;
  const names = Object.keys(start);
  const specs = parameterSpecs(config);
  const state = Object.fromEntries(
    names.flatMap((name) => {
      const spec = { dtype: 'float32', shape: specs[name]! } as const;
      return [
        [name, spec],
        [`ref.${name}`, spec],
      ];
    }),
  );
  const program = engine.createProgram({
    state,
    functions: {
      gradients: defineFunction({
        inputs: { ...completionInputs(B, T, W), advantage: { dtype: 'float32', shape: [B] } },
        body(tensors, inputs) {
          const reference: TensorRecord = Object.fromEntries(names.map((name) => [name, tensors[`ref.${name}`]!]));
          const before = completionLogProbs(reference, config, inputs);
          const { value, gradients } = valueAndGradients(tensors, names, (policy) => {
            const moved = tf.sum(tf.sub(completionLogProbs(policy, config, inputs), before), 1);
            const delta = addsValue ? tf.add(moved, firstLogSums(policy, config, inputs)) : moved;
            return tf.mean(squaredError<tf.Tensor>(tf, { delta, advantage: inputs.advantage }, beta2));
          });
          return { outputs: { loss: value, ...gradients } };
        },
      }),
    },
  });
  try {
    for (const name of names) {
      program.write(name, start[name]!);
      program.write(`ref.${name}`, weights.read(name));
    }
    return program.run('gradients', {
      ...packCompletions(rows, B, T, W),
      inverseTemperature: Float32Array.of(1 / batch.temperature),
      advantage: Float32Array.from(batch.advantages),
    }) as Record<string, Float32Array>;
  } finally {
    program.dispose();
    weights.close();
  }
}

for (const engineName of ['tensorflow', 'wasm'] as const) {
  const check = engineName === 'tensorflow' ? nativeTest : test;

  check(
    `gradient, loss and log-probs are those of the plain formula, however rows are split (${engineName})`,
    async () => {
      const engine = await openEngine(engineName);
      const first = await gradientsOf(engine, complete(shapes['one pass']!));
      const plain = await plainGradients(engine, first.start);
      for (const [name, shape] of Object.entries(shapes)) {
        const { gradients, loss: value, logProbs, refLogProbs } = await gradientsOf(engine, complete(shape));
        assertClose([value], plain.loss!, `${name}: loss`);
        for (const [parameter, gradient] of gradients)
          assertClose(gradient, plain[parameter]!, `${name}: ${parameter}`);
        for (const row of rows.keys()) {
          assert.equal(logProbs[row]!.length, rows[row]!.completionIds.length);
          assertClose(logProbs[row]!, first.logProbs[row]!, `${name}: row ${row}`);
          assertClose(refLogProbs[row]!, first.refLogProbs[row]!, `${name}: reference, row ${row}`);
        }
      }
    },
  );

  check(
    `with V_θ of the prompts in δ, gradient and loss are those of the plain formula too (${engineName})`,
    async () => {
      const engine = await openEngine(engineName);
      let plain: Record<string, Float32Array> | undefined;
      for (const name of ['one pass', 'two sequences, layers and logits again'] as const) {
        const found = await gradientsOf(engine, complete(shapes[name]!), undefined, undefined, batch, true);
        plain ??= await plainGradients(engine, found.start, true);
        assertClose([found.loss], plain.loss!, `${name}: loss`);
        for (const [parameter, gradient] of found.gradients)
          assertClose(gradient, plain[parameter]!, `${name}: ${parameter}`);
        const losses = rows.map((_, i) => {
          const delta = found.logProbs[i]!.reduce((sum, logProb, j) => sum + logProb - found.refLogProbs[i]![j]!, 0);
          return (beta2 * (delta + found.values![i]!) - batch.advantages[i]!) ** 2;
        });
        assertClose([mean(losses)], [found.loss], `${name}: values`);
        for (const row of rows.keys())
          assertClose(found.scored[row]!, found.logProbs[row]!, `${name}: scores of row ${row}`);
      }
    },
  );

  check(
    `a prefix that all prompts share is computed once for a sequence: the same gradient (${engineName})`,
    async () => {
      const engine = await openEngine(engineName);
      const own = longest.prompt + longest.completion;
      const alone = complete(shapes['one pass']!);
      const expected = await gradientsOf(
        engine,
        { ...alone, length: prefix.length + own },
        undefined,
        undefined,
        prefixed,
      );
      for (const [count, layers] of [
        [6, false],
        [2, true],
        [1, false],
      ] as const) {
        const shape: UpdateShape = {
          ...alone,
          sequences: 1,
          length: prefix.length + count * own,
          sharedPrefix: prefix.length,
          recompute: { layers, logitRows: 1000 },
        };
        const {
          gradients,
          loss: value,
          logProbs,
          refLogProbs,
        } = await gradientsOf(engine, shape, undefined, undefined, prefixed);
        assertClose([value], [expected.loss], 'loss');
        for (const [parameter, gradient] of gradients) {
          assertClose(gradient, expected.gradients.get(parameter)!, `${count} rows: ${parameter}`);
        }
        for (const row of rows.keys()) {
          assertClose(logProbs[row]!, expected.logProbs[row]!, `row ${row}`);
          assertClose(refLogProbs[row]!, expected.refLogProbs[row]!, `reference, row ${row}`);
        }
      }
      const other = { ...prefixed, rows: [...prefixed.rows.slice(1), batch.rows[0]!] };
      const shape = { ...alone, sequences: 1, length: prefix.length + 6 * own, sharedPrefix: prefix.length };
      await assert.rejects(gradientsOf(engine, shape, undefined, undefined, other), /does not begin with the 3 tokens/);
    },
  );

  check(
    `adapters: the frozen weights stay, and moving along the gradient lowers the loss as it says (${engineName})`,
    async () => {
      const engine = await openEngine(engineName);
      for (const [shape, addsValue] of [
        [shapes['one pass']!, false],
        [shapes['two sequences, layers and logits again']!, true],
      ] as const) {
        const updated = (shifted?: Parameters<typeof gradientsOf>[3]) =>
          gradientsOf(engine, complete(shape), lora, shifted, batch, addsValue);
        const { gradients, start, after, layout } = await updated();
        assert.deepEqual(Object.keys(layout.reference), []);
        for (const name of Object.keys(layout.parameters)) assert.deepEqual(after.get(name), start[name], name);
        for (const name of gradients.keys()) assert.notDeepEqual(after.get(name), start[name], name);
        // Along the gradient, by central differences: d loss / d distance is its norm.
        const norm = Math.hypot(...[...gradients.values()].flatMap((gradient) => [...gradient]));
        const lossAt = async (distance: number) => {
          const along = (name: string, values: Float32Array) =>
            values.map((value, i) => value + (distance / norm) * gradients.get(name)![i]!);
          return (await updated(along)).loss;
        };
        const slope = ((await lossAt(0.02)) - (await lossAt(-0.02))) / 0.04;
        assert.ok(Math.abs(slope / norm - 1) < 0.01, `${slope} and ${norm}`);
      }
    },
  );
}

test('rows are packed without overlap, longest first, and never in more sequences than rows', () => {
  const shape = complete({ sequences: 2 });
  const passes = planPasses(rows, shape);
  const placed = passes.flat();
  assert.deepEqual(placed.map(({ row }) => row).sort(), [...rows.keys()]);
  for (const pass of passes) {
    const used = new Map<number, number>();
    for (const { row, sequence, start } of pass) {
      assert.ok(sequence < 2);
      assert.equal(start, used.get(sequence) ?? 0);
      used.set(sequence, start + rows[row]!.promptIds.length + rows[row]!.completionIds.length);
      assert.ok(used.get(sequence)! <= shape.length);
    }
  }
  // 41 tokens need four sequences of 12 at least.
  assert.equal(passes.length, 2);
  assert.throws(
    () => planPasses([{ promptIds: [], completionIds: [1] }], shape),
    /at least one prompt token of its own/,
  );
  assert.throws(
    () => planPasses([{ promptIds: [1], completionIds: Array(12).fill(1) }], shape),
    /13 tokens does not fit in 12/,
  );
});

test('a sequence never holds more completion tokens than predicted', () => {
  // Prompts of 2 and completions of up to 5 in 12 tokens: one row 5, two rows 8 (12 - 2·2), three 6.
  assert.equal(predictionsPerSequence(12, 2, 5), 8);
  assert.equal(predictionsPerSequence(12, 5, 7), 7);
  assert.equal(predictionsPerSequence(100, 1, 1), 50);
});
