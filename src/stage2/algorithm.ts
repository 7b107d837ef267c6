/**
 * @file The algorithms of stage 2. An entry of {@link algorithms} defines an algorithm completely: its loss, its advantages,
 * whether it has a stage 1, which settings it rejects and how reports describe it. To add an algorithm, add an entry; options,
 * runs and reports follow. Imports no tensor library, since options and reports load this file.
 */
import type { Arithmetic, LossRow } from '../policy/row-loss.js';
import {
  drGrpoAdvantages,
  grpoAdvantages,
  nextBaseline,
  oaplAdvantages,
  policyGradient,
  reinforceAdvantages,
  rlooAdvantages,
  spoAdvantages,
  squaredError,
} from './loss.js';

/** The settings that algorithms read. */
export interface AlgorithmSettings {
  readonly beta1: number;
  readonly beta2: number;
  /** Samples per problem: in stage 1, or in a group. */
  readonly numSamples: number;
  /** Rollouts per update. */
  readonly batchSize: number;
}

/** The parts of a graded completion that advantages depend on. */
interface Graded {
  readonly problem: { readonly id: string };
  readonly score: { readonly reward: number };
}

export interface AdvantageContext {
  readonly settings: AlgorithmSettings;
  /** V* of a problem, for algorithms that need it. */
  readonly vStarOf: (problemId: string) => number;
  /** REINFORCE's baseline, from earlier batches; null before the first. */
  readonly baseline: number | null;
  /** The tracked value of a problem before this batch, for algorithms that track it. */
  readonly trackedValueOf: (problemId: string) => number;
}

export interface Algorithm {
  /** Name in text: `A*PO`. */
  readonly title: string;
  /** Whether stage 1 samples the reference first. Its rewards give V*, or the tracker's first values. */
  readonly hasStage1: boolean;
  /** Whether the run tracks a value per problem, which also chooses the problems of each update (value-tracker.ts). */
  readonly tracksValues?: boolean;
  /** Whether δ includes V_θ of the prompt, the logsumexp of the first token's logits. */
  readonly addsValue?: boolean;
  /**
   * What δ compares the policy with: the reference, or the sampler, which is the policy that drew the completion.
   */
  readonly anchor: 'reference' | 'sampler';
  /** Whether the loss is valid for completions of any sampler, not only of the policy itself. */
  readonly anySampler: boolean;
  /** Consecutive rollouts of one problem in a batch. */
  groupSize(settings: Pick<AlgorithmSettings, 'numSamples'>): number;
  /** Invalid settings, one line each: `--flag: why`. */
  problems(settings: AlgorithmSettings): string[];
  /** Advantage A of each rollout of a batch. */
  advantages(rollouts: readonly Graded[], context: AdvantageContext): number[];
  /** Loss of each row; a batch's loss is the mean over its rows. */
  loss<X>(arithmetic: Arithmetic<X>, row: LossRow<X>, settings: AlgorithmSettings): X;
  /**
   * The part of the advantage that the policy already reflects, in units of reward. The gradient of the loss in δ is
   * proportional to -(A - implicit). Linear in δ.
   */
  implicit(delta: number, settings: AlgorithmSettings): number;
  /** The baseline after a batch; absent for algorithms without one. */
  nextBaseline?(rollouts: readonly Graded[], baseline: number | null): number;
  /** The report's scatter plot of rollouts: A on the x axis, {@link ratio} of δ on the y axis. */
  readonly plot: {
    readonly title: string;
    readonly x: string;
    readonly y: string;
    /** Name of `ratio`. */
    readonly ratioName: string;
    ratio(delta: number, settings: AlgorithmSettings): number;
    /** How to read it. */
    readonly note: string;
  };
}

const rewardsOf = (rollouts: readonly Graded[]) => rollouts.map(({ score }) => score.reward);

/** Shared by the policy gradients. */
const policyGradients = {
  hasStage1: false,
  anchor: 'reference',
  anySampler: false,
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
  hasStage1: true,
  anchor: 'reference',
  anySampler: true,
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
    note: 'The loss pulls every point to the line where both are equal (dashed): up on the right, down on the left.',
  },
};

/** The common part of algorithms whose advantages compare the samples of one problem. */
function groups(title: string, advantagesOf: (rewards: readonly number[], settings: AlgorithmSettings) => number[]) {
  return {
    title,
    hasStage1: false,
    groupSize: ({ numSamples }) => numSamples,
    problems: ({ numSamples, batchSize }) => [
      ...(batchSize % numSamples === 0
        ? []
        : [
            `--batch-size: ${title} compares ${numSamples} samples of a problem (--num-samples), and ${batchSize} is not a multiple`,
          ]),
      ...(numSamples < 2 ? [`--num-samples: ${title} compares at least 2`] : []),
    ],
    advantages: (rollouts, { settings }) => advantagesOf(rewardsOf(rollouts), settings),
  } satisfies Partial<Algorithm>;
}

/** A policy gradient with such advantages. */
function grouped(title: string, advantagesOf: (rewards: readonly number[], groupSize: number) => number[]): Algorithm {
  return { ...policyGradients, ...groups(title, (rewards, { numSamples }) => advantagesOf(rewards, numSamples)) };
}

/** A*PO's regression, with the lagged sampler in place of the reference and V* of the group in place of stage 1's. */
const oapl: Algorithm = {
  ...apo,
  ...groups('OAPL', (rewards, { numSamples, beta1 }) => oaplAdvantages(rewards, numSamples, beta1)),
  anchor: 'sampler',
  plot: {
    ...apo.plot,
    y: 'β₂·(S − S_sampler)',
    note: 'The loss pulls every point to the line where both are equal (dashed). S_sampler is the log-prob under the policy that drew the completion.',
  },
};

const reinforce: Algorithm = {
  ...policyGradients,
  title: 'REINFORCE',
  groupSize: () => 1,
  problems: () => [],
  advantages: (rollouts, { baseline }) => reinforceAdvantages(rewardsOf(rollouts), baseline),
  nextBaseline: (rollouts, baseline) => nextBaseline(baseline, rewardsOf(rollouts)),
};

const spo: Algorithm = {
  ...policyGradients,
  title: 'SPO',
  hasStage1: true,
  tracksValues: true,
  groupSize: () => 1,
  problems: ({ batchSize }) =>
    batchSize < 2 ? ['--batch-size: SPO compares the rollouts of an update, at least 2'] : [],
  advantages: (rollouts, { trackedValueOf }) =>
    spoAdvantages(
      rewardsOf(rollouts),
      rollouts.map(({ problem }) => trackedValueOf(problem.id)),
    ),
};

/** A*PO's regression, with V_θ of the policy's own logits in place of V*. */
const tbrm: Algorithm = {
  ...apo,
  title: 'TBRM',
  hasStage1: false,
  addsValue: true,
  advantages: rewardsOf,
  plot: { ...apo.plot, x: 'advantage r − V_θ(prompt)' },
};

/** By the value of `--algo`; the first is the default. */
export const algorithms = {
  apo,
  oapl,
  grpo: grouped('GRPO', grpoAdvantages),
  'dr-grpo': grouped('Dr. GRPO', drGrpoAdvantages),
  rloo: grouped('RLOO', rlooAdvantages),
  reinforce,
  spo,
  tbrm,
};

export type AlgorithmName = keyof typeof algorithms;

export const algorithmNames = Object.keys(algorithms) as [AlgorithmName, ...AlgorithmName[]];
