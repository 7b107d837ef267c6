/**
 * @file What must hold at every update, checked while training runs: that sampler and model agree, that a batch with a
 * signal has a gradient, and that its gradient moves the weights. A run that learns nothing stops here and says why.
 */
import type { Precision } from '../engine/choices.js';
import { NumericsError } from '../engine/program.js';
import { UserError } from '../util/errors.js';

/** Advantages below this are none: the batch has no signal. */
const noAdvantage = 1e-6;

/**
 * Largest difference allowed between a token's log-prob as sampled and as scored in one update. Both come from the same
 * weights; rounding makes 1e-5 in float32, and bfloat16 products up to some tenths for a single token.
 */
const maxSamplerDifference = { f32: 1e-2, bf16: 1 } as const;

export interface UpdateFacts {
  readonly step: number;
  /** What each row's log-prob is pushed by, in units of reward. */
  readonly advantages: readonly number[];
  readonly gradientNorm: number;
  /** A tensor of the policy before and after the update. */
  readonly before: Float32Array;
  readonly after: Float32Array;
  readonly learningRate: number;
}

/** Whether the batch had a signal. @throws UserError when it had one and nothing was learned from it. */
export function checkUpdate(facts: UpdateFacts): boolean {
  const { step, advantages, gradientNorm, before, after, learningRate } = facts;
  const largest = Math.max(...advantages.map(Math.abs));
  if (largest <= noAdvantage) return false;
  if (gradientNorm === 0) {
    throw new UserError({
      problem: `Update ${step} has no gradient although an advantage is ${largest.toPrecision(3)}.`,
      fix: 'Run `tinyzero doctor`, which checks the gradients of the engine.',
    });
  }
  if (learningRate > 0 && before.every((value, i) => value === after[i])) {
    throw new UserError({
      problem: `Update ${step} changed no weight although its gradient has norm ${gradientNorm.toPrecision(3)}.`,
      found: `learning rate ${learningRate}`,
      fix: 'If that is very small, raise --lr; if not, run `tinyzero doctor`.',
    });
  }
  return true;
}

/** Largest difference between sampled and scored log-probs. @throws UserError when it is more than rounding. */
export function checkSampler(
  sampled: readonly (readonly number[])[],
  scored: readonly Float32Array[],
  precision: Precision,
): number {
  let largest = 0;
  for (const [row, logProbs] of sampled.entries()) {
    for (const [i, logProb] of logProbs.entries()) {
      largest = Math.max(largest, Math.abs(logProb - scored[row]![i]!));
    }
  }
  if (largest > maxSamplerDifference[precision]) {
    throw new UserError({
      problem: `The sampler and the model disagree about a token's log-prob by ${largest.toPrecision(3)}.`,
      expected: `at most ${maxSamplerDifference[precision]}, for rounding`,
      fix: 'Run `tinyzero doctor`, which compares engines.',
    });
  }
  return largest;
}

/** Runs an update; numbers that are not finite become an explanation. */
export function explainNumerics<T>(step: number, update: () => T): T {
  try {
    return update();
  } catch (error) {
    if (!(error instanceof NumericsError)) throw error;
    throw new UserError(
      {
        problem: `Update ${step} was stopped: ${error.tensor} has ${error.found} values. The weights are as they were before it.`,
        fix: 'A smaller --lr usually helps; the last checkpoint can be resumed from.',
      },
      { cause: error },
    );
  }
}
