/**
 * @file The losses of stage 2 and their advantages. A loss is written once, over an abstract arithmetic: the training step
 * traces it with tensors, while tests and the library call it with numbers.
 *
 * Every loss sees a completion through δ = S - S_ref: the sum over its tokens, the end token included, of
 * log π(token) - log π_ref(token), both at the sampling temperature. The loss of a batch is the mean over its rows. In OAPL,
 * π_ref is the policy that drew the completion, with the log-probs that it reported. In TBRM, V_θ(prompt) is added to δ.
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

/**
 * A*PO and OAPL: the squared error (beta2·δ - (r - V*))², without clipping or length normalisation.
 *
 * TBRM: the squared trajectory Bellman residual of logits as Q-values, with A = r and V_θ(prompt) = log Σ exp(logits of the
 * first token) in δ. The paper has (logit(first token) + Σ log π(later tokens) - r / beta - S_ref)², with the logit
 * V_θ + log π: this is beta2² times that. Yuan et al., "Trajectory Bellman Residual Minimization" (2025, arXiv 2505.15311),
 * equation 4.
 */
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
    const deviation = Math.sqrt(variance(group));
    return centred(group).map((reward) => reward / (deviation + grpoEpsilon));
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
  return inGroups(rewards, groupSize, centred);
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

/** Keeps advantages finite when those of a batch barely differ. The authors' value. */
const spoEpsilon = 1e-8;

/**
 * SPO: A = (a - mean) / (std + 1e-8) over the batch, where a = r - v, with the value v of the problem before the batch
 * (value-tracker.ts). Xu and Ding, "Single-stream Policy Optimization" (2025, arXiv 2509.13232), section 3; std is the sample's
 * (n - 1), as in the authors' program. Departure: one update per batch, so the ratio is 1 and its clipping never acts; sums over
 * tokens. A single rollout has no deviation, so its advantage is 0.
 */
export function spoAdvantages(rewards: readonly number[], values: readonly number[]): number[] {
  const errors = rewards.map((reward, i) => reward - values[i]!);
  if (errors.length < 2) return errors.map(() => 0);
  const deviation = Math.sqrt(variance(errors));
  return centred(errors).map((error) => error / (deviation + spoEpsilon));
}

const centred = (values: readonly number[]) => {
  const centre = mean(values);
  return values.map((value) => value - centre);
};

/** Of a sample, with n - 1. */
const variance = (values: readonly number[]) =>
  centred(values).reduce((sum, value) => sum + value ** 2, 0) / (values.length - 1);

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
