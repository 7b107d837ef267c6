/** The package root as a program uses it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { apoLoss, evaluate, multiplicationReward, type TrainEvent, train, vStar } from '../src/index.js';
import { temporaryFolder } from './helpers/files.js';

test('the numbers of the README: V*, loss and reward', () => {
  // 0.1·log((e^10 + 1) / 2) = 1 - 0.1·log 2 to five digits, since e^-10 hardly counts.
  assert.equal(vStar([1, 0], 0.1).toFixed(4), '0.9307');
  assert.equal(apoLoss([{ logProb: -5, refLogProb: -5, reward: 1, vStar: 0.5 }], 1e-3), 0.25);
  assert.equal(multiplicationReward('answer: 84', 84).reward, 1);
});

test('train tells what happens and returns what was measured; evaluate measures the same again', async (t) => {
  const events: TrainEvent[] = [];
  const folder = join(temporaryFolder(t), 'run');
  const common = { engine: 'wasm', install: false, numTest: 3, evalSamples: 2, maxNewTokens: 40 } as const;
  const call = { ...common, folder, numTrain: 8, epochs: 1, batchSize: 4, numSamples: 2, keepUnsolved: true };
  const result = await train(call, (event) => events.push(event));
  assert.equal(result.updates, 2);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['opened', 'evaluated', 'stage1', 'preflight', 'step', 'step', 'evaluated'],
  );
  const again = await evaluate({ ...common, model: join(folder, 'final') });
  assert.deepEqual(again.greedy, result.after.greedy);
  assert.deepEqual(again.sampled, result.after.sampled);
});

test('an aborted run says how to go on', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const stop = new AbortController();
  const call = { engine: 'wasm', install: false, folder, numTrain: 4, numTest: 2, evalSamples: 0 } as const;
  const run = train({ ...call, signal: stop.signal }, ({ kind }) => kind === 'evaluated' && stop.abort());
  await assert.rejects(run, /Continue with `tinyzero train --resume/);
});
