import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { consoleReporter, timeLeft } from '../../../src/cli/terminal/progress.js';
import { fakeStream } from '../../helpers/fake-stream.js';
import { readFixture } from '../../helpers/files.js';

test('a terminal: a bar with the time left and lines below it, from two seconds on; all gone at the end', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const clock = t.mock.method(performance, 'now', () => ms);
  let ms = 0;
  const { stream, written } = fakeStream({ isTTY: true });
  const work = consoleReporter({}, stream).work('Evaluating', 'completions');
  for (let done = 0; done <= 4; done += 1) {
    ms = 450 * done;
    work.update({ done, total: 10, details: () => assert.fail('not shown yet') });
  }
  assert.equal(written(), '', 'work of less than two seconds leaves no trace');
  ms = 2250;
  work.update({ done: 5, total: 10, after: 30, details: (width) => [`at most ${width}`] });
  const shown = stripVTControlCharacters(written());
  assert.match(shown, /Evaluating █{12}░{12} 5 of 10 completions, 32 s left/);
  assert.match(shown, /at most 79/);
  const before = written().length;
  work.update({ done: 6, total: 10 });
  assert.equal(written().length, before, 'not drawn again within a moment');
  work.end();
  assert.ok(written().endsWith('\x1b[0J') || written().endsWith('\x1b[J'), JSON.stringify(written().slice(-40)));
  assert.ok(written().includes('\x1b[?25h'), 'the cursor is back');
  assert.ok(clock.mock.callCount() > 0);
});

test('a line replaces the bar, wrapped between words to fit the terminal', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let ms = 0;
  t.mock.method(performance, 'now', () => ms);
  const { stream, written } = fakeStream({ isTTY: true, columns: 30 });
  const reporter = consoleReporter({}, stream);
  const work = reporter.work('Stage 1', 'completions');
  ms = 3000;
  work.update({ done: 1, total: 2 });
  const bar = written().length;
  reporter.line('  one two three four five six seven');
  assert.equal(stripVTControlCharacters(written().slice(bar)), '  one two three four five\n      six seven\n');
  work.end();
});

test('a log: the note of the work with the time left, or a line after a pause', (t) => {
  let ms = 0;
  t.mock.method(performance, 'now', () => ms);
  const { stream, written } = fakeStream();
  const reporter = consoleReporter({}, stream);
  const work = reporter.work('Evaluating', 'completions');
  for (let done = 0; done <= 10; done += 1) {
    ms = 1000 * done;
    work.update({ done, total: 10, ...(done === 7 && { note: 'Seven' }) });
  }
  work.end();
  assert.equal(written(), 'Evaluating: 5 of 10 completions, 5 s left\nSeven, 3 s left\n');
  reporter.line('one line, however long it is, stays one line in a log, where something else may read it');
  assert.equal(written().split('\n').length, 4);
});

test('bytes are shown as bytes', (t) => {
  let ms = 0;
  t.mock.method(performance, 'now', () => ms);
  const { stream, written } = fakeStream();
  const work = consoleReporter({}, stream).work('Loading the model', 'bytes');
  for (let done = 0; done <= 6; done += 1) {
    ms = 1000 * done;
    work.update({ done: done * 1e8, total: 1e9 });
  }
  assert.equal(written(), 'Loading the model: 500 MB of 1.0 GB, 5 s left\n');
});

test('quiet: no output', () => {
  const { stream, written } = fakeStream({ isTTY: true });
  const reporter = consoleReporter({ quiet: true }, stream);
  reporter.line('line');
  reporter.transfer('Downloading', 100).end();
  reporter.work('Evaluating', 'completions').end();
  assert.equal(written(), '');
});

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
