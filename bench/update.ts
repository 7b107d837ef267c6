/**
 * @file The cost of an update at real sizes: samples rollouts and trains on them, in its own process, with its peak resident
 * memory, for a model folder of any size. `node dist/bench/update.js MODEL [--rows 22] [--prompt 40] [--shared-prefix 0] [--completion 56]
 * [--updates 3] [--lora-rank 16] [--freeze none] [--micro-batch N] [--slots 22] [--precision f32]`; the last line is JSON. Linux.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { openEngine } from '../src/engine/backend.js';
import { freezeChoices } from '../src/engine/choices.js';
import { openPretrained } from '../src/model/checkpoint/pretrained.js';
import { loraTargets } from '../src/model/network/params.js';
import { optimizer } from '../src/options/defaults.js';
import { createPolicy } from '../src/policy/policy.js';
import { chooseUpdateShape } from '../src/policy/update-shape.js';
import { planMemory } from '../src/run/needs.js';
import { policyGradient } from '../src/stage2/loss.js';
import { median, seededUniform } from './measure.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '22' },
    prompt: { type: 'string', default: '40' },
    'shared-prefix': { type: 'string', default: '0' },
    completion: { type: 'string', default: '56' },
    updates: { type: 'string', default: '3' },
    slots: { type: 'string' },
    'lora-rank': { type: 'string' },
    freeze: { type: 'string' },
    'micro-batch': { type: 'string' },
    precision: { type: 'string', default: 'f32' },
  },
});

const peaks: Record<string, number> = {};

await measure(positionals[0]!);

/**
 * Runs a phase and keeps the largest resident memory in it. The kernel keeps that peak itself; asking for the proportional
 * share (PSS) while the process works would hold up its page faults and take a third of its time.
 */
async function phase<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  writeFileSync('/proc/self/clear_refs', '5');
  const result = await work();
  const kilobytes = Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  peaks[name] = Math.max(peaks[name] ?? 0, Number(((1024 * kilobytes) / 1e9).toFixed(2)));
  return result;
}

async function measure(folder: string): Promise<void> {
  const [rows, prompt, completion, updates] = [values.rows, values.prompt, values.completion, values.updates].map(
    Number,
  );
  const precision = values.precision === 'bf16' ? 'bf16' : 'f32';
  const rank = values['lora-rank'] === undefined ? undefined : Number(values['lora-rank']);
  const freeze = freezeChoices.find((choice) => rank === undefined && choice === (values.freeze ?? 'mlp')) ?? 'none';
  const lora = rank === undefined ? undefined : { rank, alpha: 2 * rank, targets: loraTargets };
  const microBatch = values['micro-batch'] === undefined ? undefined : Number(values['micro-batch']);
  const model = openPretrained(folder);
  const { config, weights } = model;
  const sharedPrefix = Number(values['shared-prefix']);
  const sizes = {
    promptLengths: [prompt!],
    sharedPrefix,
    maxNewTokens: completion!,
    slots: Number(values.slots ?? rows),
  };
  const training = {
    batchSize: rows!,
    microBatch,
    lora,
    freeze,
    loss: policyGradient,
    maxGradientNorm: 1,
    optimizer,
  };
  const began = performance.now();
  const policy = await phase('load', async () => {
    const opened = createPolicy(await openEngine('tensorflow'), config, {
      sizes,
      precision,
      training,
      dtypeOf: weights.dtypeOf,
    });
    opened.load(weights.read);
    opened.loadReference(weights.read);
    opened.loadMoments();
    return opened;
  });
  const loadSeconds = (performance.now() - began) / 1000;
  const uniform = seededUniform(1);
  const ids = (count: number) => Array.from({ length: count }, () => Math.floor(uniform() * config.vocabSize));
  const prefix = ids(sharedPrefix);
  const promptIds = Array.from({ length: rows! }, () => [...prefix, ...ids(prompt! - sharedPrefix)]);
  const sampling: number[] = [];
  const updating: number[] = [];
  const busy: number[] = [];
  let tokens = 0;
  for (let step = 1; step <= updates!; step += 1) {
    let start = performance.now();
    const completions = await phase('sample', () =>
      policy.sample(
        promptIds.map((each) => ({ promptIds: each, uniform, maxNewTokens: completion! })),
        { temperature: 1, endIds: new Set() },
      ),
    );
    sampling.push((performance.now() - start) / 1000);
    start = performance.now();
    // Realistic lengths, from a quarter of the longest up, to show the savings of packing.
    const batch = completions.map(({ ids: drawn }, row) => ({
      promptIds: promptIds[row]!,
      completionIds: drawn.slice(0, Math.ceil(completion! * (0.25 + (0.75 * ((row * 7) % rows!)) / rows!))),
    }));
    tokens = batch.reduce((sum, row) => sum + row.promptIds.length + row.completionIds.length, 0);
    const advantages = batch.map((_, row) => (row % 2 === 0 ? 1 : -1));
    const used = process.cpuUsage();
    await phase('update', () => policy.update({ rows: batch, advantages, temperature: 1, step, learningRate: 1e-6 }));
    updating.push((performance.now() - start) / 1000);
    const { user, system } = process.cpuUsage(used);
    busy.push((user + system) / 1e6 / updating.at(-1)!);
  }
  const shape = chooseUpdateShape(config, { ...sizes, ...training });
  const plan = planMemory(config, sizes, { batchSize: rows!, microBatch, precision, lora, freeze });
  console.log(
    JSON.stringify({
      model: folder,
      rows,
      prompt,
      completion,
      tokens,
      lora: rank ?? null,
      freeze,
      precision,
      shape,
      loadSeconds: Number(loadSeconds.toFixed(1)),
      sampleSeconds: Number(median(sampling).toFixed(2)),
      processors: Number(median(busy.slice(busy.length > 1 ? 1 : 0)).toFixed(2)),
      updateSeconds: Number(median(updating.slice(updating.length > 1 ? 1 : 0)).toFixed(2)),
      peakGigabytes: peaks,
      plannedGigabytes: Object.fromEntries(plan.map(({ stage, bytes }) => [stage, Number((bytes / 1e9).toFixed(2))])),
    }),
  );
}
