/** The package root as a program uses it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEngine } from '../src/engine/backend.js';
import {
  apoLoss,
  estimateVStar,
  evaluate,
  generateProblems,
  loadModel,
  multiplicationReward,
  sample,
  score,
  sft,
  type TrainEvent,
  train,
  vStar,
} from '../src/index.js';
import { temporaryFolder } from './helpers/files.js';

test('the numbers of the README: V*, loss and reward', () => {
  // 0.1·log((e^10 + 1) / 2) = 1 - 0.1·log 2 to five digits, since e^-10 hardly counts.
  assert.equal(vStar([1, 0], 0.1).toFixed(4), '0.9307');
  assert.equal(apoLoss([{ logProb: -5, refLogProb: -5, reward: 1, vStar: 0.5 }], 1e-3), 0.25);
  assert.equal(multiplicationReward('answer: 84', 84).reward, 1);
});

test('train reports its events and returns its measurements; evaluate reproduces them', async (t) => {
  const events: TrainEvent[] = [];
  const folder = join(temporaryFolder(t), 'run');
  const common = { engine: 'wasm', install: false, numTest: 3, evalSamples: 2, maxNewTokens: 40 } as const;
  const call = { ...common, folder, numTrain: 8, epochs: 1, batchSize: 4, numSamples: 2, trainOn: 'all' as const };
  const result = await train(call, (event) => events.push(event));
  assert.equal(result.updates, 2);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['opened', 'evaluated', 'preflight', 'stage2', 'step', 'step', 'evaluated'],
  );
  const again = await evaluate({ ...common, model: join(folder, 'final') });
  assert.deepEqual(again.greedy, result.after.greedy);
  assert.deepEqual(again.sampled, result.after.sampled);
});

test('sft trains on given lines and returns the held-out loss', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const steps: number[] = [];
  const call = {
    engine: 'wasm',
    install: false,
    folder,
    data: 'examples/worked.jsonl',
    epochs: 1,
    batchSize: 9,
  } as const;
  const result = await sft(call, (event) => event.kind === 'step' && steps.push(event.metrics.step));
  assert.deepEqual(steps, [1, 2, 3]);
  assert.equal(result.updates, 3);
  assert.ok(result.after!.loss < result.before!.loss);
  assert.ok(existsSync(result.report));
});

test('an aborted run explains how to resume', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const stop = new AbortController();
  const call = { engine: 'wasm', install: false, folder, numTrain: 4, numTest: 2, evalSamples: 0 } as const;
  const run = train({ ...call, signal: stop.signal }, ({ kind }) => kind === 'evaluated' && stop.abort());
  await assert.rejects(run, /Resume with `.*train --resume/);
});

const small = { engine: 'wasm', install: false, numTrain: 4, numTest: 2, numSamples: 2, maxNewTokens: 40 } as const;

test('generateProblems gives what train draws, and estimateVStar samples each of them', async (t) => {
  const problems = await generateProblems(small);
  assert.equal(problems.rows.length, 4);
  assert.equal(problems.test.length, 2);
  const out = join(temporaryFolder(t), 'v.json');
  const file = await estimateVStar({ ...small, out });
  assert.deepEqual(
    [...file.entries.keys()],
    problems.train.map(({ id }) => id),
  );
  for (const { rewards } of file.entries.values()) assert.equal(rewards.length, 2);
  // An existing file is resumed: two samples stay, two are new.
  const more = await estimateVStar({ ...small, out, numSamples: 4 });
  for (const [id, { rewards }] of more.entries) {
    assert.equal(rewards.length, 4);
    assert.deepEqual(rewards.slice(0, 2), file.entries.get(id)?.rewards);
  }
});

test('a loaded model samples reproducibly, and scores its samples with their log-probs', async (t) => {
  const programs = t.mock.method(await openEngine('wasm'), 'createProgram').mock;
  const model = await loadModel('builtin', { engine: 'wasm', install: false });
  try {
    const prompts = ['What is 7 × 3?\n', 'What is 12 × 10?\n'];
    const call = { samples: 2, maxNewTokens: 40, seed: 3 };
    const first = await sample(model, prompts, call);
    assert.deepEqual(
      first.map((completions) => completions.length),
      [2, 2],
    );
    assert.deepEqual(await sample(model, prompts, call), first);
    assert.equal(programs.callCount(), 1, 'nothing was loaded again');
    assert.deepEqual(await sample(model, prompts.slice(1), call), first.slice(1));
    assert.notDeepEqual(await sample(model, prompts, { ...call, seed: 4 }), first);

    const inputs = first.flatMap((completions, i) =>
      completions.map(({ ids }) => ({ prompt: prompts[i]!, completion: ids })),
    );
    const scored = await score(model, inputs);
    first.flat().forEach(({ ids, logProbs }, i) => {
      assert.deepEqual(scored[i]!.completionIds, ids);
      logProbs.forEach((logProb, at) => {
        assert.ok(Math.abs(logProb - scored[i]!.logProbs[at]!) < 1e-4);
      });
    });
    await assert.rejects(sample(model, ['Was ist 7 mal 3?']), /cannot spell "W"/);
    await assert.rejects(
      score(model, [{ prompt: [1, 99], completion: '1' }]),
      /Input 1 .* 99, which is not a token id/,
    );
  } finally {
    model.close();
  }
});
