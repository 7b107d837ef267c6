/**
 * @file The speedrun: seconds from the start of a process until the built-in model answers 90 % of the samples on held-out
 * problems correctly. Runs every entry once with each seed, in alternation, and ranks them (docs/speedrun.md has the rules).
 *
 *     npm run speedrun                                   # all entries, seeds 1..5; --install sets up the Python of the peers first
 *     npm run speedrun -- --only tinyzero --seeds 1,2
 *
 * Linux only. The table is printed at the end; the last line is JSON.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSeeds } from '../../src/options/spec.js';
import { builtin, naturalJob } from '../jobs.js';
import { installPeers, peerEnvironment, pythonOfPeers, warmPeers } from '../python.js';
import { type Entry, filled, readEntries, root } from './entries.js';
import { type Attempt, goal, rank, rankingTable, reachedGoal } from './ranking.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1..5' },
    only: { type: 'string', default: '' },
    install: { type: 'boolean', default: false },
    cores: { type: 'string', default: '2' },
    'wait-policy': { type: 'string', default: 'ACTIVE' },
  },
});
const cores = Number(values.cores);
const seeds = parseSeeds(values.seeds);
if (typeof seeds === 'string') throw new Error(`--seeds: ${seeds}`);
const entries = readEntries().filter(({ name }) => name.includes(values.only));
if (entries.length === 0) throw new Error(`--only: no entry ${values.only}`);
if (values.install) installPeers();
if (entries.some(({ command }) => command.includes('{python}'))) warmPeers();

/** Longest run. An entry that takes longer has not reached the goal. */
const limitSeconds = 900;
const cli = join(root, 'dist', 'src', 'cli.js');
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-speedrun-'));
const attempts: Attempt[] = [];
try {
  for (const [round, seed] of seeds.entries()) {
    // A different entry starts each round, so that no entry always runs after the same one.
    const order = entries.map((_, i) => entries[(i + round) % entries.length]!);
    for (const entry of order) {
      const attempt = judged(entry, seed);
      attempts.push(attempt);
      const { seconds, accuracy, pValue } = attempt;
      const verdict = reachedGoal(attempt) ? '' : ', not reached';
      console.error(
        `seed ${seed}, ${entry.title}: ${seconds.toFixed(2)} s, ${(100 * accuracy).toFixed(1)} %, p = ${pValue.toPrecision(2)}${verdict}`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const ranked = rank(attempts);
console.log(rankingTable(ranked, new Map(entries.map(({ name, title }) => [name, title]))));
const machine = { processor: cpus()[0]?.model, cores, waitPolicy: values['wait-policy'], node: process.version };
console.log(JSON.stringify({ goal, ...machine, ranked }));

/** Runs an entry and lets the referee judge the weights that it wrote. */
function judged(entry: Entry, seed: number): Attempt {
  const own = join(folder, `${entry.name}-${seed}`);
  const out = join(own, 'out');
  mkdirSync(out, { recursive: true });
  const job = join(own, 'job.json');
  // As many rollouts as tinyzero's defaults. Entries do not receive the held-out problems.
  const given = { ...naturalJob(join(out, 'model')), samples: 8, epochs: 15, heldOut: [], seed };
  writeFileSync(job, JSON.stringify(given));
  const command = filled(entry, { node: process.execPath, python: pythonOfPeers, root, job, seed: String(seed), out });
  const pinned = cores < cpus().length ? ['taskset', '-c', `0-${cores - 1}`, ...command] : command;
  const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
  const environment = peerEnvironment({ threads: cores, waitPolicy: values['wait-policy'], folder: own });
  const began = Date.now();
  const { status, signal } = spawnSync(pinned[0]!, pinned.slice(1), {
    cwd: own,
    env: { ...process.env, ...environment, BENCH_STARTED: String(began / 1000) },
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 1000 * limitSeconds,
    killSignal: 'SIGKILL',
  });
  const seconds = (Date.now() - began) / 1000;
  if (status !== 0 && seconds < limitSeconds) throw new Error(`entry ${entry.name} failed (${signal ?? status})`);
  const weights = join(out, entry.weights);
  const result = existsSync(weights) ? refereed(own, weights, seed) : { accuracy: 0, pValue: 1 };
  rmSync(own, { recursive: true, force: true });
  return { entry: entry.name, seed, seconds, load, ...result };
}

/** Only the weights are the entry's: config, tokenizer, problems, reward and sampling are the built-in model's. */
function refereed(own: string, weights: string, seed: number): Pick<Attempt, 'accuracy' | 'pValue'> {
  const model = join(own, 'judged');
  mkdirSync(model);
  for (const file of readdirSync(builtin.folder).filter((name) => name.endsWith('.json'))) {
    copyFileSync(join(builtin.folder, file), join(model, file));
  }
  copyFileSync(weights, join(model, 'model.safetensors'));
  const args = ['eval', '--model', model, '--compare', 'builtin', '--seed', String(1000 + seed), '--json', '--quiet'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`the referee cannot evaluate ${weights}:\n${stderr}`);
  const { sampled, compare } = JSON.parse(stdout.trim().split('\n').at(-1)!) as {
    sampled: { exact: { rate: number } };
    compare: { sampled: { pValue: number } };
  };
  return { accuracy: sampled.exact.rate, pValue: compare.sampled.pValue };
}
