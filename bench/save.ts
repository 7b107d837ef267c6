/**
 * @file What checksums add to saving a checkpoint with the sizes of Qwen2.5-0.5B (5.9 GB: weights and moments): saves
 * without them, with those of the native engine and with those of zlib, and saves whose blocks are not reserved.
 * `node dist/bench/save.js [--rounds 8] [--ways none,engine] [--out FOLDER]`; `--out /dev/shm` measures without a disk, and
 * needs 7 GB of memory. The last line is JSON. The tensors repeat a block of random numbers in memory, so none of the time
 * is the engine's.
 *
 * A round saves in every way and then again in the reverse order, so that a disk that becomes slower or faster favours none. The
 * result is the median over rounds of the time against the round's own saves without checksums, with a bootstrap interval over rounds.
 */
import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { crc32 as zlibs } from 'node:zlib';
import { findInstalledEngine } from '../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../src/engine/native.js';
import { parseModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import { momentSpecsOf } from '../src/policy/layout.js';
import { saveCheckpoint } from '../src/stage2/checkpoint.js';
import { emptyChecksum, useCrc32 } from '../src/util/checksum.js';
import { useReserve } from '../src/util/large-file.js';
import { mean, quantile } from '../src/util/statistics.js';
import { byteLevelTokenizer, qwenHalfBillion } from './checkpoints.js';
import { median, seededUniform } from './measure.js';

interface Way {
  readonly crc32: Parameters<typeof useCrc32>[0];
  readonly reserve: Parameters<typeof useReserve>[0];
}

interface Save {
  readonly seconds: number;
  readonly processor: number;
  /** Seconds in which the thread that computes the checksums waited for those that write. */
  readonly idle: number;
}

const ways = allWays();
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '8' },
    ways: { type: 'string', default: Object.keys(ways).join() },
    out: { type: 'string', default: tmpdir() },
  },
});
const names = values.ways.split(',');
const specs = parameterSpecs(parseModelConfig(qwenHalfBillion, 'the benchmark'));
const momentSpecs = momentSpecsOf(specs);
const shapes = { ...specs, ...momentSpecs };
const counts = Object.values(shapes).map(elementCount);
const gigabytes = (4 * counts.reduce((sum, count) => sum + count, 0)) / 1e9;
const numbers = Float32Array.from({ length: Math.max(...counts) }, seededUniform(1));
const read = (name: string) => numbers.subarray(0, elementCount(shapes[name]!));
const folder = mkdtempSync(join(values.out, 'tinyzero-save-'));
const fields = ['seconds', 'processor', 'idle'] as const;

function allWays(): Readonly<Record<string, Way>> {
  const installed = findInstalledEngine();
  if (installed?.kernelsPath === undefined) throw new Error('`tinyzero engine install` first');
  loadBinding(installed.bindingPath);
  const { crc32, reserve = () => {} } = loadKernels(installed.kernelsPath);
  return {
    none: { crc32: () => 0, reserve },
    ...(crc32 && { engine: { crc32, reserve } }),
    zlib: { crc32: zlibs, reserve },
    unreserved: { crc32: () => 0, reserve: () => {} },
  };
}

async function save({ crc32, reserve }: Way): Promise<Save> {
  useCrc32(crc32);
  useReserve(reserve);
  const checkpoint = join(folder, 'checkpoint');
  mkdirSync(checkpoint);
  const [start, used, loop] = [performance.now(), process.cpuUsage(), performance.eventLoopUtilization()];
  await saveCheckpoint(
    checkpoint,
    { specs, saved: specs, momentSpecs, read },
    { configRecord: qwenHalfBillion, carryFrom: byteLevelTokenizer },
    { step: 1, baseline: null, sampledTokens: 0 },
    { metrics: emptyChecksum, rollouts: emptyChecksum },
  );
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(used);
  const idle = performance.eventLoopUtilization(loop).idle / 1000;
  rmSync(checkpoint, { recursive: true });
  await settle();
  return { seconds, processor: (user + system) / 1e6, idle };
}

/** Lets the disk finish with the removed files, which is no part of the next save. */
async function settle(): Promise<void> {
  const fd = openSync(folder, 'r');
  fsyncSync(fd);
  closeSync(fd);
  await setTimeout(300);
}

/** The median of `list`, and the middle 95 % of the medians of 10,000 resamples. */
function medianWithInterval(list: readonly number[]): { median: number; low: number; high: number } {
  const uniform = seededUniform(1);
  const draw = () => list[Math.floor(uniform() * list.length)]!;
  const medians = Array.from({ length: 10_000 }, () => median(list.map(draw)));
  return { median: median(list), low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

const rounds: Record<string, Save>[] = [];
try {
  await save(ways.none!); // the first one takes longer, whichever it is
  for (let index = 0; index < Number(values.rounds); index += 1) {
    const order = names.map((_, place) => names[(index + place) % names.length]!);
    const saves = new Map<string, Save[]>(names.map((name) => [name, []]));
    for (const name of [...order, ...[...order].reverse()]) saves.get(name)!.push(await save(ways[name]!));
    const round = Object.fromEntries(
      [...saves].map(([name, list]) => {
        const means = fields.map((field) => [field, mean(list.map((each) => each[field]))]);
        return [name, Object.fromEntries(means) as unknown as Save];
      }),
    );
    rounds.push(round);
    const texts = Object.entries(round).map(([name, { seconds, processor, idle }]) => {
      return `${name} ${seconds.toFixed(2)} s (processor ${processor.toFixed(2)}, idle ${idle.toFixed(2)})`;
    });
    console.log(texts.join(', '));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(
  `${gigabytes.toFixed(2)} GB; ${rounds.length} rounds of two saves each, against those of the round without checksums:`,
);
const percent = (share: number) => `${share < 0 ? '' : '+'}${(100 * share).toFixed(1)} %`;
const added = Object.fromEntries(
  names.map((name) => {
    const time = medianWithInterval(rounds.map((round) => round[name]!.seconds / round.none!.seconds - 1));
    const [seconds, processor, idle] = fields.map((field) => median(rounds.map((round) => round[name]![field])));
    console.log(
      `${name}: ${seconds!.toFixed(2)} s, ${percent(time.median)} (95 % interval ${percent(time.low)} to ${percent(time.high)}); ` +
        `processor ${processor!.toFixed(2)} s, idle ${idle!.toFixed(2)} s`,
    );
    return [name, { ...time, seconds, processor, idle }];
  }),
);
console.log(JSON.stringify({ gigabytes, rounds, added }));
