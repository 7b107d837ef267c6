/**
 * @file What the webgpu engine does with the built-in model: dispatches of a decoding step and an update, compiled and op by op,
 * and the largest difference of log-probs from wasm over a few updates. `npm run bench:webgpu`; `-- --eager` counts the op-by-op
 * engine too, which takes minutes on a processor that pretends to be a card. The last line is JSON.
 */
import { type Engine, openEngine } from '../src/engine/backend.js';
import { openPretrained } from '../src/model/checkpoint/pretrained.js';
import { shippedModel } from '../src/model/shipped.js';
import { createPolicy } from '../src/policy/policy.js';
import { squaredError } from '../src/stage2/loss.js';
import { keyedRandom } from '../src/util/random.js';

const [rows, maxNewTokens, updates, beta2] = [4, 6, 3, 0.1];
const prompt = [1, 5, 9, 12, 7, 3];
const optimizer = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0 };

/** Dispatches since the last call. */
function dispatchCounter(): () => number {
  let count = 0;
  const prototype = GPUComputePassEncoder.prototype;
  const original = prototype.dispatchWorkgroups;
  prototype.dispatchWorkgroups = function (...groups: Parameters<typeof original>) {
    count += 1;
    return original.apply(this, groups);
  };
  return () => {
    const before = count;
    count = 0;
    return before;
  };
}

interface Measured {
  readonly name: string;
  /** Log-probs of every update, one after the other. */
  readonly logProbs: number[];
  readonly gradientNorms: number[];
  readonly dispatches?: { readonly decodeStep: number; readonly update: number };
  readonly milliseconds: { readonly decodeStep: number; readonly update: number };
}

async function measure(name: string, engine: Engine, counter?: () => number): Promise<Measured> {
  const { config, weights } = openPretrained(shippedModel('builtin'));
  const policy = createPolicy(engine, config, {
    sizes: { promptLengths: [prompt.length], maxNewTokens, slots: rows },
    training: {
      batchSize: rows,
      optimizer,
      loss: (arithmetic, row) => squaredError(arithmetic, row, beta2),
      maxGradientNorm: 1,
    },
  });
  try {
    policy.load(weights.read);
    policy.loadReference(weights.read);
    policy.loadMoments();
    const steps: { at: number; dispatches: number }[] = [];
    const rollouts = Array.from({ length: rows }, (_, row) => ({
      promptIds: prompt,
      uniform: keyedRandom('webgpu', row).uniform,
      maxNewTokens,
    }));
    const onStep = () => steps.push({ at: performance.now(), dispatches: counter?.() ?? 0 });
    const completions = await policy.sample(rollouts, { temperature: 1, endIds: new Set(), onStep });
    const [before, last] = steps.slice(-2) as [(typeof steps)[number], (typeof steps)[number]];
    const found = { logProbs: [] as number[], gradientNorms: [] as number[] };
    let [update, dispatches] = [0, 0];
    for (let step = 1; step <= updates; step += 1) {
      counter?.();
      const start = performance.now();
      const result = policy.update({
        rows: completions.map(({ ids }) => ({ promptIds: prompt, completionIds: ids })),
        advantages: completions.map((_, row) => (row % 2 === 0 ? 0.5 : -0.5)),
        temperature: 1,
        step,
        learningRate: 1e-3,
      });
      update = performance.now() - start;
      dispatches = counter?.() ?? 0;
      found.logProbs.push(...result.logProbs.flatMap((row) => Array.from(row)));
      found.gradientNorms.push(result.gradientNorm);
    }
    return {
      name,
      ...found,
      ...(counter && { dispatches: { decodeStep: last.dispatches, update: dispatches } }),
      milliseconds: { decodeStep: last.at - before.at, update },
    };
  } finally {
    policy.dispose();
    weights.close();
  }
}

const largest = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((value, index) => Math.abs(value - b[index]!)));

const gpu = await openEngine('webgpu');
const counter = dispatchCounter();
const measured = [await measure('wasm', await openEngine('wasm')), await measure('webgpu', gpu, counter)];
if (process.argv.includes('--eager')) {
  measured.push(await measure('webgpu, op by op', { ...gpu, createProgram: gpu.createEagerProgram }, counter));
}
console.log(`${gpu.description}; ${rows} rows of ${prompt.length} + ${maxNewTokens} tokens, ${updates} updates`);
const [reference] = measured as [Measured];
const table = measured.map(({ name, logProbs, gradientNorms, dispatches, milliseconds }) => ({
  name,
  dispatches,
  milliseconds,
  logProbDifference: largest(logProbs, reference.logProbs),
  gradientNormDifference: largest(gradientNorms, reference.gradientNorms),
}));
console.table(
  table.map(({ dispatches, milliseconds, ...rest }) => ({ ...rest, ...dispatches, ms: milliseconds.update })),
);
console.log(JSON.stringify({ device: gpu.description, table }));
process.exit(0);
