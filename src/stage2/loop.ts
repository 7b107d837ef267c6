/**
 * @file Stage 2, the training loop: roll out, update, check, record, save. The algorithm comes from algorithm.ts and the
 * order of problems from plan.ts; the caller handles files, timing and options.
 */
import { learningRateAt, type Schedule } from '../engine/optim/settings.js';
import type { PlacedPolicy, PlacedUpdate } from '../policy/placed.js';
import { type GradedRollout, type RolloutKit, rollOut } from '../policy/rollout.js';
import { keyedRandom } from '../util/random.js';
import { eventLoopTurn } from '../util/reporter.js';
import { mean } from '../util/statistics.js';
import type { AdvantageContext, Algorithm } from './algorithm.js';
import { anyDifference, checkSampler, checkUpdate, explainNumerics, type SamplerTolerance } from './checks.js';
import { shuffledScores } from './control.js';
import type { LaggedSampler } from './lagged.js';
import type { Visit } from './plan.js';
import type { StepMetrics } from './step-metrics.js';
import type { ValueTracker } from './value-tracker.js';

/** The loop's state between steps, apart from the policy's. */
export interface Progress {
  /** Number of updates. */
  readonly step: number;
  /** REINFORCE's baseline; null for other algorithms and before the first batch. */
  readonly baseline: number | null;
  /** Completion tokens sampled in stage 2. */
  readonly sampledTokens: number;
}

export const freshProgress: Progress = { step: 0, baseline: null, sampledTokens: 0 };

/** A rollout with the numbers of its update. */
export interface TrainedRollout<P = unknown> {
  readonly rollout: GradedRollout<P>;
  readonly logProb: number;
  readonly refLogProb: number;
  readonly advantage: number;
  /** With a control: the reward of another rollout, which it was given. */
  readonly givenReward?: number;
}

/** The policy as the loop uses it. `read` returns a promise where JavaScript cannot wait synchronously, as in a page. */
interface TrainedPolicy extends Pick<PlacedPolicy, 'config' | 'specs' | 'server' | 'update' | 'score'> {
  read(name: string): Float32Array | Promise<Float32Array>;
}

export interface TrainOptions<P> {
  readonly kit: RolloutKit<P>;
  readonly policy: TrainedPolicy;
  /** Samples the rollouts. Refreshed before update 1 and after every `refreshEvery` updates. */
  readonly sampler: Pick<LaggedSampler, 'sample' | 'refresh'>;
  readonly refreshEvery: number;
  readonly algorithm: Algorithm;
  readonly settings: AdvantageContext['settings'];
  /** Present with the placebo of control.ts: its seed. */
  readonly shuffleSeed?: number | undefined;
  readonly vStarOf: AdvantageContext['vStarOf'];
  /** For algorithms that track values: chooses the problems of the visits and changes with each update. */
  readonly tracker?: ValueTracker<P> | undefined;
  readonly plan: readonly (readonly Visit<P>[])[];
  readonly schedule: Schedule;
  /** Largest allowed difference between log-probs of the sampler and of the policy at its last refresh. */
  readonly tolerance: SamplerTolerance;
  readonly start: Progress;
  /** Greedy accuracy on held-out problems; undefined if not evaluated after this update. */
  readonly evalHeldOut: (step: number) => Promise<number> | undefined;
  /** Greedy accuracy on the validation problems; undefined if not evaluated after this update. `reward`: of this update. */
  readonly validate: (step: number, reward: number) => Promise<number> | undefined;
  readonly onStep: (metrics: StepMetrics, rollouts: readonly TrainedRollout<P>[]) => void;
  /** Called after `onStep`, with the updated policy. */
  readonly keepIfBest: (metrics: StepMetrics) => Promise<void>;
  /** Whether training stops before the end of its plan. */
  readonly isOver: () => boolean;
  readonly saveDue: (step: number) => boolean;
  readonly save: (progress: Progress) => Promise<void>;
  /** On abort, sampling stops or the current update finishes; the progress is saved, and the loop throws the reason. */
  readonly signal: AbortSignal;
}

/** Runs the plan from `start` to the end. Returns the final progress. */
export async function trainPolicy<P>(options: TrainOptions<P>): Promise<Progress> {
  const { policy, sampler, refreshEvery, algorithm, settings, vStarOf, tracker, plan, schedule, signal } = options;
  const kit = { ...options.kit, policy: sampler };
  let progress = options.start;
  let saved = progress.step;
  const probe = probeName(policy);
  // A server's weights are not read after each update; its policy checks that they change.
  const probed = async () => (policy.server === undefined ? await policy.read(probe) : undefined);
  let before = await probed();

  while (progress.step < plan.length && !options.isOver()) {
    const step = progress.step + 1;
    const planned = plan[progress.step]!;
    const visits = tracker?.choose(planned, step) ?? planned;

    // Roll out: the policy at the last refresh completes the batch's prompts, and each completion is graded.
    const isCurrent = progress.step % refreshEvery === 0;
    if (isCurrent) await sampler.refresh();
    const requests = visits.map(({ problem, sample }) => ({ problem, stage: 'stage2', sample }));
    const rollouts = await rollOut(kit, requests, { signal }).catch(async (error) => {
      // An interrupted rollout leaves the policy as it was after the last update.
      if (signal.aborted && progress.step > saved) await options.save(progress);
      throw error;
    });

    // Update: one step of AdamW on the mean loss of the rows.
    const { baseline } = progress;
    const { shuffleSeed } = options;
    const given =
      shuffleSeed === undefined ? rollouts : shuffledScores(rollouts, keyedRandom(shuffleSeed, 'control', step));
    // A single rollout has no other reward to take, so its advantage is 0.
    const isAlone = shuffleSeed !== undefined && rollouts.length === 1;
    const trackedValueOf = (id: string) => tracker!.trackedValueOf(id);
    const advantages = isAlone ? [0] : algorithm.advantages(given, { settings, vStarOf, baseline, trackedValueOf });
    const scored = tracker && (await policy.score(tracker.toScore(rollouts), kit.temperature));
    const learningRate = learningRateAt(schedule, step);
    const update = await explainNumerics(step, () =>
      policy.update({
        rows: rollouts,
        advantages,
        temperature: kit.temperature,
        step,
        learningRate,
      }),
    );
    const logProbs = update.logProbs.map(sum);
    const refLogProbs = update.refLogProbs.map(sum);
    const deltas = logProbs.map((logProb, i) => logProb - refLogProbs[i]!);
    const inLoss = deltas.map((delta, i) => delta + (update.values?.[i] ?? 0));
    const remaining = advantages.map((advantage, i) => advantage - algorithm.implicit(inLoss[i]!, settings));

    // Check that the weights changed, and that on-policy samples came from this policy.
    const after = await probed();
    const { gradientNorm } = update;
    const hasSignal = checkUpdate({ step, advantages: remaining, gradientNorm, before, after, learningRate });
    before = after;
    const samplerDifference = checkSampler(
      rollouts.map((rollout) => rollout.logProbs),
      update.logProbs,
      isCurrent ? options.tolerance : anyDifference,
    );

    // Record.
    const tracked = tracker?.observe(
      given.map((rollout, i) => ({ ...rollout, ...tokensOf(update, i) })),
      scored!,
    );
    const tokens = rollouts.map(({ completionIds }) => completionIds.length);
    progress = {
      step,
      baseline: algorithm.nextBaseline?.(given, baseline) ?? null,
      sampledTokens: progress.sampledTokens + sum(tokens),
    };
    const grades = gradeMeans(rollouts);
    const heldOutGreedy = await options.evalHeldOut(step);
    const validationGreedy = await options.validate(step, grades.reward);
    const metrics: StepMetrics = {
      step,
      epoch: visits[0]!.epoch,
      loss: update.loss,
      ...grades,
      meanTokens: mean(tokens),
      meanAbsAdvantage: mean(remaining.map(Math.abs)),
      kl: mean(deltas),
      entropy: -sum(logProbs) / sum(tokens),
      ...(tracked && {
        trackedValue: tracked.value,
        trackedRetention: tracked.retention,
        trackedDivergence: tracked.divergence,
      }),
      ...(update.values && { promptValue: settings.beta2 * mean(update.values) }),
      ...(gradientNorm !== undefined && { gradientNorm }),
      learningRate,
      samplerDifference: samplerDifference.max,
      samplerMeanDifference: samplerDifference.mean,
      signal: hasSignal,
      sampledTokens: progress.sampledTokens,
      ...(heldOutGreedy !== undefined && { heldOutGreedy }),
      ...(validationGreedy !== undefined && { validationGreedy }),
    };
    const trained = rollouts.map((rollout, i) => ({
      rollout,
      logProb: logProbs[i]!,
      refLogProb: refLogProbs[i]!,
      advantage: remaining[i]!,
      ...(shuffleSeed !== undefined && { givenReward: given[i]!.score.reward }),
    }));
    options.onStep(metrics, trained);
    await options.keepIfBest(metrics);

    // Save. Ctrl-C is received only between turns of the event loop.
    await eventLoopTurn();
    const isLast = step === plan.length || options.isOver();
    if (options.saveDue(step) || isLast || signal.aborted) {
      await options.save(progress);
      saved = step;
    }
    signal.throwIfAborted();
  }
  return progress;
}

/**
 * Name of a matrix that every token's gradient reaches, used to check that weights change: the last layer's, or with
 * adapters the last B, which changes first.
 */
function probeName({ config, specs }: TrainedPolicy): string {
  const name = `model.layers.${config.layers - 1}.mlp.down_proj.weight`;
  return name in specs ? name : Object.keys(specs).at(-1)!;
}

function gradeMeans(rollouts: readonly GradedRollout[]) {
  const meanOf = (value: (rollout: GradedRollout) => number) => mean(rollouts.map(value));
  return {
    reward: meanOf(({ score }) => score.reward),
    exactRate: meanOf(({ score }) => Number(score.exact)),
    formatRate: meanOf(({ score }) => Number(score.parsed)),
    truncatedRate: meanOf(({ finished }) => Number(!finished)),
  };
}

/** Log-probs of a row's tokens in an update. */
const tokensOf = ({ logProbs, refLogProbs }: PlacedUpdate, row: number) => ({
  logProbs: logProbs[row]!,
  refLogProbs: refLogProbs[row]!,
});

/** Sums in float64, in order. Exact to float32 precision for few numbers. */
function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
