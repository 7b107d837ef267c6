/**
 * @file The picture of how our cost grows, drawn from a record worked by hand, and that only such a record is drawn.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseHTML } from 'linkedom';
import { scalingPlot } from '../../bench/scaling-plot.js';
import { readRecord, type ScalingPoint, type ScalingRecord } from '../../bench/scaling-record.js';
import { assertUserError } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';

/** A job of 10 s in the base: 1 to load, 4 in stage 1, 3 in stage 2, 1 for each evaluation. */
function point(axis: ScalingPoint['axis'], factor: number, stage1 = 4, stage2 = 3): ScalingPoint {
  const phases = { load: 1, evalBefore: 1, stage1, stage2, evalAfter: 1, save: 0 };
  const seconds = Object.values(phases).reduce((sum, value) => sum + value);
  const parameters = axis === 'parameters' ? factor * 500_000 : 500_000;
  return { axis, factor, parameters, seconds, phases, cpuSeconds: 2 * seconds, peakMegabytes: 300 + factor };
}

const record: ScalingRecord = {
  processor: 'Test <CPU> & Co',
  cores: 2,
  rounds: 3,
  base: { problems: 125, samples: 8, epochs: 3, evalSamples: 64, newTokens: 32 },
  points: [
    point('base', 1),
    // The total doubles as the problems do; samples are of stage 1 alone.
    ...[point('problems', 2, 10, 7), point('problems', 4, 22, 15)],
    ...[point('samples', 2, 8), point('samples', 4, 16)],
    ...[point('newTokens', 2, 6, 5), point('newTokens', 4, 9, 8)],
    ...[point('parameters', 4, 12, 9), point('parameters', 16, 40, 30)],
  ],
};

const { document } = parseHTML(scalingPlot(record));
const panel = (description: string) => document.querySelector(`[aria-label^="${description}"]`)!;
/** Pixels of each line: those of linear growth, the total, stage 1, stage 2, both evaluations. */
const linesOf = (title: string) =>
  [...panel(`${title}, seconds`).querySelectorAll('[data-mark="line"] path')].map((path) =>
    [...path.getAttribute('d')!.matchAll(/([\d.]+),([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const),
  );

test('a panel for each thing that grows, a line for each phase and one of linear growth, a bar for each memory', () => {
  const titles = ['Problems', 'Samples per problem', 'Tokens per completion', 'Parameters'];
  const headings = [...document.querySelectorAll('.heading')].map(({ textContent }) => textContent);
  assert.deepEqual(
    headings.filter((heading) => titles.includes(heading!)),
    titles,
  );
  for (const title of titles) {
    assert.deepEqual(
      linesOf(title).map((line) => line.length),
      [3, 3, 3, 3, 3],
    );
    assert.equal(panel(`${title}, peak`).querySelectorAll('[data-mark="rule"] line').length, 3);
  }
  assert.match(panel('Parameters, peak').outerHTML, />×16<.*>8M<.*>316</s);
  assert.match(panel('Problems, seconds').getAttribute('aria-label')!, /×1 10, ×2 20, ×4 40$/);
});

test('proportional growth is drawn on the line of linear growth, constant cost is level', () => {
  const [linear, total] = linesOf('Problems');
  assert.deepEqual(total, linear);
  const [, , stage1, stage2, evaluations] = linesOf('Samples per problem');
  for (const level of [stage2, evaluations]) assert.equal(new Set(level!.map(([, y]) => y)).size, 1);
  // Twice the time is as high everywhere, and so is a doubling wide: stage 1 doubles with the samples.
  const rise = (line: typeof stage1) => line![0]![1] - line!.at(-1)![1];
  const run = (line: typeof stage1) => line!.at(-1)![0] - line![0]![0];
  const slope = (line: typeof stage1) => rise(line) / run(line);
  assert.ok(Math.abs(slope(stage1) - slope(linear)) < 1e-3);
  assert.ok(Math.abs(slope(linesOf('Parameters')[0]) - slope(linear)) < 1e-3);
  assert.equal(run(linesOf('Parameters')[0]), 2 * run(linear));
});

test('the machine is named, whatever characters its name contains', () => {
  assert.match(scalingPlot(record), />Test &lt;CPU&gt; &amp; Co, 2 cores, medians of 3 runs</);
  assert.match(scalingPlot({ ...record, processor: undefined, rounds: 1 }), />2 cores, medians of 1 run</);
});

test('the saved output of a run is read back by its last line; anything else is rejected', (t) => {
  const path = join(temporaryFolder(t), 'scaling.txt');
  writeFileSync(path, `      load  evalBefore\nbase x1   1.00 (x1.00)\n${JSON.stringify(record)}\n`);
  assert.deepEqual(readRecord(path), record);
  writeFileSync(path, 'base x1   1.00 (x1.00)\n');
  assertUserError(() => readRecord(path), /last line of .*scaling\.txt is not valid JSON/, /npm run bench:scaling/);
  writeFileSync(path, JSON.stringify({ settings: {}, results: {} }));
  assertUserError(() => readRecord(path), /has no points/, /the base first/, /settings, results/);
});
