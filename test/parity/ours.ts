/** @file tinyzero's side of the comparison: V*, the filter, and updates of its policy on the given rows. */
import { openEngine } from '../../src/engine/backend.js';
import type { EngineName } from '../../src/engine/choices.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { gradientName } from '../../src/policy/layout.js';
import { createPolicy } from '../../src/policy/policy.js';
import { isTrained } from '../../src/stage1/trained-problems.js';
import { vStar } from '../../src/stage1/vstar.js';
import { type Algorithm, algorithms } from '../../src/stage2/algorithm.js';
import { openTracker } from '../../src/stage2/value-tracker.js';
import type { Case } from './cases.js';

/** Rows of each update: problem and visit. */
export type Batches = readonly (readonly (readonly [problem: number, visit: number])[])[];

/** What a side computed of a case. */
export interface Result {
  readonly vStar: readonly number[];
  /** Problems with a right sample. */
  readonly kept: readonly number[];
  /** Of every update: the loss before it, and the norm of the gradient before clipping. */
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly advantages: readonly (readonly number[])[];
  /** Of the first update, before clipping, by the name of the parameter. */
  readonly gradient: Tensors;
  readonly weights: ReadonlyMap<number, Tensors>;
}

export type Tensors = ReadonlyMap<string, Float32Array>;

export async function ourResult(given: Case, batches: Batches, engine: EngineName): Promise<Result> {
  const { problems, beta1, temperature, learningRate, maxGradientNorm, snapshots, maxNewTokens } = given;
  const algorithm: Algorithm = algorithms[given.algorithm];
  const values = problems.map(({ rewards }) => vStar(rewards, beta1));
  const exact = problems.map(({ rewards }) => rewards.map((reward) => reward === 1));
  const kept = problems.flatMap(({ rewards }, i) => (isTrained({ rewards, exact: exact[i]! }, 'solved') ? [i] : []));
  const settings = { beta1, beta2: given.beta2, numSamples: given.groupSize, batchSize: given.batchSize };
  const { config, weights } = openPretrained(given.model);
  const policy = createPolicy(await openEngine(engine), config, {
    sizes: { promptLengths: [...new Set(problems.map(({ promptIds }) => promptIds.length))], maxNewTokens, slots: 8 },
    training: {
      batchSize: given.batchSize,
      loss: (arithmetic, row) => algorithm.loss(arithmetic, row, settings),
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: given.adamEpsilon, weightDecay: 0 },
      maxGradientNorm,
      addsValue: algorithm.addsValue,
      scores: algorithm.tracksValues,
    },
  });
  try {
    policy.load(weights.read);
    policy.loadReference(weights.read);
    policy.loadMoments();
    const names = Object.keys(policy.specs);
    const readAll = (rename = (name: string) => name) =>
      new Map(names.map((name) => [name, policy.read(rename(name))]));
    const losses: number[] = [];
    const norms: number[] = [];
    const advantages: number[][] = [];
    const snapshot = new Map<number, Tensors>();
    let gradient: Tensors = new Map();
    let baseline: number | null = null;
    const tracked = problems.map((_, i) => ({ id: String(i), cluster: '', value: i }));
    const tracker = openTracker({ rows: tracked, rewardsOf: (id) => problems[Number(id)]!.rewards, seed: 0 });
    for (const [i, batch] of batches.entries()) {
      const rows = batch.map(([at, visit]) => {
        const { promptIds, visits } = problems[at]!;
        return { promptIds, completionIds: visits[visit]! };
      });
      const graded = batch.map(([at, visit], row) => ({
        ...rows[row]!,
        problem: { id: String(at) },
        score: { reward: problems[at]!.visitRewards[visit]! },
      }));
      const vStarOf = (id: string) => values[Number(id)]!;
      const given = algorithm.advantages(graded, {
        settings,
        vStarOf,
        baseline,
        trackedValueOf: tracker.trackedValueOf,
      });
      baseline = algorithm.nextBaseline?.(graded, baseline) ?? null;
      const scored = algorithm.tracksValues ? await policy.score(tracker.toScore(graded), temperature) : [];
      const update = await policy.update({ rows, advantages: given, temperature, step: i + 1, learningRate });
      if (algorithm.tracksValues) {
        const { logProbs, refLogProbs } = update;
        const observed = graded.map((row, j) => ({ ...row, logProbs: logProbs[j]!, refLogProbs: refLogProbs[j]! }));
        tracker.observe(observed, scored);
      }
      losses.push(update.loss);
      norms.push(update.gradientNorm);
      advantages.push(given);
      if (i === 0) gradient = readAll(gradientName);
      if (snapshots.includes(i + 1)) snapshot.set(i + 1, readAll());
    }
    return { vStar: values, kept, losses, norms, advantages, gradient, weights: snapshot };
  } finally {
    policy.dispose();
    weights.close();
  }
}
