/**
 * @file Peak memory of training at real sizes, beside what is planned and the goals: `npm run bench:memory -- [--only TEXT]
 * [--model SMOLLM2]`. Models with random weights in bfloat16 are made in a temporary folder; `--model` adds whole runs of
 * SmolLM2-135M-Instruct from its folder. Each measurement is a process of its own. The largest needs 8 GB. Prints a table;
 * the last line is JSON. Linux.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { DryRun } from '../src/run/dry-run.js';
import type { JsonRecord } from '../src/util/json.js';
import { byteLevelTokenizer, qwenHalfBillion, r1Distill, saveRandomModel, smolRecord } from './checkpoints.js';
import { coinTask } from './coin-task.js';
import { cli, runProgram } from './measure.js';

interface Measured {
  /** Gigabytes (10^9 bytes). */
  readonly planned: number;
  readonly measured: number;
  readonly seconds: number;
}

interface Row {
  readonly name: string;
  /** Gigabytes. */
  readonly goal: number;
  measure(): Promise<Measured>;
}

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, model: { type: 'string' } } });
const scratch = mkdtempSync(join(tmpdir(), 'tinyzero-memory-'));
const lora = ['--lora-rank', '16'];

/** A folder with random weights, made once. */
function modelMaker(name: string, record: JsonRecord): () => Promise<string> {
  const folder = join(scratch, name);
  let made: Promise<void> | undefined;
  return async () => {
    made ??= saveRandomModel(folder, { ...record, torch_dtype: 'bfloat16' }, 'bfloat16', byteLevelTokenizer);
    await made;
    return folder;
  };
}

const smol = modelMaker('smol', smolRecord);
const half = modelMaker('0.5B', qwenHalfBillion);
const distilled = modelMaker('1.5B', r1Distill);

/** Updates with their rollouts (bench/update.ts). */
async function updates(folder: string, args: readonly string[]): Promise<Measured> {
  const bench = fileURLToPath(new URL('./update.js', import.meta.url));
  const began = performance.now();
  const out = execFileSync(process.execPath, [bench, folder, ...args], { encoding: 'utf8' });
  const { peakGigabytes, plannedGigabytes } = JSON.parse(out.trimEnd().split('\n').at(-1)!) as Record<
    'peakGigabytes' | 'plannedGigabytes',
    Record<string, number>
  >;
  return {
    planned: Math.max(...Object.values(plannedGigabytes)),
    measured: Math.max(...Object.values(peakGigabytes)),
    seconds: (performance.now() - began) / 1000,
  };
}

/** A whole run. */
async function wholeRun(name: string, args: readonly string[]): Promise<Measured> {
  const all = ['train', '--out', join(scratch, name), '--force', ...args];
  const plan = execFileSync(process.execPath, [cli, ...all, '--dry-run', '--json'], { encoding: 'utf8' });
  const { memory } = JSON.parse(plan.trimEnd().split('\n').at(-1)!) as DryRun;
  const { code, peakBytes, seconds } = await runProgram(all);
  if (code !== 0) throw new Error(`${all.join(' ')} ended with exit code ${code}`);
  return { planned: Math.max(...memory.map(({ bytes }) => bytes)) / 1e9, measured: peakBytes / 1e9, seconds };
}

const tokens = (rows: number, prompt: number, completion: number) =>
  ['--rows', rows, '--prompt', prompt, '--completion', completion].map(String);
const smolUpdate = [...tokens(20, 40, 32), '--shared-prefix', '35'];
const short = '--num-train 60 --num-test 6 --num-samples 4 --eval-samples 12 --epochs 1 --eval-every 0 --save-every 0';
const seed = '--preset seed --num-train 4 --num-test 1 --epochs 1';
const { model } = values;

const rows: readonly Row[] = [
  {
    name: 'SmolLM2-135M sizes, updates of 20 x 72 tokens',
    goal: 3.2,
    measure: async () => await updates(await smol(), smolUpdate),
  },
  {
    name: 'SmolLM2-135M sizes, updates of 20 x 72 tokens, LoRA',
    goal: 1.5,
    measure: async () => await updates(await smol(), [...smolUpdate, ...lora]),
  },
  ...(model === undefined
    ? []
    : [
        {
          name: 'SmolLM2-135M, a short run',
          goal: 3.2,
          measure: async () => await wholeRun('short', ['--model', model, ...short.split(' ')]),
        },
        {
          name: 'SmolLM2-135M, a short run, LoRA',
          goal: 1.5,
          measure: async () => await wholeRun('short-lora', ['--model', model, ...lora, ...short.split(' ')]),
        },
      ]),
  {
    name: 'Qwen2.5-0.5B sizes, updates of 16 x 128 tokens',
    goal: 9.8,
    measure: async () => await updates(await half(), tokens(16, 64, 64)),
  },
  {
    name: 'Qwen2.5-0.5B sizes, updates of 16 x 128 tokens, LoRA',
    goal: 3.2,
    measure: async () => await updates(await half(), [...tokens(16, 64, 64), ...lora]),
  },
  {
    name: 'R1-Distill-Qwen-1.5B sizes, updates of 4 x 256 tokens, LoRA',
    goal: 7,
    measure: async () => await updates(await distilled(), [...tokens(4, 128, 128), ...lora]),
  },
  {
    name: 'R1-Distill-Qwen-1.5B sizes, `--preset seed`, one update, LoRA',
    goal: 7,
    async measure() {
      const task = join(scratch, 'coin.mjs');
      writeFileSync(task, coinTask);
      return await wholeRun('seed', ['--model', await distilled(), ...lora, '--task', task, ...seed.split(' ')]);
    },
  },
];

try {
  const results: (Measured & { readonly name: string; readonly goal: number })[] = [];
  console.log('| work | goal | planned | measured | seconds |\n| --- | --- | --- | --- | --- |');
  for (const { name, goal, measure } of rows.filter((row) => row.name.includes(values.only))) {
    const found = await measure();
    results.push({ name, goal, ...found });
    const { planned, measured, seconds } = found;
    console.log(
      `| ${name} | ${goal.toFixed(1)} GB | ${planned.toFixed(2)} GB | ${measured.toFixed(2)} GB | ${seconds.toFixed(0)} |`,
    );
  }
  console.log(JSON.stringify({ cores: availableParallelism(), processor: cpus()[0]?.model, load: loadavg(), results }));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
