/**
 * @file Checks made at every update: the sampler and the model agree, a batch with a signal has a gradient, and the gradient
 * changes the weights. A run that cannot learn stops here with an explanation.
 */
import type { WeightForm } from '../engine/choices.js';
import { NumericsError } from '../engine/program.js';
import { UserError } from '../util/errors.js';
import { mean } from '../util/statistics.js';

/** A batch has no signal when no advantage exceeds this. */
const noAdvantage = 1e-6;

/** Limits on the difference between sampled and scored log-probs of an update's tokens, and the advice beyond them. */
export interface SamplerTolerance {
  /** Of any token. */
  readonly max: number;
  /** Mean over the tokens. */
  readonly mean: number;
  readonly from: string;
  readonly fix: string;
}

const rounding = { from: 'rounding', fix: 'Run `tinyzero doctor`, which compares engines.' };

/**
 * By the sampler's weights. With `f32` and `bf16`, both log-probs come from the same weights: rounding causes about 1e-5 in
 * float32, and up to a few tenths for a single token with bfloat16 products. `int8` weights differ from the policy's, most
 * of all for unlikely tokens (docs/log.md).
 */
export const samplerTolerance: Readonly<Record<WeightForm, SamplerTolerance>> = {
  f32: { max: 1e-2, mean: 1e-2, ...rounding },
  bf16: { max: 1, mean: 1, ...rounding },
  int8: {
    max: 5,
    mean: 0.25,
    from: 'weights rounded to int8',
    fix: 'Use --sampler-weights full: this model loses too much precision in int8.',
  },
};

/** For tokens sampled by an earlier policy. */
export const anyDifference: SamplerTolerance = {
  max: Number.POSITIVE_INFINITY,
  mean: Number.POSITIVE_INFINITY,
  ...rounding,
};

export interface UpdateFacts {
  readonly step: number;
  /** Remaining advantage of each row, A - implicit, in units of reward. */
  readonly advantages: readonly number[];
  /** Undefined if a server does not report it. */
  readonly gradientNorm: number | undefined;
  /** A tensor of the policy before and after the update; undefined if the policy is on a server. */
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

/** Differences between sampled and scored log-probs of tokens. @throws UserError when they exceed the tolerance. */
export function checkSampler(
  sampled: readonly (readonly number[])[],
  scored: readonly Float32Array[],
  tolerance: SamplerTolerance,
): Record<'max' | 'mean', number> {
  const differences = sampled.flatMap((row, r) => row.map((logProb, i) => Math.abs(logProb - scored[r]![i]!)));
  const found = { max: differences.reduce((a, b) => Math.max(a, b), 0), mean: mean(differences) };
  const { from, fix } = tolerance;
  if (found.max > tolerance.max) {
    throw new UserError({
      problem: `The sampler and the model disagree about a token's log-prob by ${found.max.toPrecision(3)}.`,
      expected: `at most ${tolerance.max}, from ${from}`,
      fix,
    });
  }
  if (found.mean > tolerance.mean) {
    throw new UserError({
      problem: `The sampler and the model disagree about tokens' log-probs by ${found.mean.toPrecision(3)} on average.`,
      expected: `at most ${tolerance.mean}, from ${from}`,
      fix,
    });
  }
  return found;
}

/** Runs an update. @throws UserError that explains values that are not finite. */
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
