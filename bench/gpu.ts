/**
 * @file Sampling and updates on a GPU at real sizes, next to PyTorch on the same card: `npm run bench:gpu -- [--sizes
 * 0.5B,1.5B] [--sequences 16,64,256] [--prompt 64] [--tokens 64] [--rows 16] [--precision bf16] [--python python3]`.
 * Weights are random and made in memory, so it needs neither files nor a network. Prints a line for each measurement as it
 * is made; the last line is JSON. Runs on a processor too, with small sizes: `--sizes tiny`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Engine, openEngine } from '../src/engine/backend.js';
import { type Precision, precisions } from '../src/engine/choices.js';
import { type ModelConfig, parseModelConfig } from '../src/model/network/config.js';
import { parameterCount } from '../src/model/network/params.js';
import { createPolicy } from '../src/policy/policy.js';
import type { JsonRecord } from '../src/util/json.js';
import { qwen2Record, qwenHalfBillion } from './checkpoints.js';
import { median, seededUniform } from './measure.js';
import { loadedPolicy, randomWeights } from './policy.js';

/** config.json by name: two of Qwen2.5's, and one for a try on any machine. */
const models: Readonly<Record<string, JsonRecord>> = {
  '0.5B': qwenHalfBillion,
  '1.5B': {
    ...qwenHalfBillion,
    hidden_size: 1536,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    intermediate_size: 8960,
    max_window_layers: 28,
  },
  tiny: qwen2Record({ layers: 2, width: 64, heads: 4, kvHeads: 2, ffn: 96, vocabulary: 256 }),
};

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '0.5B,1.5B' },
    sequences: { type: 'string', default: '16,64,256' },
    prompt: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '64' },
    rows: { type: 'string', default: '16' },
    runs: { type: 'string', default: '2' },
    precision: { type: 'string', default: 'bf16' },
    python: { type: 'string' },
  },
});

/** What both sides do. The fields are read by peers/gpu.py. */
interface Work {
  readonly model: JsonRecord;
  readonly precision: Precision;
  /** Sequences decoded together, one measurement each. */
  readonly sequences: readonly number[];
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Rows of an update. */
  readonly rows: number;
  readonly runs: number;
}

interface Measured {
  /** Tokens per second by number of sequences. */
  readonly sampling: Record<string, number>;
  readonly updateSeconds: number;
}

const began = performance.now();
const say = (text: string) => console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
const results: Record<string, Record<string, Measured>> = {};
const precision = precisions.find((each) => each === values.precision);
if (precision === undefined)
  throw new Error(`--precision: expected ${precisions.join(' or ')}, found ${values.precision}`);
const engine = await openEngine('tensorflow');
say(engine.description);
for (const size of values.sizes.split(',')) {
  const model = models[size];
  if (model === undefined)
    throw new Error(`--sizes: expected some of ${Object.keys(models).join(', ')}, found ${size}`);
  const work: Work = {
    model,
    precision,
    sequences: values.sequences.split(',').map(Number),
    promptTokens: Number(values.prompt),
    newTokens: Number(values.tokens),
    rows: Number(values.rows),
    runs: Number(values.runs),
  };
  results[size] = { tinyzero: await measure(engine, size, work) };
  if (values.python !== undefined) results[size].pytorch = measurePeer(values.python, size, work);
}
console.log(JSON.stringify({ engine: engine.description, precision, results }));

async function measure(engine: Engine, size: string, work: Work): Promise<Measured> {
  const config = parseModelConfig(work.model, size);
  const name = `tinyzero ${size} ${work.precision}`;
  const read = randomWeights(config, config.initializerRange * Math.sqrt(3));
  const sampling: Record<string, number> = {};
  const promptLengths = new Array<number>(Math.max(...work.sequences)).fill(work.promptTokens);
  const sizes = { promptLengths, maxNewTokens: work.newTokens, slots: Math.max(...work.sequences) };
  const sampler = createPolicy(engine, config, { sizes, precision: work.precision });
  sampler.load(read);
  say(`${name}: ${(parameterCount(config) / 1e6).toFixed(0)} million parameters loaded`);
  const rollouts = (count: number, maxNewTokens: number) =>
    Array.from({ length: count }, (_, row) => ({
      promptIds: ids(config, row, work.promptTokens),
      uniform: seededUniform(row),
      maxNewTokens,
    }));
  const options = { temperature: 1, endIds: new Set<number>() };
  for (const count of work.sequences) {
    await sampler.sample(rollouts(count, 2), options);
    say(`${name}: ready to sample ${count} sequences`);
    const seconds: number[] = [];
    for (let run = 0; run < work.runs; run += 1) {
      const start = performance.now();
      await sampler.sample(rollouts(count, work.newTokens), options);
      seconds.push((performance.now() - start) / 1000);
    }
    const second = median(seconds);
    sampling[count] = Math.round((count * work.newTokens) / second);
    const step = (1000 * second) / work.newTokens;
    say(
      `${name}: ${count} sequences, ${sampling[count]} tokens/s, ${step.toFixed(1)} ms per token, GPU memory ${gpuMemory()}`,
    );
  }
  sampler.dispose();
  const updateSeconds = await updates(engine, config, name, work, read);
  return { sampling, updateSeconds };
}

async function updates(
  engine: Engine,
  config: ModelConfig,
  name: string,
  { precision, rows: batchSize, promptTokens, newTokens, runs }: Work,
  read: (name: string) => Float32Array,
): Promise<number> {
  const policy = loadedPolicy(engine, config, read, { batchSize, promptTokens, newTokens, precision });
  say(`${name}: ready to train`);
  const rows = Array.from({ length: batchSize }, (_, row) => ({
    promptIds: ids(config, row, promptTokens),
    completionIds: ids(config, row + batchSize, newTokens),
  }));
  const advantages = rows.map((_, row) => (row % 2 === 0 ? 0.5 : -0.5));
  const seconds: number[] = [];
  for (let step = 1; step <= 1 + runs; step += 1) {
    const start = performance.now();
    const { loss, gradientNorm } = await policy.update({ rows, advantages, temperature: 1, step, learningRate: 1e-6 });
    const second = (performance.now() - start) / 1000;
    say(
      `${name}: update ${step} of ${batchSize} rows, ${second.toFixed(2)} s, loss ${loss}, gradient norm ${gradientNorm}`,
    );
    if (step > 1) seconds.push(second);
  }
  say(`${name}: GPU memory ${gpuMemory()}`);
  policy.dispose();
  return median(seconds);
}

function measurePeer(python: string, size: string, work: Work): Measured {
  const script = fileURLToPath(new URL('../../bench/peers/gpu.py', import.meta.url));
  const stdio = ['inherit', 'pipe', 'inherit'] as const;
  const { stdout, status } = spawnSync(python, [script, JSON.stringify(work)], { encoding: 'utf8', stdio: [...stdio] });
  if (status !== 0) throw new Error(`${python} ${script} failed with exit code ${status}`);
  const measured = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Measured;
  for (const [count, tokens] of Object.entries(measured.sampling)) {
    say(`PyTorch ${size} ${work.precision}: ${count} sequences, ${Math.round(tokens)} tokens/s`);
  }
  say(`PyTorch ${size} ${work.precision}: update ${measured.updateSeconds.toFixed(2)} s`);
  return measured;
}

function ids({ vocabSize }: ModelConfig, row: number, count: number): number[] {
  const uniform = seededUniform(row + 1);
  return Array.from({ length: count }, () => Math.floor(uniform() * vocabSize));
}

/** Such as `12345 MiB`; `unknown` without nvidia-smi. */
function gpuMemory(): string {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader'];
  const { status, stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : 'unknown';
}
