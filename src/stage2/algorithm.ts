/**
 * @file The algorithms of stage 2 behind one face: rewards of a batch in, its loss out. The formulas are in loss.ts.
 */
import type { GradedRollout } from '../policy/rollout.js';
import {
  apoRowLoss,
  grpoAdvantages,
  nextBaseline,
  policyGradientRowLoss,
  type RowLoss,
  reinforceAdvantages,
} from './loss.js';

export const algorithmNames = ['apo', 'grpo', 'reinforce'] as const;
export type AlgorithmName = (typeof algorithmNames)[number];

export interface Algorithm {
  readonly name: AlgorithmName;
  /** Rollouts of one problem that stand together in a batch. */
  readonly groupSize: number;
  /** Needs stage 1. */
  readonly usesVStar: boolean;
  /** `baseline`: of REINFORCE, from the batches before. */
  loss(rollouts: readonly GradedRollout[], baseline: number | null): RowLoss;
  nextBaseline(rollouts: readonly GradedRollout[], baseline: number | null): number | null;
  /** Slope of the loss per unit of advantage in a batch of so many rows: turns slopes back into advantages. */
  slopePerAdvantage(rows: number): number;
}

const rewardsOf = (rollouts: readonly GradedRollout[]) => rollouts.map(({ score }) => score.reward);

/** A*PO with V* of each problem as stage 1 estimated it. */
export function apo(vStarOf: (problemId: string) => number, beta2: number): Algorithm {
  return {
    name: 'apo',
    groupSize: 1,
    usesVStar: true,
    loss: (rollouts) =>
      apoRowLoss(
        rewardsOf(rollouts),
        rollouts.map(({ problem }) => vStarOf(problem.id)),
        beta2,
      ),
    nextBaseline: () => null,
    slopePerAdvantage: (rows) => (2 * beta2) / rows,
  };
}

export function grpo(groupSize: number): Algorithm {
  return {
    name: 'grpo',
    groupSize,
    usesVStar: false,
    loss: (rollouts) => policyGradientRowLoss(grpoAdvantages(rewardsOf(rollouts), groupSize)),
    nextBaseline: () => null,
    slopePerAdvantage: (rows) => 1 / rows,
  };
}

export function reinforce(): Algorithm {
  return {
    name: 'reinforce',
    groupSize: 1,
    usesVStar: false,
    loss: (rollouts, baseline) => policyGradientRowLoss(reinforceAdvantages(rewardsOf(rollouts), baseline)),
    nextBaseline: (rollouts, baseline) => nextBaseline(baseline, rewardsOf(rollouts)),
    slopePerAdvantage: (rows) => 1 / rows,
  };
}
