/**
 * Sampling, on TensorFlow and on wasm: equal to a naive sampler, independent of batch, slots, order and padding, each
 * prompt prefilled once, nothing computed for finished rollouts, drawn from the exact distribution.
 *
 * Draws are compared by token. A token differs only when its uniform number lies within rounding (about 1e-6) of a
 * border between two tokens; over the 3,000 tokens compared here that would happen to one choice of seeds in 300.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as tf from '@tensorflow/tfjs-core';
import { openEngine } from '../../../src/engine/backend.js';
import type { EngineName } from '../../../src/engine/choices.js';
import { defineFunction, withFunctions } from '../../../src/engine/program.js';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import { samplingSizes } from '../../../src/model/load.js';
import { type DrawOptions, draw, drawInputs } from '../../../src/model/sampling/draw.js';
import type { CacheSizes } from '../../../src/model/sampling/kv-cache.js';
import { decodeBatches } from '../../../src/model/sampling/program.js';
import { type Completion, type Rollout, type SampleOptions, sample } from '../../../src/model/sampling/sample.js';
import { planScoring, score, scoreFunctions } from '../../../src/model/score.js';
import { keyedRandom, rolloutRandom } from '../../../src/util/random.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { fixture, fixtureModels, readFixture } from '../../helpers/files.js';
import { nativeTest } from '../../helpers/native.js';
import {
  allTokens,
  chiSquarePValue,
  distribution,
  fixtureSampler,
  naiveCompletion,
  rollouts,
} from '../../helpers/sampling.js';

const noEnd: ReadonlySet<number> = new Set();
const limited: DrawOptions = { greedy: false, topK: 20, topP: 0.9 };
const greedy: DrawOptions = { greedy: true, topK: 0, topP: 1 };

for (const engine of ['tensorflow', 'wasm'] as const) {
  const engineTest = (name: string, run: () => Promise<void>) =>
    (engine === 'tensorflow' ? nativeTest : test)(`${name} (${engine})`, run);
  for (const model of fixtureModels) {
    engineTest(`${model}: cached sampling equals running the whole model for each token`, () =>
      checkAgainstNaive(engine, model, { draw: allTokens, temperature: 1 }),
    );
  }
  engineTest('with top-k and top-p too', () =>
    checkAgainstNaive(engine, 'qwen2-tied-f32', { draw: limited, temperature: 0.7 }),
  );
  engineTest('and greedily', () => checkAgainstNaive(engine, 'qwen2-tied-f32', { draw: greedy, temperature: 0 }));
  engineTest('a completion does not depend on what is sampled with it', () => checkIndependence(engine));
  engineTest('the cost is that of the tokens drawn', () => checkCost(engine));
  engineTest('a completion ends at any of the end tokens, that one included', () => checkEnds(engine));
  engineTest("the log-probs of the sampler are those of 'score'", () => checkScores(engine));
  engineTest('the first tokens of many rollouts have the distribution of the reference', () =>
    checkFirstTokens(engine),
  );
  engineTest('a prefix that all prompts share is computed once', () => checkSharedPrefix(engine));
  engineTest('draws have the exact distribution', () => checkDraws(engine));
  engineTest('every uniform number draws a possible token of a large vocabulary', () => checkLargeVocabulary(engine));
  engineTest('sampling can be stopped, and damaged weights are reported', () => checkStops(engine));
  engineTest('damaged weights are also reported with top-k, top-p and greedy decoding', () => checkDamaged(engine));
}

const small: CacheSizes = { slots: 4, positions: 48, prompts: 2, promptPositions: 32, chunk: 32, admissions: 2 };

async function checkAgainstNaive(
  engine: EngineName,
  model: (typeof fixtureModels)[number],
  { draw: options, temperature }: { draw: DrawOptions; temperature: number },
): Promise<void> {
  const sampler = await fixtureSampler(engine, model, small, options);
  const make = rollouts(sampler.config, [
    { prompt: 0, length: 1, maxNewTokens: 12 },
    { prompt: 1, length: 9, maxNewTokens: 20 },
    { prompt: 2, length: 31, maxNewTokens: 5 },
    { prompt: 1, length: 9, maxNewTokens: 1 },
    { prompt: 3, length: 17, maxNewTokens: 16 },
  ]);
  const { completions } = await sample(sampler.sampling, small, fresh(make), { temperature, endIds: noEnd });
  make.forEach((rollout, index) => {
    const expected = naiveCompletion(sampler, rollout(), temperature, options);
    assertSame(completions[index]!, { ...expected, finishReason: 'length' }, `rollout ${index}`);
  });
  sampler.program.dispose();
}

/** The same rollouts through programs of very different sizes, and in another order. */
async function checkIndependence(engine: EngineName): Promise<void> {
  const plans = Array.from({ length: 11 }, (_, index) => ({
    prompt: index % 5,
    length: [1, 30, 7, 16, 17][index % 5] as number,
    maxNewTokens: 1 + ((index * 7) % 18),
  }));
  // Every sixteenth token is an end, so that lengths vary.
  const ends = Array.from({ length: 32 }, (_, index) => 16 * index);
  const settings: SampleOptions = { temperature: 1.1, endIds: new Set(ends) };
  let expected: Completion[] | undefined;
  for (const sizes of [
    { slots: 1, positions: 48, prompts: 1, promptPositions: 32, chunk: 32, admissions: 1 },
    { slots: 3, positions: 64, prompts: 2, promptPositions: 32, chunk: 8, admissions: 1 },
    { slots: 8, positions: 49, prompts: 8, promptPositions: 40, chunk: 20, admissions: 3 },
    { slots: 16, positions: 47, prompts: 3, promptPositions: 29, chunk: 1, admissions: 16 },
  ]) {
    const sampler = await fixtureSampler(engine, 'qwen2-tied-f32', sizes);
    const make = rollouts(sampler.config, plans);
    const { completions } = await sample(sampler.sampling, sizes, fresh(make), settings);
    expected ??= completions;
    completions.forEach((each, index) => {
      assertSame(each, (expected as Completion[])[index] as Completion, `rollout ${index} in ${JSON.stringify(sizes)}`);
    });
    const backwards = await sample(sampler.sampling, sizes, fresh(make.toReversed()), settings);
    backwards.completions.toReversed().forEach((each, index) => {
      assertSame(each, (expected as Completion[])[index] as Completion, `rollout ${index}, backwards`);
    });
    sampler.program.dispose();
  }
  // The comparison means little unless some ended early and others did not.
  const reasons = (expected as Completion[]).map(({ finishReason }) => finishReason);
  assert.ok(reasons.includes('stop') && reasons.includes('length'), reasons.join());
}

/** Prompts that begin alike, computed once, and prompts that do not, in the same program. */
async function checkSharedPrefix(engine: EngineName): Promise<void> {
  const plain = { slots: 4, positions: 48, prompts: 3, promptPositions: 24, chunk: 8, admissions: 2 };
  const sharing = { ...plain, promptPositions: 9 + 16, sharedPositions: 9 };
  const settings = { temperature: 1, endIds: noEnd };
  const [without, withShared] = [
    await fixtureSampler(engine, 'qwen3-tied', plain),
    await fixtureSampler(engine, 'qwen3-tied', sharing),
  ];
  const prefix = Array.from({ length: 9 }, (_, i) => 3 + 5 * i);
  const plans = Array.from({ length: 8 }, (_, i) => ({ prompt: i, length: [1, 2, 9, 16][i % 4]!, maxNewTokens: 9 }));
  const own = rollouts(without.config, plans);
  const alike = own.map((make) => () => {
    const rollout = make();
    return { ...rollout, promptIds: [...prefix, ...rollout.promptIds] };
  });
  for (const [make, prefilled] of [
    // Lots of three, three and two prompts, whose own tokens less the last are 8, 15 and 15 at most: five chunks of 8.
    [alike, 9 + 5 * 3 * 8],
    // No common prefix: the same chunks.
    [own, 5 * 3 * 8],
  ] as const) {
    const expected = await sample(without.sampling, plain, fresh(make), settings);
    const { completions, counts } = await sample(withShared.sampling, sharing, fresh(make), settings);
    for (const [index, each] of completions.entries()) {
      assertSame(each, expected.completions[index]!, `rollout ${index}`);
    }
    assert.equal(counts.prefilled, prefilled);
  }
  without.program.dispose();
  withShared.program.dispose();
}

async function checkCost(engine: EngineName): Promise<void> {
  const sizes = { slots: 8, positions: 48, prompts: 4, promptPositions: 24, chunk: 8, admissions: 2 };
  const sampler = await fixtureSampler(engine, 'qwen3-tied', sizes);
  // 40 rollouts of ten prompts, four each, scattered over the list; lengths 1 to 24.
  const plans = Array.from({ length: 40 }, (_, index) => ({
    prompt: index % 10,
    length: 2 + (index % 10) * 2,
    maxNewTokens: 1 + ((index * 11) % 24),
  }));
  const make = rollouts(sampler.config, plans);
  const { completions, counts } = await sample(sampler.sampling, sizes, fresh(make), { temperature: 1, endIds: noEnd });
  assert.equal(counts.prompts, 10);
  // Prompts are prefilled four at a time without their last tokens: at most 7, 15 and 19 positions in chunks of 8.
  assert.equal(counts.prefilled, 4 * 8 * (1 + 2 + 3));
  const tokens = completions.reduce((sum, { ids }) => sum + ids.length, 0);
  const idle = counts.decoded - tokens;
  // While rollouts wait at most one of eight slots is idle (two are filled together). Afterwards at most half a batch
  // is, which is four slots for as many steps as the longest completion takes.
  const bound = counts.decoded / 8 + 4 * 24;
  assert.ok(idle >= 0 && idle <= bound, `${idle} idle rows of ${counts.decoded}; ${bound} allowed`);
  // One rollout alone decodes alone, in however many slots there are.
  const one = await sample(sampler.sampling, sizes, fresh(make.slice(5, 6)), { temperature: 1, endIds: noEnd });
  assert.equal(one.counts.decoded, one.completions[0]?.ids.length);
  sampler.program.dispose();
}

test('a batch is chosen that is at most twice the rollouts still running, and the usual batch exactly', () => {
  for (let slots = 1; slots <= 64; slots++) {
    for (const batch of [undefined, 1, 3, 20, slots, 100]) {
      const batches = decodeBatches({ slots, ...(batch !== undefined && { batch }) });
      const chosen = (running: number) => batches.findLast((size) => size >= running) as number;
      assert.equal(batches[0], slots);
      assert.deepEqual(
        batches,
        [...new Set(batches)].sort((a, b) => b - a),
      );
      const usual = Math.min(batch ?? slots, slots);
      assert.equal(chosen(usual), usual);
      for (let running = 1; running <= slots; running++) {
        assert.ok(chosen(running) <= 2 * running, `${chosen(running)} rows for ${running} rollouts in ${slots} slots`);
      }
    }
  }
});

async function checkEnds(engine: EngineName): Promise<void> {
  const sampler = await fixtureSampler(engine, 'llama', small);
  const plans = Array.from({ length: 6 }, (_, prompt) => ({ prompt, length: 4, maxNewTokens: 16 }));
  const make = rollouts(sampler.config, plans);
  const run = (endIds: ReadonlySet<number>) => sample(sampler.sampling, small, fresh(make), { temperature: 1, endIds });
  const { completions: whole } = await run(noEnd);
  // A token from the middle of the first completion, the last of the second, the first of the third.
  const ends = [whole[0]?.ids[7], whole[1]?.ids[15], whole[2]?.ids[0]] as number[];
  const { completions } = await run(new Set(ends));
  completions.forEach((completion, index) => {
    const { ids, logProbs } = whole[index]!;
    const place = ids.findIndex((id) => ends.includes(id));
    const length = place === -1 ? ids.length : place + 1;
    const finishReason = place === -1 ? 'length' : 'stop';
    assertSame(
      completion,
      { ids: ids.slice(0, length), logProbs: logProbs.slice(0, length), finishReason },
      `${index}`,
    );
  });
  assert.deepEqual(completions[2]?.ids.length, 1);
  sampler.program.dispose();
}

async function checkScores(engine: EngineName): Promise<void> {
  const plans = Array.from({ length: 9 }, (_, index) => ({
    prompt: index,
    length: 1 + index * 3,
    maxNewTokens: 20 - index,
  }));
  for (const [options, temperature] of [
    [allTokens, 1.4],
    [limited, 0.7],
  ] as const) {
    const sampler = await fixtureSampler(engine, 'qwen2-untied-bf16', small, options);
    const { completions } = await sample(sampler.sampling, small, fresh(rollouts(sampler.config, plans)), {
      temperature,
      endIds: noEnd,
    });
    const prompts = rollouts(sampler.config, plans).map((make) => make().promptIds);
    sampler.program.dispose();
    const rows = completions.map(({ ids }, index) => ({ promptIds: prompts[index]!, completionIds: ids }));
    const plan = planScoring(sampler.config, rows);
    const scorer = await fixtureSampler(engine, 'qwen2-untied-bf16', small, options, (config) =>
      scoreFunctions(config, plan.groups),
    );
    const scores = await score(withFunctions(scorer.program, scoreFunctions(sampler.config, plan.groups)), plan, rows, {
      temperature,
    });
    completions.forEach(({ logProbs }, row) => {
      assertClose(Array.from(scores[row]!), logProbs, `row ${row}`);
    });
    scorer.program.dispose();
  }
}

/**
 * 1,500 rollouts of one prompt, one token each, against the softmax of the reference's own logits. A fault-free sampler
 * fails this for one seed in 1,000.
 */
async function checkFirstTokens(engine: EngineName): Promise<void> {
  const [{ ids: promptIds, last_logits: logits }] = readFixture('qwen2-tied-f32', 'expected.json').prompts;
  const count = 1500;
  const sizes = { ...small, slots: 50, admissions: 50, prompts: 1 };
  const sampler = await fixtureSampler(engine, 'qwen2-tied-f32', sizes);
  const many = Array.from({ length: count }, (_, number): Rollout => {
    const { uniform } = rolloutRandom({ seed: 1, stage: 'test', problem: 'first token', sample: number });
    return { promptIds, maxNewTokens: 1, uniform };
  });
  const { completions, counts } = await sample(sampler.sampling, sizes, many, { temperature: 1.5, endIds: noEnd });
  assert.equal(counts.prompts, 1);
  assert.equal(counts.decoded, count);
  const drawn = completions.map(({ ids }) => ids[0]!);
  const p = chiSquarePValue(drawn, distribution(logits, 1.5, allTokens));
  assert.ok(p > 1e-3, `p = ${p}`);
  sampler.program.dispose();
}

/** 10,000 draws for each setting. A fault-free sampler fails one of these for one choice of seeds in 170. */
async function checkDraws(engineName: EngineName): Promise<void> {
  const [{ last_logits: logits }] = readFixture('qwen2-tied-f32', 'expected.json').prompts;
  const B = 500;
  const V = (logits as number[]).length;
  const settings: [temperature: number, options: DrawOptions][] = [
    [1, allTokens],
    [0.5, allTokens],
    [2, allTokens],
    [2, { greedy: false, topK: 7, topP: 1 }],
    [2, { greedy: false, topK: 0, topP: 0.6 }],
    [1.5, limited],
  ];
  const engine = await openEngine(engineName);
  const program = engine.createProgram({
    state: {},
    functions: Object.fromEntries(
      settings.map(([, options], number) => [
        `draw.${number}`,
        defineFunction({
          inputs: { logits: { dtype: 'float32', shape: [V] }, ...drawInputs(B) },
          body: (_state, inputs) => {
            const rows = tf.tile(inputs.logits.expandDims(0), [B, 1]);
            return { outputs: { ...draw(rows, inputs, options) } };
          },
        }),
      ]),
    ),
  });
  settings.forEach(([temperature, options], number) => {
    const random = keyedRandom('draws', number);
    const drawn: number[] = [];
    const whole = new Map(distribution(logits as number[], temperature, allTokens).map((each) => [each.id, each]));
    for (let run = 0; run < 20; run++) {
      const { tokens, logProbs } = program.run(`draw.${number}`, {
        logits: Float32Array.from(logits as number[]),
        uniforms: Float32Array.from({ length: B }, () => Math.floor(random.uniform() * 2 ** 24) / 2 ** 24),
        inverseTemperature: Float32Array.of(1 / temperature),
      });
      (tokens as Int32Array).forEach((id, row) => {
        const exact = Math.log(whole.get(id)?.probability ?? Number.NaN);
        const difference = Math.abs((logProbs?.[row] as number) - exact);
        assert.ok(difference < 1e-5, `log-prob of ${id} is off by ${difference}`);
        drawn.push(id);
      });
    }
    const name = `temperature ${temperature}, ${JSON.stringify(options)}`;
    const p = chiSquarePValue(drawn, distribution(logits as number[], temperature, options));
    assert.ok(p > 1e-3, `${name}: p = ${p}`);
    // The test can fail: a temperature that is off by a quarter is detected.
    const other = chiSquarePValue(drawn, distribution(logits as number[], temperature * 1.25, options));
    assert.ok(other < 1e-6, `${name}: p = ${other} for another temperature`);
  });
  program.dispose();
}

/**
 * Over Qwen2.5's vocabulary a sum and a cumulative sum round differently; whatever the draw, it must be a token that
 * has a probability. Here only the first half of the ids has any.
 */
async function checkLargeVocabulary(engineName: EngineName): Promise<void> {
  const V = 151_936;
  const uniforms = Float32Array.of(0, 1e-7, 0.25, 0.5, 0.999, 1 - 2 ** -23, 1 - 2 ** -24);
  const B = uniforms.length;
  const random = keyedRandom('large vocabulary');
  const row = Float32Array.from({ length: V }, (_, id) => (id < V / 2 ? 3 * random.normal() : -1000));
  const engine = await openEngine(engineName);
  const program = engine.createProgram({
    state: {},
    functions: {
      draw: defineFunction({
        inputs: { logits: { dtype: 'float32', shape: [V] }, ...drawInputs(B) },
        body: (_state, inputs) => {
          const rows = tf.tile(inputs.logits.expandDims(0), [B, 1]);
          return { outputs: { ...draw(rows, inputs, allTokens) } };
        },
      }),
    },
  });
  const { tokens } = program.run('draw', { logits: row, uniforms, inverseTemperature: Float32Array.of(1) });
  program.dispose();
  const exact = distribution(row, 1, allTokens).toSorted((a, b) => a.id - b.id);
  const below = new Float64Array(V + 1);
  for (const { id, probability } of exact) below[id + 1] = below[id]! + probability;
  (tokens as Int32Array).forEach((id, index) => {
    assert.ok(id < V / 2, `uniform ${uniforms[index]} drew ${id}, which has no probability`);
    // 76,000 roundings of 6e-8 each, as a random walk, stay well below 1e-4.
    const uniform = uniforms[index]!;
    const inside = below[id]! - 1e-4 <= uniform && uniform <= below[id + 1]! + 1e-4;
    assert.ok(inside, `uniform ${uniform} drew ${id}, which has ${below[id]} to ${below[id + 1]}`);
  });
}

async function checkStops(engine: EngineName): Promise<void> {
  const sampler = await fixtureSampler(engine, 'qwen2-tied-f32', small);
  const make = rollouts(sampler.config, [{ prompt: 0, length: 3, maxNewTokens: 40 }]);
  const controller = new AbortController();
  let drawn = 0;
  const stopped = sample(sampler.sampling, small, fresh(make), {
    temperature: 1,
    endIds: noEnd,
    signal: controller.signal,
    onToken: () => {
      drawn += 1;
      if (drawn === 5) controller.abort(new Error('enough'));
    },
  });
  await assert.rejects(stopped, /enough/);
  assert.equal(drawn, 5);
  // The program still works.
  const again = await sample(sampler.sampling, small, fresh(make), { temperature: 1, endIds: noEnd });
  assert.equal(again.completions[0]?.ids.length, 40);
  for (const [plan, message] of [
    [{ prompt: 0, length: 0, maxNewTokens: 1 }, /at least one token/],
    [{ prompt: 0, length: 34, maxNewTokens: 1 }, /34 tokens does not fit in 33/],
    [{ prompt: 0, length: 20, maxNewTokens: 30 }, /20 \+ 30 tokens do not fit in 48/],
    [{ prompt: 0, length: 20, maxNewTokens: 0 }, /at least 1, not 0/],
  ] as const) {
    const wrong = fresh(rollouts(sampler.config, [plan]));
    await assert.rejects(sample(sampler.sampling, small, wrong, { temperature: 1, endIds: noEnd }), message);
  }
  sampler.program.write('model.norm.weight', new Float32Array(64).fill(Number.NaN));
  await assertUserRejection(
    sample(sampler.sampling, small, fresh(make), { temperature: 1, endIds: noEnd }),
    /not finite.*weights are damaged/,
  );
  sampler.program.dispose();
}

/** If nothing can be drawn, an error says so, with every kind of limit. */
async function checkDamaged(engine: EngineName): Promise<void> {
  for (const options of [limited, greedy, { ...limited, topP: 1 }, { ...limited, topK: 0 }]) {
    const sampler = await fixtureSampler(engine, 'qwen2-tied-f32', small, options);
    sampler.program.write('model.norm.weight', new Float32Array(64).fill(Number.NaN));
    const make = rollouts(sampler.config, [{ prompt: 0, length: 4, maxNewTokens: 3 }]);
    await assertUserRejection(
      sample(sampler.sampling, small, fresh(make), { temperature: 1, endIds: noEnd }),
      /not finite.*weights are damaged/,
    );
    sampler.program.dispose();
  }
}

test('sizes hold the work and stay within bounds', () => {
  const { config, weights } = openPretrained(fixture('qwen2-tied-f32'));
  weights.close();
  for (const longest of [1, 2, 15, 16, 17, 128, 129, 130, 1000, 2048]) {
    for (const count of [1, 7, 500]) {
      const promptLengths = [1, longest];
      const sizes = samplingSizes(config, { promptLengths, rollouts: count, maxNewTokens: 100 });
      assert.ok(sizes.promptPositions >= longest - 1 && sizes.promptPositions % sizes.chunk === 0);
      assert.ok(sizes.promptPositions < longest + 128);
      assert.ok(sizes.positions >= longest + 99 && sizes.positions >= sizes.promptPositions);
      assert.ok(sizes.slots === Math.min(32, count) && sizes.admissions <= sizes.slots && sizes.prompts <= 2);
      const sharing = samplingSizes(config, { promptLengths, sharedPrefix: 20, rollouts: count, maxNewTokens: 100 });
      assert.ok(sharing.promptPositions >= longest - 1 && (sharing.promptPositions - 20) % sharing.chunk === 0);
    }
  }
});

function fresh(make: readonly (() => Rollout)[]): Rollout[] {
  return make.map((rollout) => rollout());
}

function assertSame(actual: Completion, expected: Completion, what: string): void {
  assert.deepEqual(actual.ids, expected.ids, what);
  assert.equal(actual.finishReason, expected.finishReason, what);
  assertClose(actual.logProbs, expected.logProbs, what);
}

/** Log-probs of the same function computed in another order: the fixtures' logits agree to 1e-5 or so. */
function assertClose(actual: readonly number[], expected: readonly number[], what: string): void {
  assert.equal(actual.length, expected.length, what);
  actual.forEach((value, index) => {
    const difference = Math.abs(value - expected[index]!);
    assert.ok(difference < 1e-4, `${what}: log-prob ${index} is ${value} instead of ${expected[index]}`);
  });
}
