/** SPO's tracker against the paper's formulas, by hand and as a program of its own; its draw, its state, and runs that use it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { train } from '../../src/index.js';
import { writeSafetensors } from '../../src/model/checkpoint/safetensors.js';
import { writeReport } from '../../src/report/page.js';
import { readLog } from '../../src/run/logs.js';
import { loadTracked } from '../../src/stage2/checkpoint.js';
import { spoAdvantages } from '../../src/stage2/loss.js';
import {
  divergenceOf,
  drawByWeight,
  firstBelief,
  meanOf,
  openTracker,
  priority,
  retention,
  updatedBelief,
} from '../../src/stage2/value-tracker.js';
import { keyedRandom } from '../../src/util/random.js';
import { assertUserError, assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { runBytes } from '../helpers/runs.js';
import { stopAfter } from '../helpers/stopped.js';

const near = (actual: number, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);

test('the tracker by hand', () => {
  // 3 of 8: (3 + 1/2) / 9 = 7/18, of 8 rewards.
  const belief = firstBelief([1, 0, 0, 1, 0, 0, 1, 0]);
  near(belief.alpha, (8 * 7) / 18);
  near(belief.beta, (8 * 11) / 18);
  near(meanOf(firstBelief([])), 0.5);
  // 2^(-D / 0.06) between 0.875 and 0.96.
  assert.equal(retention(0), 0.96);
  near(retention(0.006), 2 ** -0.1);
  assert.equal(retention(0.06), 0.875);
  near(divergenceOf([-1, -2, -3], [-1.5, -2, -2.9]), 0.2);
  const next = updatedBelief({ alpha: 2, beta: 6 }, 1, 0.9);
  near(next.alpha, 2.8);
  near(next.beta, 5.4);
  // The same as a moving average: v + (r - v) / (rho·N + 1).
  near(meanOf(next), 0.25 + 0.75 / (0.9 * 8 + 1));
  near(priority(0.5), 0.55);
  near(priority(1), 0.05);
  // r - v = 1/2 and -1/4: mean 1/8, deviation 3/8·√2.
  const [first, second] = spoAdvantages([1, 0], [0.5, 0.25]);
  near(first!, Math.SQRT1_2);
  near(second!, -Math.SQRT1_2);
  assert.deepEqual(spoAdvantages([1, 1], [0.5, 0.5]), [0, 0]);
  assert.deepEqual(spoAdvantages([1], [0.5]), [0]);
});

test('problems are drawn without repetition, in proportion to their weights', () => {
  const weights = new Map([
    ['a', 1],
    ['b', 2],
    ['c', 5],
  ]);
  const counts = new Map<string, number>();
  for (let draw = 0; draw < 20_000; draw++) {
    const drawn = drawByWeight([...weights.keys()], 2, (item) => weights.get(item)!, keyedRandom('draw', draw)).join(
      '',
    );
    counts.set(drawn, (counts.get(drawn) ?? 0) + 1);
  }
  // The first in proportion to its weight, the second likewise among the others. 0.012: more than three standard deviations.
  for (const [first, weight] of weights) {
    for (const [second, other] of weights) {
      const expected = first === second ? 0 : (weight / 8) * (other / (8 - weight));
      near((counts.get(first + second) ?? 0) / 20_000, expected, 0.012);
    }
  }
  assert.deepEqual(drawByWeight(['x', 'y'], 5, () => 1, keyedRandom('rounds')).toSorted().length, 5);
});

const rows = ['a', 'b', 'b', 'c', 'd'].map((id) => ({ id, cluster: id, value: id }));
const rewardsOf = (id: string) => ({ a: [1, 1, 1, 1], b: [1, 0, 1, 0], c: [0, 0, 0, 1], d: [0, 0, 0, 0] })[id]!;

/** An update of `tracker` on random completions of random problems; the log-probs of the last completions drift. */
function step(tracker: ReturnType<typeof openTracker<string>>, number: number) {
  const random = keyedRandom('updates', number);
  const visits = [0, 1, 2].map((i) => ({ problem: rows[0]!, sample: 3 * number + i, epoch: 0 }));
  const chosen = tracker.choose(visits, number);
  const rollouts = chosen.map(({ problem }) => {
    const completionIds = Array.from({ length: random.int(1, 6) }, () => random.int(0, 60));
    const drawn = () => Float32Array.from(completionIds, () => -3 * random.uniform());
    const logProbs = drawn();
    const refLogProbs = logProbs.map((logProb) => logProb + 0.02 * random.normal());
    const reward = Number(random.uniform() < 0.5);
    return { problem, promptIds: [1, 2], completionIds, logProbs, refLogProbs, score: { reward } };
  });
  const drift = 0.02 * random.uniform();
  return { rollouts, drift };
}

test('over many updates the values are those of the published program, written again', () => {
  const tracker = openTracker({ rows, rewardsOf, seed: 3 });
  const program = new Map<string, { alpha: number; beta: number; last?: { ids: number[]; logProbs: number[] } }>();
  for (const { id } of rows) {
    const successes = rewardsOf(id).reduce((sum, reward) => sum + reward, 0);
    const initial = 1 / (1 - 0.875);
    const [alpha, beta] = [(initial * (successes + 0.5)) / 5, (initial * (4 - successes + 0.5)) / 5];
    program.set(id, { alpha, beta });
  }
  let repeated = 0;
  for (let number = 1; number <= 60; number++) {
    const { rollouts, drift } = step(tracker, number);
    const distinct = [...new Set(rollouts.map(({ problem }) => problem.id))];
    const toScore = tracker.toScore(rollouts);
    const known = distinct.filter((id) => program.get(id)!.last !== undefined);
    assert.deepEqual(
      toScore.map(({ completionIds }) => completionIds),
      known.map((id) => program.get(id)!.last!.ids),
    );
    const scored = known.map((id) => program.get(id)!.last!.logProbs.map((logProb, i) => logProb + drift * (-1) ** i));
    tracker.observe(rollouts, scored);
    const seen = new Set<string>();
    for (const { problem, completionIds, logProbs, refLogProbs, score } of rollouts) {
      const entry = program.get(problem.id)!;
      // From the reference at the first visit, from the last visit later, and 0 within an update.
      const fromReference = logProbs.reduce((sum, logProb, i) => sum + Math.abs(logProb - refLogProbs[i]!), 0);
      const D = seen.has(problem.id) ? 0 : entry.last === undefined ? fromReference / logProbs.length : drift;
      if (seen.has(problem.id)) repeated++;
      const rho = Math.min(0.96, Math.max(0.875, 2 ** (-D / 0.06)));
      program.set(problem.id, {
        alpha: rho * entry.alpha + score.reward,
        beta: rho * entry.beta + (1 - score.reward),
        last: { ids: completionIds, logProbs: [...logProbs] },
      });
      seen.add(problem.id);
    }
    for (const [id, { alpha, beta }] of program) near(tracker.trackedValueOf(id), alpha / (alpha + beta), 1e-5);
  }
  assert.ok(repeated > 5, 'problem b, which has two rows, is sometimes twice in an update');
});

test('a tracker continues from its saved state as if it had not stopped; other states are refused', async (t) => {
  const tracker = openTracker({ rows, rewardsOf, seed: 3 });
  const advance = (of: typeof tracker, number: number) => {
    const { rollouts } = step(of, number);
    of.observe(
      rollouts,
      of.toScore(rollouts).map(({ completionIds }) => Array.from(completionIds, () => -1)),
    );
  };
  for (let number = 1; number <= 4; number++) advance(tracker, number);
  const saved = tracker.state();
  const again = openTracker({ rows, rewardsOf, seed: 3, saved });
  for (let number = 5; number <= 9; number++) {
    advance(tracker, number);
    advance(again, number);
  }
  assert.deepEqual(again.state(), tracker.state());

  const refused = /values in the checkpoint do not belong to this run's problems/;
  assertUserError(() => openTracker({ rows: rows.slice(0, 3), rewardsOf, seed: 3, saved }), refused);
  const tokens = saved.tokens.slice(1);
  assertUserError(() => openTracker({ rows, rewardsOf, seed: 3, saved: { ...saved, tokens } }), refused);
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'bad'));
  const write = (path: string, names: readonly string[]) =>
    writeSafetensors(
      path,
      names.map((name) => ({ name, shape: [2], dtype: 'float32' })),
      () => new Float32Array(2),
    );
  await write(join(folder, 'values.safetensors'), ['alpha', 'beta', 'lengths', 'tokens', 'logProbs']);
  assert.deepEqual(loadTracked(folder).alpha, new Float32Array(2));
  await write(join(folder, 'bad', 'values.safetensors'), ['alpha', 'beta', 'lengths', 'tokens']);
  assertUserError(() => loadTracked(join(folder, 'bad')), /logProbs differs/);
});

const here = { engine: 'wasm', install: false, seed: 4 } as const;
const sizes = { numTrain: 6, numTest: 2, numSamples: 2, evalSamples: 1, maxNewTokens: 24, batchSize: 3 } as const;
const work = {
  ...here,
  ...sizes,
  epochs: 3,
  maxSteps: 5,
  evalEvery: 0,
  saveEvery: 2,
  lr: 1e-3,
  trainOn: 'all',
} as const;

/** The logs of a finished run, and its report. */
function resultOf(folder: string) {
  const log = (name: string) => [...readLog(join(folder, name))] as Record<string, number>[];
  const page = readFileSync(writeReport({ folder }).path, 'utf8');
  return { metrics: log('metrics.jsonl'), rollouts: log('rollouts.jsonl'), page };
}

test('a stopped run of SPO ends with the bytes of an uninterrupted one', async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  assert.equal((await train({ ...work, algo: 'spo', folder: whole })).updates, 5);
  await stopAfter(3, { ...work, algo: 'spo', folder: stopped });
  assert.ok(existsSync(join(stopped, 'checkpoints/step-000003/values.safetensors')));
  await train({ folder: stopped, resume: true, engine: 'wasm', install: false });
  assert.deepEqual(runBytes(stopped), runBytes(whole));

  const { metrics, rollouts, page } = resultOf(whole);
  for (const { step: number, trackedValue, trackedRetention } of metrics) {
    const own = rollouts.filter(({ step: of }) => of === number);
    assert.equal(new Set(own.map(({ problem }) => problem)).size > 1, true);
    assert.ok(trackedValue! > 0 && trackedValue! < 1 && trackedRetention! >= 0.875 && trackedRetention! <= 0.96);
    near(
      own.reduce((sum, { advantage }) => sum + advantage!, 0),
      0,
    );
  }
  assert.match(page, /Tracked success/);
});

test('TBRM with adapters: the value of the prompts is in the log and the report', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  await train({ ...work, algo: 'tbrm', loraRank: 4, maxSteps: 2, folder });
  const { metrics, page } = resultOf(folder);
  assert.deepEqual(
    metrics.map(({ promptValue }) => Number.isFinite(promptValue)),
    [true, true],
  );
  assert.match(page, /Value of the prompts/);
});

test('options that SPO and TBRM do not support are refused by their flags', async (t) => {
  const call = { ...work, folder: join(temporaryFolder(t), 'run') };
  const refuses = (options: object, message: RegExp) => assertUserRejection(train({ ...call, ...options }), message);
  await refuses({ algo: 'spo', batchSize: 1 }, /--batch-size: SPO compares the rollouts of an update, at least 2/);
  await refuses({ algo: 'spo', curriculum: 'mixed' }, /--curriculum: SPO draws the problems of each update itself/);
  await refuses({ algo: 'tbrm', vStar: 'v.json' }, /--v-star: TBRM does not use V\*/);
  await refuses({ algo: 'tbrm', tinkerUrl: 'http://127.0.0.1:1' }, /--algo: tbrm is not available with --on tinker/);
});
