import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timeLeft } from '../../../src/cli/terminal/time-left.js';
import { readFixture } from '../../helpers/files.js';

function withClock() {
  let ms = 0;
  const left = timeLeft(() => ms);
  /** The estimate when `done` of `total` is reached at this time. */
  const at = (time: number, done: number, total: number) => {
    ms = time;
    left.reached(done, total);
    return left.seconds();
  };
  const wait = (time: number) => {
    ms = time;
    return left.seconds();
  };
  return { at, wait };
}

test('a steady pace is predicted exactly, and nothing is predicted from less than a twentieth', () => {
  const { at } = withClock();
  for (let step = 0; step <= 100; step += 1) {
    assert.equal(at(300 * step, step, 100), step < 5 ? undefined : (300 * (100 - step)) / 1000);
  }
});

test('a slow first step is forgotten when four are done', () => {
  const { at } = withClock();
  at(0, 0, 40);
  for (let step = 1; step <= 40; step += 1) {
    const seconds = at(9000 + 1000 * step, step, 40);
    if (step >= 4) assert.equal(seconds, 40 - step);
  }
});

test("for resumed work, the prediction uses only this process's progress", () => {
  const { at } = withClock();
  assert.equal(at(0, 50, 100), undefined);
  assert.equal(at(2000, 52, 100), undefined, 'two of fifty');
  assert.equal(at(10_000, 60, 100), 40);
});

test('between two points the time left decreases, but by at most one interval', () => {
  const { at, wait } = withClock();
  for (let step = 0; step <= 10; step += 1) at(1000 * step, step, 20);
  assert.equal(wait(10_000), 10);
  assert.equal(wait(10_400), 9.6);
  assert.equal(wait(19_000), 9);
});

test('progress at one moment is one point', () => {
  const { at } = withClock();
  at(0, 0, 100);
  // Four bursts of ten completions a second apart: 60 more take six seconds.
  for (let burst = 1; burst <= 4; burst += 1) {
    for (let i = 1; i <= 10; i += 1) at(1000 * burst + i, 10 * burst - 10 + i, 100);
  }
  assert.ok(Math.abs(at(4010, 40, 100)! - 6) < 0.05);
});

interface Recording {
  readonly options: Record<string, unknown>;
  readonly endMs: number;
  readonly works: { title: string; points: [ms: number, done: number, total: number][] }[];
}

/** Honest: within this factor of the truth after the first tenth, or off by about a second, which is all that is shown. */
const factor = 1.5;
const seconds = 1;
/** Work of less than this is not shown. */
const quietMs = 2000;

test('in real runs the time left is honest, that of each part and that of the run with its last evaluation', () => {
  let checked = 0;
  const check = (what: string, left: number, truth: number) => {
    checked += 1;
    const honest = left <= factor * truth && truth <= factor * left;
    assert.ok(honest || Math.abs(left - truth) <= seconds, `${what}: ${left.toFixed(1)} s for ${truth.toFixed(1)} s`);
  };
  const recordings = readFixture('timings.json') as Recording[];
  assert.ok(recordings.length >= 3);
  for (const { options, endMs, works } of recordings) {
    const before = works.find(({ title }) => title === 'Evaluating')!;
    const evaluationMs = before.points.at(-1)![0] - before.points[0]![0];
    for (const { title, points } of works) {
      const { at } = withClock();
      const [begin, end] = [points[0]!, points.at(-1)!];
      for (const [ms, done, total] of points) {
        const left = at(ms, done, total);
        const early = (done - begin[1]) / (end[1] - begin[1]) < 0.1 || (title !== 'Stage 2' && ms - begin[0] < quietMs);
        if (early || ms === end[0]) continue;
        const what = `${JSON.stringify(options)}, ${title} at ${done} of ${total}`;
        assert.ok(left !== undefined, what);
        check(what, left, (end[0] - ms) / 1000);
        if (title === 'Stage 2') check(`${what}, the run`, left + evaluationMs / 1000, (endMs - ms) / 1000);
      }
    }
  }
  assert.ok(checked > 250, `${checked}`);
});
