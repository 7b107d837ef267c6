/**
 * @file What checksums add to saving a checkpoint with the sizes of Qwen2.5-0.5B (5.9 GB: weights and moments): saves with
 * and without them in turn. `node dist/bench/save.js [--pairs 3] [--out FOLDER]`; the last line is JSON. The tensors repeat
 * a block of random numbers in memory, so nothing of the time is the engine's.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import zlib from 'node:zlib';
import { parseModelConfig } from '../src/model/network/config.js';
import { elementCount, parameterSpecs } from '../src/model/network/params.js';
import { momentSpecsOf } from '../src/policy/layout.js';
import { saveCheckpoint } from '../src/stage2/resume.js';
import { emptyChecksum } from '../src/util/checksum.js';
import { byteLevelTokenizer, qwenHalfBillion } from './checkpoints.js';
import { median, seededUniform } from './measure.js';

const { values } = parseArgs({
  options: { pairs: { type: 'string', default: '3' }, out: { type: 'string', default: tmpdir() } },
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
const crc32 = zlib.crc32;

async function save(checksums: boolean): Promise<{ seconds: number; processor: number }> {
  zlib.crc32 = checksums ? crc32 : () => 0;
  syncBuiltinESMExports();
  const checkpoint = join(folder, 'checkpoint');
  mkdirSync(checkpoint);
  const [start, used] = [performance.now(), process.cpuUsage()];
  await saveCheckpoint(
    checkpoint,
    { specs, momentSpecs, read },
    { configRecord: qwenHalfBillion, carryFrom: byteLevelTokenizer },
    { step: 1, baseline: null, sampledTokens: 0 },
    { metrics: emptyChecksum, rollouts: emptyChecksum },
  );
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(used);
  rmSync(checkpoint, { recursive: true });
  return { seconds, processor: (user + system) / 1e6 };
}

const without: number[] = [];
const withThem: number[] = [];
try {
  await save(true); // the first one takes longer, whichever it is
  for (let pair = 0; pair < Number(values.pairs); pair += 1) {
    // Each goes first in every other pair.
    for (const checksums of pair % 2 === 0 ? [false, true] : [true, false]) {
      const { seconds, processor } = await save(checksums);
      (checksums ? withThem : without).push(seconds);
      const what = checksums ? 'with checksums   ' : 'without checksums';
      console.log(`${what} ${seconds.toFixed(2)} s, processor ${processor.toFixed(2)} s`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const added = median(withThem) / median(without) - 1;
console.log(`${gigabytes.toFixed(2)} GB; checksums add ${(100 * added).toFixed(1)} % (medians)`);
console.log(JSON.stringify({ gigabytes, without, with: withThem, added }));
