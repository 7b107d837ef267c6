/**
 * @file Compares tinyzero with PyTorch: each side in its own process, in alternating order, medians with spread.
 * `npm run bench` runs tinyzero only, `npm run bench:peers` all sides (`-- --install` first installs their Python),
 * `npm run bench:real -- FOLDER` the cases of a model folder against the peers. Fails if the sides did different work. The last line is JSON. See docs/benchmarks.md.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openEngine } from '../src/engine/backend.js';
import { benchCases, type Case, makeModels } from './cases.js';
import { type JobResult, phaseNames, type WholeJob } from './jobs.js';
import type { Part, PartResult } from './parts.js';
import { installPeers, peerEnvironment, peerVersions, warmPeers } from './python.js';
import { runSide, type SideRun } from './side.js';
import { jobFaults, jobFigures, partFaults, partFigures, type RoundFigures, ratios, spreads } from './summary.js';
import { table } from './table.js';

const { values: flags } = parseArgs({
  options: {
    peers: { type: 'boolean', default: false },
    install: { type: 'boolean', default: false },
    only: { type: 'string' },
    model: { type: 'string' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    cores: { type: 'string', default: String(availableParallelism()) },
    'wait-policy': { type: 'string', default: 'PASSIVE' },
    problems: { type: 'string', default: '500' },
    'plain-problems': { type: 'string', default: '20' },
  },
});
const cores = count('cores');
const rounds = count('rounds');
const waitPolicy = flags['wait-policy'];

if (flags.install) installPeers();
if (flags.keep !== undefined) mkdirSync(flags.keep, { recursive: true });
const scratch = mkdtempSync(join(tmpdir(), 'tinyzero-bench-'));
try {
  await main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** @throws for anything but a positive integer. */
function count(name: 'cores' | 'rounds' | 'problems' | 'plain-problems' | 'seed'): number {
  const value = Number(flags[name]);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new Error(`--${name}: expected a number from 1 up, found ${flags[name]}`);
}

async function main(): Promise<void> {
  const options = {
    problems: count('problems'),
    plainProblems: count('plain-problems'),
    models: join(scratch, 'models'),
    model: flags.model,
    seed: count('seed'),
  };
  const all = await benchCases(options, flags.peers);
  const cases = all.filter(({ name, large }) =>
    flags.only === undefined ? flags.peers || !large : name.includes(flags.only),
  );
  if (cases.length === 0) {
    throw new Error(`--only: no case ${flags.only}; known: ${all.map(({ name }) => name).join(', ')}`);
  }
  if (flags.peers) warmPeers();
  await makeModels(cases, options.models);
  const results: Record<string, unknown> = {};
  for (const each of cases) {
    results[each.name] = each.kind === 'job' ? await compareJobs(each) : await compareParts(each);
  }
  // Opened after the measurements, so that its threads do not disturb them.
  const { instructions } = await openEngine('tensorflow');
  console.log(`\nInstruction set: ${instructions ?? "TensorFlow's own choice"}`);
  const machine = { processor: cpus()[0]?.model, instructions, coresThere: cpus().length, node: process.version };
  const { problems, plainProblems } = options;
  const settings = {
    cores,
    rounds,
    waitPolicy,
    problems,
    plainProblems,
    ...(flags.peers && { peers: peerVersions() }),
  };
  console.log(JSON.stringify({ ...machine, settings, results }, shortened));
}

/** Rounds to five digits, more than any of these figures is accurate to. */
function shortened(_: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value;
}

async function compareJobs(each: Case) {
  const { newTokens, endIds } = each.sides[0]!.input('') as WholeJob;
  const isForced = endIds.length === 0;
  const runs = await runAll<JobResult>(each);
  requireSameWork(each, jobFaults(runs, newTokens, isForced));
  const like = Object.values(runs)[0]?.[0]?.result as JobResult;
  const figures = Object.entries(runs).map(([side, all]) => {
    const { sequences, tokens, updates } = all[0]!.result;
    return { side, rounds: all.map((run) => jobFigures(run, like)), work: { sequences, tokens, updates } };
  });
  const columns = [
    'seconds',
    'ratio',
    ...phaseNames,
    'firstToken',
    'msPerSequence',
    'cpuSeconds',
    'peakMegabytes',
    'anonMegabytes',
  ];
  const rewards = ['greedyBefore', 'sampledBefore', 'greedyAfter', 'sampledAfter'];
  return report(each, figures, isForced ? columns : [...columns, ...rewards]);
}

async function compareParts(each: Case) {
  const { rows, promptTokens, newTokens, kind } = each.sides[0]!.input('') as Part;
  const tokens = rows * (kind === 'sample' ? newTokens : promptTokens + newTokens);
  const runs = await runAll<PartResult>(each);
  requireSameWork(each, partFaults(runs));
  const figures = Object.entries(runs).map(([side, all]) => ({
    side,
    rounds: all.map((run) => partFigures(run, tokens)),
    work: all[0]?.result.values,
  }));
  return report(each, figures, [
    'seconds',
    'ratio',
    'tokensPerSecond',
    'load',
    'first',
    'cpuSeconds',
    'peakMegabytes',
    'anonMegabytes',
  ]);
}

function requireSameWork({ name }: Case, faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${name}: the sides did not do the same work\n${faults.join('\n')}`);
}

interface SideFigures {
  readonly side: string;
  readonly rounds: readonly RoundFigures[];
  /** The configuration, for the record. */
  readonly work: unknown;
}

/** Prints a table, and returns the same as a record. */
function report({ name }: Case, figures: readonly SideFigures[], columns: readonly string[]) {
  const secondsOf = ({ rounds: all }: SideFigures) => all.map(({ seconds }) => seconds);
  const first = secondsOf(figures[0]!);
  const sides = Object.fromEntries(
    figures.map((one) => [one.side, { ...spreads(one.rounds), ratio: ratios(first, secondsOf(one)), work: one.work }]),
  );
  console.log(`\n${name}\n${table(sides, columns)}`);
  return sides;
}

/** Runs every side once per round, in alternating order. */
async function runAll<Result>({ name, sides, rounds: own }: Case): Promise<Record<string, SideRun<Result>[]>> {
  const runs: Record<string, SideRun<Result>[]> = Object.fromEntries(sides.map((side) => [side.name, []]));
  const times = Math.min(rounds, own ?? rounds);
  const env = (folder: string) => peerEnvironment({ threads: cores, waitPolicy, folder });
  for (let round = 0; round < times; round++) {
    for (const side of round % 2 === 0 ? sides : [...sides].reverse()) {
      // A folder for each round, since no side writes to one that exists.
      const kept = flags.keep && join(flags.keep, `${side.name.replaceAll(' ', '-')}-${round + 1}`);
      const input = (out: string) => side.input(kept ?? out);
      const run = await runSide<Result>(side.command, input, { cores, env });
      runs[side.name]?.push(run);
      const place = `round ${round + 1} of ${times}`;
      console.error(`${name}, ${place}: ${side.name} ${run.seconds.toFixed(1)} s (machine load ${run.load})`);
    }
  }
  return runs;
}
