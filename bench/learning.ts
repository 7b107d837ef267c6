/**
 * @file Does it learn? Runs the command line once for each algorithm and seed, and prints a Markdown table of the accuracies on
 * the held-out problems. `npm run bench:learning -- apo,grpo,reinforce 1,2,3,4,5 --model builtin`; arguments after the two lists
 * are passed to `train`. The last line is JSON.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TrainResult } from '../src/run/events.js';

const [algorithms = 'apo', seeds = '1,2,3,4,5', ...flags] = process.argv.slice(2);
const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

interface Row {
  readonly algorithm: string;
  readonly seed: number;
  readonly greedyBefore: number;
  readonly sampledBefore: number;
  readonly greedyAfter: number;
  readonly sampledAfter: number;
  readonly signFlipP: number;
  readonly mcnemarP: number;
  readonly formatRate: number;
  readonly truncatedRate: number;
  readonly seconds: number;
}

function run(algorithm: string, seed: number): Row {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-learning-'));
  try {
    const began = performance.now();
    const args = ['train', '--algo', algorithm, '--seed', `${seed}`, '--out', join(folder, 'run'), '--json', ...flags];
    const child = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    if (child.status !== 0) throw new Error(`${algorithm}, seed ${seed} failed (${child.status}):\n${child.stderr}`);
    const seconds = (performance.now() - began) / 1000;
    const { before, after, compare } = JSON.parse(child.stdout) as TrainResult;
    return {
      algorithm,
      seed,
      greedyBefore: before.greedy.exact.rate,
      sampledBefore: before.sampled!.exact.rate,
      greedyAfter: after.greedy.exact.rate,
      sampledAfter: after.sampled!.exact.rate,
      signFlipP: compare.sampled!.pValue,
      mcnemarP: compare.greedy.pValue,
      formatRate: after.sampled!.formatRate,
      truncatedRate: after.sampled!.truncatedRate,
      seconds,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function cells(row: Row): string[] {
  const rates = [row.greedyBefore, row.sampledBefore, row.greedyAfter, row.sampledAfter].map((rate) => rate.toFixed(3));
  const p = [row.signFlipP, row.mcnemarP].map((value) => value.toPrecision(2));
  const percent = [row.formatRate, row.truncatedRate].map((rate) => `${(100 * rate).toFixed(1)} %`);
  return [row.algorithm, `${row.seed}`, ...rates, ...p, ...percent, `${row.seconds.toFixed(1)} s`];
}

const line = (items: readonly string[]) => console.log(`| ${items.join(' | ')} |`);
const titles = ['algorithm', 'seed', 'greedy before', 'sampled before', 'greedy after', 'sampled after'];
line([...titles, 'sign-flip p', 'McNemar p', 'readable', 'cut off', 'time']);
line(Array.from({ length: 11 }, () => '---'));
const rows: Row[] = [];
for (const algorithm of algorithms.split(',')) {
  const own = seeds.split(',').map((seed) => {
    const row = run(algorithm, Number(seed));
    line(cells(row));
    return row;
  });
  rows.push(...own);
  const mean = (name: keyof Row) => own.reduce((sum, row) => sum + Number(row[name]), 0) / own.length;
  const rates = (['greedyBefore', 'sampledBefore', 'greedyAfter', 'sampledAfter'] as const).map((name) =>
    mean(name).toFixed(3),
  );
  line([algorithm, 'mean', ...rates, '', '', '', '', `${mean('seconds').toFixed(1)} s`]);
}
console.log(JSON.stringify({ cores: availableParallelism(), processor: cpus()[0]?.model, flags, rows }));
