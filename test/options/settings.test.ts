import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeSettings, defaultOptions, type ModelFacts, warmupSteps } from '../../src/options/settings.js';
import { assertUserError } from '../helpers/errors.js';

const builtin: ModelFacts = { heldOut: 'tiny', hasChatTemplate: false, parameters: 413_280 };
const instruct: ModelFacts = { heldOut: undefined, hasChatTemplate: true, parameters: 135e6 };
const base: ModelFacts = { heldOut: undefined, hasChatTemplate: false, parameters: 135e6 };
const settings = (model: ModelFacts, options: Parameters<typeof defaultOptions>[0] = {}) =>
  completeSettings(defaultOptions(options), model);

test('the built-in model keeps the defaults that its card reports', () => {
  const { numTrain, epochs, batchSize, lr, temperature, maxNewTokens, reward, trainOn, curriculum } = settings(builtin);
  assert.deepEqual(
    { numTrain, epochs, batchSize, lr, temperature, maxNewTokens, reward, trainOn, curriculum },
    {
      numTrain: 500,
      epochs: 3,
      batchSize: 32,
      lr: 4e-4,
      temperature: 1,
      maxNewTokens: 48,
      reward: 'graded',
      trainOn: 'solved',
      curriculum: 'none',
    },
  );
  assert.deepEqual(settings(builtin).wordings, ['builtin']);
});

test('prompts of checkpoints follow the kind of model', () => {
  const chat = settings(instruct);
  assert.deepEqual([chat.promptStyle, chat.wordings, chat.shots], ['chat', ['number', 'steps'], 0]);
  const sentence = settings(instruct, { wording: 'sentence' });
  assert.deepEqual([sentence.shots, sentence.maxNewTokens], [2, 32]);
  const text = settings(base);
  assert.deepEqual([text.promptStyle, text.wordings, text.shots], ['raw', ['question'], 4]);
  const own = settings(instruct, { task: 'task.ts' });
  assert.deepEqual([own.wordings.length, own.maxNewTokens], [1, 256], 'another task has its own words');
  assert.deepEqual(settings(instruct, { wording: 'steps' }).wordings, ['steps'], 'what is asked for is not probed');
});

test('the learning rate of a checkpoint falls with its size', () => {
  const rates = [135e6, 0.5e9, 1.5e9, 70e9].map((parameters) => settings({ ...instruct, parameters }).lr);
  assert.deepEqual(
    rates,
    [...rates].sort((a, b) => b - a),
  );
  assert.ok(rates.every((rate) => rate >= 1e-6));
  assert.equal(settings(instruct, { lr: 1e-4 }).lr, 1e-4);
});

test('the default batch of an algorithm that compares samples of a problem has whole groups', () => {
  const batch = (model: ModelFacts, options: Parameters<typeof settings>[1]) => settings(model, options).batchSize;
  assert.equal(batch(instruct, {}), 20);
  assert.deepEqual([batch(instruct, { algo: 'oapl' }), batch(instruct, { algo: 'grpo', numSamples: 5 })], [24, 20]);
  assert.equal(batch(builtin, { algo: 'oapl' }), 32);
});

test('the warm-up is a tenth of the updates, never all of a few', () => {
  const { warmup, warmupShare } = settings(builtin);
  // Of the 45 updates of the built-in model's default run: 4.5, rounded up.
  assert.deepEqual(
    [45, 3, 1, 400].map((updates) => warmupSteps({ warmup, warmupShare }, updates)),
    [5, 1, 1, 40],
  );
  assert.equal(warmupSteps(settings(builtin, { warmup: 0 }), 45), 0);
  assert.equal(warmupSteps(settings(builtin, { preset: 'seed' }), 45), 0);
});

test('contradictions are rejected together', () => {
  assertUserError(
    () => settings(base, { algo: 'grpo', batchSize: 32, numSamples: 8, curriculum: 'mixed', questionStyle: 'chat' }),
    /--curriculum: mixed needs the pass rates of stage 1[\s\S]*--prompt-style: chat needs a model with a chat template/,
  );
});
