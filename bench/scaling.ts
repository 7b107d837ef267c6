/**
 * @file How time and memory of tinyzero grow with the work: two and four times the problems, samples or tokens, four and sixteen
 * times the parameters, one at a time from a base. `npm run bench:scaling`; the last line is JSON with a record per point.
 * `-- --plot FILE` draws it as SVG; `--from FILE` uses the saved output of a run instead of measuring.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parameterCount } from '../src/model/network/params.js';
import { heldOutField } from '../src/model/shipped.js';
import { builtinArchitecture } from '../src/pretrain/builtin.js';
import { writeFileAtomic } from '../src/util/file.js';
import { qwen2Config, qwen2Record, saveRandomModel } from './checkpoints.js';
import { builtin, forcedJob, type JobResult, type JobSize, phaseNames, type WholeJob } from './jobs.js';
import { median } from './measure.js';
import { scalingPlot } from './scaling-plot.js';
import { readRecord, type ScalingPoint, type ScalingRecord } from './scaling-record.js';
import { runSide, type SideRun } from './side.js';

const base: JobSize = { problems: 125, samples: 8, epochs: 3, evalSamples: 64, newTokens: 32 };
const rounds = 3;

const { values: flags } = parseArgs({ options: { plot: { type: 'string' }, from: { type: 'string' } } });
const script = fileURLToPath(new URL('./whole-job.js', import.meta.url));

interface Point extends Pick<ScalingPoint, 'axis' | 'factor'> {
  readonly job: (out: string) => WholeJob;
}

const architecture = builtinArchitecture();
/** Twice the width is four times the parameters; heads keep their width. */
const widened = (times: number) => ({
  layers: architecture.layers,
  width: architecture.hiddenSize * times,
  heads: architecture.heads * times,
  kvHeads: architecture.kvHeads * times,
  ffn: architecture.ffnSize * times,
  vocabulary: architecture.vocabSize,
});
const widenedFolder = (scratch: string, times: number) => join(scratch, `width-${times}`);

const sized = (axis: Point['axis'], factor: number, change: Partial<JobSize>): Point => ({
  axis,
  factor,
  job: (out) => forcedJob(out, { ...base, ...change }),
});
const pointsIn = (scratch: string): Point[] => [
  sized('base', 1, {}),
  ...[2, 4].flatMap((factor): Point[] => [
    sized('problems', factor, { problems: factor * base.problems }),
    sized('samples', factor, { samples: factor * base.samples }),
    sized('newTokens', factor, { newTokens: factor * base.newTokens }),
    {
      axis: 'parameters',
      factor: factor ** 2,
      job: (out: string) => ({ ...forcedJob(out, base), model: widenedFolder(scratch, factor) }),
    },
  ]),
];

const record = flags.from === undefined ? await measure() : readRecord(flags.from);
print(record.points);
console.log(JSON.stringify(record));
if (flags.plot !== undefined) writeFileAtomic(flags.plot, scalingPlot(record));

async function measure(): Promise<ScalingRecord> {
  const scratch = mkdtempSync(join(tmpdir(), 'tinyzero-bench-'));
  try {
    for (const times of [2, 4]) {
      // Marked as a built-in model, whose vocabulary can spell only the built-in wording.
      const config = { ...qwen2Record(widened(times)), [heldOutField]: builtin.configRecord[heldOutField] };
      await saveRandomModel(widenedFolder(scratch, times), config, 'float32', builtin.folder);
    }
    const points = pointsIn(scratch);
    const runs = points.map((): SideRun<JobResult>[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, { job }] of points.entries()) runs[i]?.push(await runSide([process.execPath, script], job));
    }
    const measured = points.map((point, i) => medians(point, runs[i]!));
    return { processor: cpus()[0]?.model, cores: cpus().length, rounds, base, points: measured };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function medians({ axis, factor }: Point, runs: readonly SideRun<JobResult>[]): ScalingPoint {
  const middle = (value: (run: SideRun<JobResult>) => number) => median(runs.map(value));
  const width = axis === 'parameters' ? Math.sqrt(factor) : 1;
  return {
    axis,
    factor,
    parameters: parameterCount(qwen2Config(widened(width))),
    seconds: middle(({ seconds }) => seconds),
    phases: Object.fromEntries(phaseNames.map((name) => [name, middle(({ result }) => result.phases[name]!)])),
    cpuSeconds: middle(({ cpuSeconds }) => cpuSeconds),
    peakMegabytes: middle(({ peakMegabytes }) => peakMegabytes),
  };
}

/** Seconds, with the ratio to the base in brackets. */
function print(measured: readonly ScalingPoint[]): void {
  const [first] = measured as [ScalingPoint];
  const names = ['load', 'evalBefore', 'stage1', 'stage2', 'evalAfter'];
  console.log(
    ['', ...names, 'total', 'peak MB'].map((name, i) => (i === 0 ? ''.padEnd(16) : name.padStart(16))).join(''),
  );
  for (const { axis, factor, phases, seconds, peakMegabytes } of measured) {
    const cell = (value: number, of: number) => `${value.toFixed(2)} (x${(value / of).toFixed(2)})`.padStart(16);
    const cells = names.map((name) => cell(phases[name]!, first.phases[name]!));
    cells.push(cell(seconds, first.seconds), peakMegabytes.toFixed(0).padStart(16));
    console.log(`${axis} x${factor}`.padEnd(16) + cells.join(''));
  }
}
