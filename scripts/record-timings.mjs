// Records the progress of a run over time: `node scripts/record-timings.mjs [OPTIONS-AS-JSON] > run.json`. Prints an entry for
// test/fixtures/timings.json: milliseconds, with the work done at that time and the total.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { train } from '../dist/src/index.js';

const options = JSON.parse(process.argv[2] ?? '{}');
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-timings-'));
const start = performance.now();
const works = [];
const note = (points, done, total) => {
  const ms = Math.round(performance.now() - start);
  // Completions end in bursts; of those within a few milliseconds, keep only the last.
  if (points.length > 1 && ms - points.at(-1)[0] < 10) points.pop();
  points.push([ms, Number(done.toPrecision(6)), Number(total.toPrecision(6))]);
};
const counting = (title) => {
  const work = { title, points: [] };
  works.push(work);
  return {
    update: ({ done, total, effort = { done, total } }) => note(work.points, effort.done, effort.total),
    hide: () => {},
    end: () => {},
  };
};
const transfer = () => ({ update: () => {}, end: () => {} });
let stage2;
await train({ ...options, folder, reporter: { line: () => {}, transfer, work: counting } }, (event) => {
  if (event.kind === 'stage2') {
    stage2 = counting('Stage 2');
    stage2.update({ done: 0, total: event.updates });
  }
  if (event.kind === 'step') stage2.update({ done: event.metrics.step, total: event.updates });
});
rmSync(folder, { recursive: true });
const endMs = Math.round(performance.now() - start);
console.log(JSON.stringify({ options, node: process.version, cores: availableParallelism(), endMs, works }));
