import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { consoleReporter } from '../../../src/cli/terminal/progress.js';
import { fakeStream } from '../../helpers/fake-stream.js';

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
