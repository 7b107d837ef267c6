/**
 * @file What checksums add to saving a checkpoint with the sizes of Qwen2.5-0.5B (5.9 GB: weights and moments): saves without
 * them, with those of the native engine and with those of zlib, in turn, and once more without, which shows the noise.
 * `node dist/bench/save.js [--rounds 3] [--out FOLDER]`; `--out /dev/shm` measures without a disk, and needs 7 GB of memory.
 * The last line is JSON. The tensors repeat a block of random numbers in memory, so nothing of the time is the engine's.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { crc32 as zlibs } from 'node:zlib';
import { findInstalledEngine } from '../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../src/engine/native.js';
import { parseModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import { momentSpecsOf } from '../src/policy/layout.js';
import { saveCheckpoint } from '../src/stage2/checkpoint.js';
import { emptyChecksum, useCrc32 } from '../src/util/checksum.js';
import { byteLevelTokenizer, qwenHalfBillion } from './checkpoints.js';
import { median, seededUniform } from './measure.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, out: { type: 'string', default: tmpdir() } },
});
const specs = parameterSpecs(parseModelConfig(qwenHalfBillion, 'the benchmark'));
const momentSpecs = momentSpecsOf(specs);
const shapes = { ...specs, ...momentSpecs };
const counts = Object.values(shapes).map(elementCount);
const gigabytes = (4 * counts.reduce((sum, count) => sum + count, 0)) / 1e9;
const uniform = seededUniform(1);
const numbers = Float32Array.from({ length: Math.max(...counts) }, uniform);
const read = (name: string) => numbers.subarray(0, elementCount(shapes[name]!));
const folder = mkdtempSync(join(values.out, 'tinyzero-save-'));

type Crc32 = Parameters<typeof useCrc32>[0];
interface Save {
  readonly seconds: number;
  readonly processor: number;
  /** Seconds in which the thread that computes the checksums waited for those that write. */
  readonly idle: number;
}

async function save(crc32: Crc32): Promise<Save> {
  useCrc32(crc32);
  const checkpoint = join(folder, 'checkpoint');
  mkdirSync(checkpoint);
  const [start, used, loop] = [performance.now(), process.cpuUsage(), performance.eventLoopUtilization()];
  await saveCheckpoint(
    checkpoint,
    { specs, momentSpecs, read },
    { configRecord: qwenHalfBillion, carryFrom: byteLevelTokenizer },
    { step: 1, baseline: null, sampledTokens: 0 },
    { metrics: emptyChecksum, rollouts: emptyChecksum },
  );
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(used);
  const idle = performance.eventLoopUtilization(loop).idle / 1000;
  rmSync(checkpoint, { recursive: true });
  return { seconds, processor: (user + system) / 1e6, idle };
}

function enginesCrc32(): Crc32 | undefined {
  const installed = findInstalledEngine();
  if (installed?.kernelsPath === undefined) return undefined;
  loadBinding(installed.bindingPath);
  return loadKernels(installed.kernelsPath).crc32;
}

const none: Crc32 = () => 0;
const engines = enginesCrc32();
const ways: Readonly<Record<string, Crc32>> = {
  none,
  ...(engines && { engine: engines }),
  zlib: zlibs,
  'none again': none,
};
const names = Object.keys(ways);
const saves = Object.fromEntries(names.map((name) => [name, [] as Save[]]));
try {
  await save(none); // the first one takes longer, whichever it is
  for (let round = 0; round < Number(values.rounds); round += 1) {
    // Each goes first in turn.
    for (let place = 0; place < names.length; place += 1) {
      const name = names[(round + place) % names.length]!;
      saves[name]!.push(await save(ways[name]!));
    }
    const times = names.map((name) => {
      const { seconds, processor, idle } = saves[name]!.at(-1)!;
      return `${name} ${seconds.toFixed(2)} s (processor ${processor.toFixed(2)}, idle ${idle.toFixed(2)})`;
    });
    console.log(times.join(', '));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${gigabytes.toFixed(2)} GB; ${values.rounds} rounds, against all saves without checksums:`);
const without = [...saves.none!, ...saves['none again']!];
const field = (list: readonly Save[], name: keyof Save) => list.map((each) => each[name]);
const added = Object.fromEntries(
  names.map((name) => {
    const of = (summary: (list: readonly number[]) => number) =>
      summary(field(saves[name]!, 'seconds')) / summary(field(without, 'seconds')) - 1;
    const processor = median(field(saves[name]!, 'processor')) - median(field(without, 'processor'));
    const idle = median(field(saves[name]!, 'idle'));
    return [name, { median: of(median), least: of((list) => Math.min(...list)), processor, idle }];
  }),
);
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
for (const [name, { median: middle, least, processor, idle }] of Object.entries(added)) {
  const time = `median ${percent(middle)}, least ${percent(least)} of the time`;
  console.log(`${name}: ${time}, ${processor.toFixed(2)} s of processor time, idle ${idle.toFixed(2)} s`);
}
console.log(JSON.stringify({ gigabytes, saves, added }));
