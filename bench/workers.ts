/**
 * @file What several processes cost: `npm run bench:workers` samples, updates and exchanges tensors with 1, 2 and 4 processes on
 * this machine, workers included. On one machine they share its cores, so this shows the overhead, not a gain. The last line
 * is JSON. `-- --quick` takes fewer repetitions. The largest sum takes 8 GB of memory with 4 processes.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, openEngine } from '../src/engine/backend.js';
import { onReplica } from '../src/engine/graph/trace.js';
import { defineFunction, stateOn, type TensorSpec } from '../src/engine/program.js';
import { openPretrained } from '../src/model/checkpoint/pretrained.js';
import { shippedModel } from '../src/model/shipped.js';
import { createPolicy } from '../src/policy/policy.js';
import { squaredError } from '../src/stage2/loss.js';
import { keyedRandom } from '../src/util/random.js';
import { startCollective } from './collectives.js';

const repetitions = process.argv.includes('--quick') ? 3 : 10;
const counts = [1, 2, 4];
const exchangeBytes = [4096, 262_144, 4_194_304, 67_108_864, 402_653_184];
const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

interface Cost {
  /** Shortest of the repetitions. */
  readonly seconds: number;
  /** Of all processes, mean of the repetitions. */
  readonly processorSeconds: number;
}

function startWorker(): Promise<{ readonly address: string; readonly pid: number; stop(): void }> {
  const child = spawn(process.execPath, [cli, 'worker', '--listen', '127.0.0.1:0', '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return new Promise((resolve, reject) => {
    child.on('exit', () => reject(new Error('a worker ended')));
    child.stdout.setEncoding('utf8').once('data', (line: string) => {
      resolve({ address: JSON.parse(line).address, pid: child.pid!, stop: () => child.kill('SIGKILL') });
    });
  });
}

/** Processor time of processes so far, from /proc (Linux), in its unit of 10 ms. */
function processorSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

async function measure(pids: readonly number[], work: () => unknown): Promise<Cost> {
  await work(); // TensorFlow prepares its functions
  const before = processorSeconds(pids);
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    await work();
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  return { seconds, processorSeconds: (processorSeconds(pids) - before) / repetitions };
}

/** 256 completions of 24 tokens, and an update on 32 of them, with the built-in model. */
async function policyCosts(engine: Engine, pids: readonly number[]): Promise<Record<'sampling' | 'update', Cost>> {
  const pretrained = openPretrained(shippedModel('builtin'));
  const promptIds = [2, 14, 9, 15, 21];
  const policy = createPolicy(engine, pretrained.config, {
    sizes: { promptLengths: [promptIds.length], maxNewTokens: 24, slots: 256 },
    training: {
      batchSize: 32,
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 },
      maxGradientNorm: 1,
      loss: (arithmetic, row) => squaredError(arithmetic, row, 1e-3),
    },
  });
  policy.load(pretrained.weights.read);
  policy.loadReference(pretrained.weights.read);
  policy.loadMoments();
  const rollouts = () =>
    Array.from({ length: 256 }, (_, index) => {
      const { uniform } = keyedRandom(0, 'bench', index);
      return { promptIds, uniform, maxNewTokens: 24 };
    });
  const sample = () => policy.sample(rollouts(), { temperature: 1, endIds: new Set<number>() });
  const rows = (await sample()).slice(0, 32).map(({ ids }) => ({ promptIds, completionIds: ids }));
  const advantages = rows.map((_, index) => Math.sin(index));
  try {
    return {
      sampling: await measure(pids, sample),
      update: await measure(pids, () =>
        policy.update({ rows, advantages, temperature: 1, step: 1, learningRate: 1e-6 }),
      ),
    };
  } finally {
    policy.dispose();
    pretrained.weights.close();
  }
}

/** The sum of `bytes` of float32 over all processes, in all of them: each sums a part and sends it to the others. */
async function exchangeCost(engine: Engine, pids: readonly number[], bytes: number): Promise<Cost> {
  const all = Array.from({ length: engine.replicas ?? 1 }, (_, replica) => replica);
  const part: TensorSpec = { dtype: 'float32', shape: [Math.ceil(bytes / 4 / all.length)] };
  const state = Object.fromEntries(all.flatMap((owner) => [`x${owner}`, `sum${owner}`].map((name) => [name, part])));
  const exchange = defineFunction({
    inputs: {},
    joint: true,
    body: (values) => ({
      assign: Object.fromEntries(
        all.flatMap((owner) => {
          const sum = onReplica(owner, () => tf.addN(all.map((each) => values[stateOn(each, `x${owner}`)]!)));
          return all.map((each) => [stateOn(each, `sum${owner}`), sum] as const);
        }),
      ),
    }),
  });
  const program = engine.createProgram({ state, functions: { exchange } });
  for (const name of Object.keys(state)) program.fill(name, 1);
  try {
    const cost = await measure(pids, () => program.run('exchange'));
    if (program.read(`sum${all.length - 1}`)[0] !== all.length) throw new Error('the sum is wrong');
    return cost;
  } finally {
    program.dispose();
  }
}

/** The same sum by TensorFlow's `CollectiveReduceV2`, a session in each process. */
async function collectiveCost(count: number, bytes: number): Promise<Cost> {
  const processes = await startCollective(count, bytes);
  try {
    const pids = processes.map(({ pid }) => pid);
    return await measure(pids, () => Promise.all(processes.map(({ run }) => run())));
  } finally {
    for (const { stop } of processes) stop();
  }
}

const engine = await openEngine('tensorflow');
const workers = await Promise.all(Array.from({ length: Math.max(...counts) - 1 }, startWorker));
const results: (Cost & { readonly work: string; readonly processes: number })[] = [];
try {
  for (const processes of counts) {
    const chosen = workers.slice(0, processes - 1);
    const together = processes === 1 ? engine : await engine.withWorkers!(chosen.map(({ address }) => address));
    const pids = [process.pid, ...chosen.map(({ pid }) => pid)];
    for (const [work, cost] of Object.entries(await policyCosts(together, pids)))
      results.push({ work, processes, ...cost });
    if (processes === 1) continue;
    for (const bytes of exchangeBytes) {
      const work = `sum of ${bytes} bytes`;
      results.push({ work, processes, ...(await exchangeCost(together, pids, bytes)) });
      results.push({ work: `${work} by a collective`, processes, ...(await collectiveCost(processes, bytes)) });
    }
  }
} finally {
  for (const { stop } of workers) stop();
}
const machine = `${cpus()[0]?.model}, ${availableParallelism()} cores, ${engine.instructions ?? 'TensorFlow alone'}`;
console.log(`${machine}; shortest of ${repetitions}`);
for (const { work, processes, seconds, processorSeconds: used } of results) {
  console.log(
    `${processes} processes, ${work}: ${(1000 * seconds).toFixed(1)} ms, processor ${(1000 * used).toFixed(0)} ms`,
  );
}
console.log(JSON.stringify({ machine, repetitions, results }));
process.exit(0); // TensorFlow's server never ends by itself
