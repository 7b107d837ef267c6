/**
 * @file The losses of stage 2 and their advantages. A loss is written once, over an abstract arithmetic: the training step
 * traces it with tensors, while tests and the library call it with numbers.
 *
 * Every loss sees a completion through δ = S - S_ref: the sum over its tokens, the end token included, of
 * log π(token) - log π_ref(token), both at the sampling temperature. The loss of a batch is the mean over its rows. In OAPL,
 * π_ref is the policy that drew the completion, with the log-probs that it reported.
 *
 * Departures from the A*PO paper (Brantley et al., "Accelerating RL for LLM Reasoning with Optimal Advantage Regression",
 * 2025, arXiv 2505.20686):
 *  1. log-probs are taken at the sampling temperature; the paper samples at 1;
 *  2. a batch of rollouts gets exactly one update, so rollouts always come from the current policy;
 *  3. V* is estimated once per distinct problem, however often its row is drawn;
 *  4. problems without an exact sample are left out by default with the built-in model (`--train-on all` keeps them);
 *  5. beta1 = 0 is the mean, as in the authors' code, not the limit (see stage1/vstar.ts).
 */
import type { Arithmetic, LossRow } from '../policy/row-loss.js';
import { vStar } from '../stage1/vstar.js';
import { mean } from '../util/statistics.js';

/** Arithmetic on plain numbers. */
export const numbers: Arithmetic<number> = {
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  square: (x) => x * x,
  neg: (x) => -x,
};

/** A*PO and OAPL: the squared error (beta2·δ - (r - V*))², without clipping or length normalisation. */
export function squaredError<X>(
  { square, sub, mul }: Arithmetic<X>,
  { delta, advantage }: LossRow<X>,
  beta2: number,
): X {
  return square(sub(mul(beta2, delta), advantage));
}

/** Policy gradient: -A·δ, whose gradient in S is -A; S_ref is a constant offset. Williams (1992). */
export function policyGradient<X>({ neg, mul }: Arithmetic<X>, { delta, advantage }: LossRow<X>): X {
  return neg(mul(advantage, delta));
}

/** One row of {@link apoLoss}. */
export interface ApoRow {
  /** Sum of the completion's log-probs under the policy, end token included, at the sampling temperature. */
  readonly logProb: number;
  /** The same under the reference. */
  readonly refLogProb: number;
  readonly reward: number;
  readonly vStar: number;
}

/**
 * The A*PO loss of a batch: mean((beta2·(logProb - refLogProb) - (reward - vStar))²).
 *
 * @throws RangeError without rows.
 */
export function apoLoss(rows: readonly ApoRow[], beta2: number): number {
  if (rows.length === 0) throw new RangeError('apoLoss: expected at least one row, found none');
  return mean(
    rows.map(({ logProb, refLogProb, reward, vStar }) =>
      squaredError(numbers, { delta: logProb - refLogProb, advantage: reward - vStar }, beta2),
    ),
  );
}

/** Keeps advantages finite when a group's rewards barely differ. TRL's value. */
const grpoEpsilon = 1e-4;

/**
 * GRPO: A = (r - mean) / (std + 1e-4) within groups of `groupSize` consecutive rows, samples of one problem. Shao et al.,
 * "DeepSeekMath" (2024), section 4.1.1; std is the sample's (n - 1), as in TRL. Departures: one update per batch, so the
 * ratio is 1 and its clipping never acts; sums over tokens instead of each completion's mean, which favours long wrong
 * answers (Liu et al., "Understanding R1-Zero-Like Training", 2025); no KL term.
 *
 * @throws RangeError when the rewards are not whole groups of at least 2.
 */
export function grpoAdvantages(rewards: readonly number[], groupSize: number): number[] {
  return inGroups(rewards, groupSize, (group) => {
    const centre = mean(group);
    const variance = group.reduce((sum, reward) => sum + (reward - centre) ** 2, 0) / (groupSize - 1);
    return group.map((reward) => (reward - centre) / (Math.sqrt(variance) + grpoEpsilon));
  });
}

/**
 * Dr. GRPO: A = r - mean within such groups. Liu et al., "Understanding R1-Zero-Like Training" (2025, arXiv 2503.20783),
 * section 3.2: without the standard deviation, which gives very easy and very hard problems more weight, and with sums over
 * tokens.
 *
 * @throws RangeError as {@link grpoAdvantages}.
 */
export function drGrpoAdvantages(rewards: readonly number[], groupSize: number): number[] {
  return inGroups(rewards, groupSize, (group) => {
    const centre = mean(group);
    return group.map((reward) => reward - centre);
  });
}

/**
 * RLOO: A = r - the mean reward of the other samples of the group, an unbiased baseline. Ahmadian et al., "Back to Basics"
 * (2024, arXiv 2402.14740), section 2.2. Equals n / (n - 1) times {@link drGrpoAdvantages}. Departure: no KL term in the
 * reward.
 *
 * @throws RangeError as {@link grpoAdvantages}.
 */
export function rlooAdvantages(rewards: readonly number[], groupSize: number): number[] {
  return inGroups(rewards, groupSize, (group) => {
    const sum = group.reduce((total, reward) => total + reward, 0);
    return group.map((reward) => reward - (sum - reward) / (groupSize - 1));
  });
}

/**
 * OAPL: A = r - V*, with V* = beta1 · log(mean(exp(r / beta1))) of the same group, whose samples come from the policy that
 * the loss regresses on, the lagged sampler. Ritter et al., "LLMs Can Learn to Reason Via Off-Policy RL" (2026, arXiv
 * 2602.19362).
 *
 * @throws RangeError as {@link grpoAdvantages}.
 */
export function oaplAdvantages(rewards: readonly number[], groupSize: number, beta1: number): number[] {
  return inGroups(rewards, groupSize, (group) => {
    const value = vStar(group, beta1);
    return group.map((reward) => reward - value);
  });
}

function inGroups(
  rewards: readonly number[],
  groupSize: number,
  advantagesOf: (group: readonly number[]) => number[],
): number[] {
  if (!(Number.isInteger(groupSize) && groupSize >= 2 && rewards.length % groupSize === 0)) {
    throw new RangeError(`expected groups of ${groupSize} >= 2 rewards, found ${rewards.length} rewards`);
  }
  const advantages: number[] = [];
  for (let start = 0; start < rewards.length; start += groupSize) {
    advantages.push(...advantagesOf(rewards.slice(start, start + groupSize)));
  }
  return advantages;
}

/** Decay of REINFORCE's running baseline, which averages over about ten batches. */
const baselineDecay = 0.9;

/** A = r - baseline: the mean reward of earlier batches, 0 before the first. Williams (1992), section 4. */
export function reinforceAdvantages(rewards: readonly number[], baseline: number | null): number[] {
  return rewards.map((reward) => reward - (baseline ?? 0));
}

/** The baseline after a batch: an exponential moving average of batch means, starting at the first. Saved in checkpoints. */
export function nextBaseline(baseline: number | null, rewards: readonly number[]): number {
  const latest = mean(rewards);
  return baseline === null ? latest : baselineDecay * baseline + (1 - baselineDecay) * latest;
}
