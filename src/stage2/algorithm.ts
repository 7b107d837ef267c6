/**
 * @file The algorithms of stage 2. An entry of {@link algorithms} is all that one is: its loss, its advantages, what it
 * needs, which settings it refuses and how reports word it. To add one, add an entry; options, runs and reports follow.
 * Tensor-free: options and reports load this file.
 */
import type { Arithmetic, LossRow } from '../policy/row-loss.js';
import { grpoAdvantages, nextBaseline, policyGradient, reinforceAdvantages, squaredError } from './loss.js';

/** The settings that algorithms read. */
export interface AlgorithmSettings {
  readonly beta2: number;
  /** Samples of a problem: in stage 1, or in a group of GRPO. */
  readonly numSamples: number;
  /** Rollouts of one update. */
  readonly batchSize: number;
}

/** A graded completion, as far as advantages depend on it. */
interface Graded {
  readonly problem: { readonly id: string };
  readonly score: { readonly reward: number };
}

export interface AdvantageContext {
  readonly settings: AlgorithmSettings;
  /** V* of a problem, for algorithms that need it. */
  readonly vStarOf: (problemId: string) => number;
  /** REINFORCE's, from earlier batches; null before the first. */
  readonly baseline: number | null;
}

export interface Algorithm {
  /** As text has it: `A*PO`. */
  readonly title: string;
  /** Stage 1 estimates V* first. */
  readonly needsVStar: boolean;
  /** Rollouts of one problem that stand together in a batch. */
  groupSize(settings: Pick<AlgorithmSettings, 'numSamples'>): number;
  /** Settings that make no sense, one line each: `--flag: why`. */
  problems(settings: AlgorithmSettings): string[];
  /** A of each rollout of a batch, from its reward. */
  advantages(rollouts: readonly Graded[], context: AdvantageContext): number[];
  /** Loss of each row; the loss of a batch is their mean. */
  loss<X>(arithmetic: Arithmetic<X>, row: LossRow<X>, settings: AlgorithmSettings): X;
  /**
   * The part of the advantage that the policy has taken up already, in units of reward: what is left pushes the row.
   * The slope of the loss is proportional to -(A - implicit).
   */
  implicit(delta: number, settings: AlgorithmSettings): number;
  /** The baseline after a batch; absent for algorithms without one. */
  nextBaseline?(rollouts: readonly Graded[], baseline: number | null): number;
  /** The report's plot of rollouts: A across, {@link ratio} of δ up. */
  readonly plot: {
    readonly title: string;
    readonly x: string;
    readonly y: string;
    /** What `ratio` is called. */
    readonly ratioName: string;
    ratio(delta: number, settings: AlgorithmSettings): number;
    /** How to read it. */
    readonly note: string;
  };
}

const rewardsOf = (rollouts: readonly Graded[]) => rollouts.map(({ score }) => score.reward);

/** What GRPO and REINFORCE share. */
const policyGradients = {
  needsVStar: false,
  loss: policyGradient,
  implicit: () => 0,
  plot: {
    title: 'Log-ratio against advantage',
    x: 'advantage A',
    y: 'S − S_ref, nats',
    ratioName: 'log-ratio',
    ratio: (delta: number) => delta,
    note: 'Training should move points up on the right and down on the left.',
  },
} as const;

const apo: Algorithm = {
  title: 'A*PO',
  needsVStar: true,
  groupSize: () => 1,
  problems: () => [],
  advantages: (rollouts, { vStarOf }) => rollouts.map(({ problem, score }) => score.reward - vStarOf(problem.id)),
  loss: (arithmetic, row, { beta2 }) => squaredError(arithmetic, row, beta2),
  implicit: (delta, { beta2 }) => beta2 * delta,
  plot: {
    title: 'Implicit reward against advantage',
    x: 'advantage r − V*',
    y: 'β₂·(S − S_ref)',
    ratioName: 'implicit reward',
    ratio: (delta, { beta2 }) => beta2 * delta,
    note: 'The loss draws every point to where both are equal: up on the right, down on the left.',
  },
};

const grpo: Algorithm = {
  ...policyGradients,
  title: 'GRPO',
  groupSize: ({ numSamples }) => numSamples,
  problems: ({ numSamples, batchSize }) => [
    ...(batchSize % numSamples === 0
      ? []
      : [
          `--batch-size: GRPO compares ${numSamples} samples of a problem (--num-samples), and ${batchSize} is not a multiple`,
        ]),
    ...(numSamples < 2 ? ['--num-samples: GRPO compares at least 2'] : []),
  ],
  advantages: (rollouts, { settings }) => grpoAdvantages(rewardsOf(rollouts), settings.numSamples),
};

const reinforce: Algorithm = {
  ...policyGradients,
  title: 'REINFORCE',
  groupSize: () => 1,
  problems: () => [],
  advantages: (rollouts, { baseline }) => reinforceAdvantages(rewardsOf(rollouts), baseline),
  nextBaseline: (rollouts, baseline) => nextBaseline(baseline, rewardsOf(rollouts)),
};

/** Every algorithm by the value of `--algo`; the first is the default. */
export const algorithms = { apo, grpo, reinforce };

export type AlgorithmName = keyof typeof algorithms;

export const algorithmNames = Object.keys(algorithms) as [AlgorithmName, ...AlgorithmName[]];
