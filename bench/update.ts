/**
 * @file The cost of an update at real sizes: samples rollouts and trains on them, in its own process, with its peak memory
 * (PSS), for a model folder of any size. `node dist/bench/update.js MODEL [--rows 22] [--prompt 40] [--completion 56]
 * [--updates 3] [--lora-rank 16] [--micro-batch N] [--slots 22] [--precision f32]`; the last line is JSON. Linux.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openEngine } from '../src/engine/backend.js';
import { openPretrained } from '../src/model/checkpoint/pretrained.js';
import { loraTargets } from '../src/model/network/lora-options.js';
import { createPolicy } from '../src/policy/policy.js';
import { chooseUpdateShape } from '../src/policy/update-shape.js';
import { planMemory } from '../src/run/memory-plan.js';
import { policyGradient } from '../src/stage2/loss.js';
import { median, seededUniform } from './measure.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '22' },
    prompt: { type: 'string', default: '40' },
    completion: { type: 'string', default: '56' },
    updates: { type: 'string', default: '3' },
    slots: { type: 'string' },
    'lora-rank': { type: 'string' },
    'micro-batch': { type: 'string' },
    precision: { type: 'string', default: 'f32' },
  },
});

if (process.env.BENCH_UPDATE_CHILD === undefined) await watch();
else await measure(positionals[0]!);

/** Runs this file in a child process and samples its memory ten times a second. */
async function watch(): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    env: { ...process.env, BENCH_UPDATE_CHILD: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let phase = 'start';
  const peaks: Record<string, number> = {};
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    phase = [...output.matchAll(/^phase (\w+)$/gm)].at(-1)?.[1] ?? phase;
  });
  const timer = setInterval(() => {
    try {
      const rollup = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8');
      const bytes = 1024 * Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
      peaks[phase] = Math.max(peaks[phase] ?? 0, bytes);
    } catch {
      // The process has just ended.
    }
  }, 100);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearInterval(timer);
  const gigabytes = Object.fromEntries(
    Object.entries(peaks).map(([name, bytes]) => [name, Number((bytes / 1e9).toFixed(2))]),
  );
  const result = output.trim().split('\n').at(-1) ?? '';
  if (code !== 0) throw new Error(`the measured process ended with ${code}`);
  console.log(JSON.stringify({ ...JSON.parse(result), peakGigabytes: gigabytes }));
}

async function measure(folder: string): Promise<void> {
  const [rows, prompt, completion, updates] = [values.rows, values.prompt, values.completion, values.updates].map(
    Number,
  );
  const phase = (name: string) => console.log(`phase ${name}`);
  const precision = values.precision === 'bf16' ? 'bf16' : 'f32';
  const rank = values['lora-rank'] === undefined ? undefined : Number(values['lora-rank']);
  const lora = rank === undefined ? undefined : { rank, alpha: 2 * rank, targets: loraTargets };
  const microBatch = values['micro-batch'] === undefined ? undefined : Number(values['micro-batch']);
  const model = openPretrained(folder);
  const { config, weights } = model;
  const sizes = { promptLengths: [prompt!], maxNewTokens: completion!, slots: Number(values.slots ?? rows) };
  const training = {
    batchSize: rows!,
    microBatch,
    lora,
    loss: policyGradient,
    maxGradientNorm: 1,
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
    isNarrow: (name: string) => weights.dtypeOf(name) === 'bfloat16',
  };
  phase('load');
  const began = performance.now();
  const policy = createPolicy(await openEngine('tensorflow'), config, { sizes, precision, training });
  policy.load(weights.read);
  policy.loadReference(weights.read);
  policy.loadMoments();
  const loadSeconds = (performance.now() - began) / 1000;
  const uniform = seededUniform(1);
  const ids = (count: number) => Array.from({ length: count }, () => Math.floor(uniform() * config.vocabSize));
  const promptIds = Array.from({ length: rows! }, () => ids(prompt!));
  const sampling: number[] = [];
  const updating: number[] = [];
  let tokens = 0;
  for (let step = 1; step <= updates!; step += 1) {
    phase('sample');
    let start = performance.now();
    const completions = await policy.sample(
      promptIds.map((each) => ({ promptIds: each, uniform, maxNewTokens: completion! })),
      { temperature: 1, endIds: new Set() },
    );
    sampling.push((performance.now() - start) / 1000);
    phase('update');
    start = performance.now();
    // Realistic lengths, from a quarter of the longest up, to show the savings of packing.
    const batch = completions.map(({ ids: drawn }, row) => ({
      promptIds: promptIds[row]!,
      completionIds: drawn.slice(0, Math.ceil(completion! * (0.25 + (0.75 * ((row * 7) % rows!)) / rows!))),
    }));
    tokens = batch.reduce((sum, row) => sum + row.promptIds.length + row.completionIds.length, 0);
    const advantages = batch.map((_, row) => (row % 2 === 0 ? 1 : -1));
    policy.update({ rows: batch, advantages, temperature: 1, step, learningRate: 1e-6 });
    updating.push((performance.now() - start) / 1000);
  }
  phase('end');
  const shape = chooseUpdateShape(config, { ...sizes, ...training });
  const plan = planMemory(config, sizes, { batchSize: rows!, microBatch, precision, lora });
  console.log(
    JSON.stringify({
      model: folder,
      rows,
      prompt,
      completion,
      tokens,
      lora: rank ?? null,
      precision,
      shape,
      loadSeconds: Number(loadSeconds.toFixed(1)),
      sampleSeconds: Number(median(sampling).toFixed(2)),
      updateSeconds: Number(median(updating.slice(updating.length > 1 ? 1 : 0)).toFixed(2)),
      plannedGigabytes: Object.fromEntries(plan.map(({ stage, bytes }) => [stage, Number((bytes / 1e9).toFixed(2))])),
    }),
  );
}
