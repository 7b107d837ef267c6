/**
 * @file Checks made at every update: the sampler and the model agree, a batch with a signal has a gradient, and the gradient
 * changes the weights. A run that cannot learn stops here with an explanation.
 */
import { NumericsError } from '../engine/program.js';
import { UserError } from '../util/errors.js';

/** A batch has no signal when no advantage exceeds this. */
const noAdvantage = 1e-6;

/**
 * Largest difference allowed between a token's log-prob as sampled and as scored in one update, by precision. Both come from
 * the same weights. Rounding causes about 1e-5 in float32, and up to a few tenths for a single token with bfloat16 products.
 */
export const maxSamplerDifference = { f32: 1e-2, bf16: 1 } as const;

export interface UpdateFacts {
  readonly step: number;
  /** Remaining advantage of each row, A - implicit, in units of reward. */
  readonly advantages: readonly number[];
  /** Undefined where a server does not tell it. */
  readonly gradientNorm: number | undefined;
  /** A tensor of the policy before and after the update; undefined where it is on a server. */
  readonly before: Float32Array | undefined;
  readonly after: Float32Array | undefined;
  readonly learningRate: number;
}

/** Returns whether the batch had a signal. @throws UserError when it had one but the weights did not change. */
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
  if (learningRate > 0 && before?.every((value, i) => value === after?.[i])) {
    throw new UserError({
      problem: `Update ${step} did not change the weights although its gradient has norm ${gradientNorm?.toPrecision(3)}.`,
      found: `learning rate ${learningRate}`,
      fix: 'If the learning rate is very small, raise --lr; otherwise run `tinyzero doctor`.',
    });
  }
  return true;
}

/** Largest difference between sampled and scored log-probs. @throws UserError when rounding cannot explain it. */
export function checkSampler(
  sampled: readonly (readonly number[])[],
  scored: readonly Float32Array[],
  tolerance: number,
): number {
  let largest = 0;
  for (const [row, logProbs] of sampled.entries()) {
    for (const [i, logProb] of logProbs.entries()) {
      largest = Math.max(largest, Math.abs(logProb - scored[row]![i]!));
    }
  }
  if (largest > tolerance) {
    throw new UserError({
      problem: `The sampler and the model disagree about a token's log-prob by ${largest.toPrecision(3)}.`,
      expected: `at most ${tolerance}, from rounding`,
      fix: 'Run `tinyzero doctor`, which compares engines.',
    });
  }
  return largest;
}

/** Runs an update and explains values that are not finite. */
export function explainNumerics<T>(step: number, update: () => T): T {
  try {
    return update();
  } catch (error) {
    if (!(error instanceof NumericsError)) throw error;
    throw new UserError(
      {
        problem: `Update ${step} was stopped: ${error.tensor} has ${error.found} values. The weights are unchanged.`,
        fix: 'A smaller --lr usually helps. The run can be resumed from its last checkpoint.',
      },
      { cause: error },
    );
  }
}
