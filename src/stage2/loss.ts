/**
 * @file The losses of stage 2 on plain numbers: what each algorithm asks of the log-probability of each completion. Knows
 * nothing of tokens, models or tensors; the compiled step evaluates the same polynomial.
 *
 * All algorithms here see a completion through one number, δ = S - S_ref: the sum over its tokens, the end token included,
 * of log π(token) - log π_ref(token), both at the sampling temperature. Each loss is a polynomial of second degree in
 * δ, so one compiled training step serves them all:
 *
 *     loss = Σ_rows quadratic·δ² + linear·δ + constant
 *
 * Where A*PO leaves the paper (Brantley et al., "Accelerating RL for LLM Reasoning with Optimal Advantage Regression",
 * 2025, arXiv 2505.20686):
 *  1. log-probabilities are those at the sampling temperature, which the paper leaves open (its own is 1);
 *  2. a batch of rollouts gets exactly one update, so the rollouts are always the current policy's own;
 *  3. V* is estimated once per distinct problem, however often its row is drawn;
 *  4. problems none of whose samples is exact are left out by default (`--keep-unsolved` keeps them);
 *  5. beta1 = 0 is the mean, as in the authors' code, not the limit (see stage1/vstar.ts).
 */
import { mean } from '../util/statistics.js';

/** A loss in the polynomial form; lists have one number a row, and the 1/B of a mean over rows is already in them. */
export interface RowLoss {
  readonly quadratic: number;
  readonly linear: readonly number[];
  readonly constant: readonly number[];
}

/** The loss at δ: `deltas[i]` is S - S_ref of row i. */
export function lossAt(loss: RowLoss, deltas: readonly number[]): number {
  return deltas.reduce(
    (sum, delta, i) => sum + (loss.quadratic * delta + loss.linear[i]!) * delta + loss.constant[i]!,
    0,
  );
}

/** ∂loss/∂S of each row at δ. All zero: the batch has no signal. */
export function lossSlopes(loss: RowLoss, deltas: readonly number[]): number[] {
  return deltas.map((delta, i) => 2 * loss.quadratic * delta + loss.linear[i]!);
}

/**
 * A*PO: mean over rows of (beta2·δ - (r - V*))², the squared error of regressing the policy's implicit advantage on the
 * estimated one. No clipping, no length normalisation. Its slope is that of a policy gradient with advantage
 * r - V* - beta2·δ, times 2·beta2.
 */
export function apoRowLoss(rewards: readonly number[], vStars: readonly number[], beta2: number): RowLoss {
  const rows = countRows(rewards, vStars);
  const advantages = rewards.map((reward, i) => reward - vStars[i]!);
  return {
    quadratic: beta2 ** 2 / rows,
    linear: advantages.map((advantage) => (-2 * beta2 * advantage) / rows),
    constant: advantages.map((advantage) => advantage ** 2 / rows),
  };
}

/** One row of {@link apoLoss}. */
export interface ApoRow {
  /** Sum of the completion's log-probabilities under the policy, end token included, at the sampling temperature. */
  readonly logProb: number;
  /** The same under the reference. */
  readonly refLogProb: number;
  readonly reward: number;
  readonly vStar: number;
}

/** The A*PO loss of a batch: mean of (beta2·(logProb - refLogProb) - (reward - vStar))². */
export function apoLoss(rows: readonly ApoRow[], beta2: number): number {
  const loss = apoRowLoss(
    rows.map((row) => row.reward),
    rows.map((row) => row.vStar),
    beta2,
  );
  return lossAt(
    loss,
    rows.map((row) => row.logProb - row.refLogProb),
  );
}

/** Policy gradient: the loss -mean(A·δ), whose slope is -A/B (S_ref only shifts it). Williams (1992). */
export function policyGradientRowLoss(advantages: readonly number[]): RowLoss {
  const rows = countRows(advantages);
  return { quadratic: 0, linear: advantages.map((advantage) => -advantage / rows), constant: advantages.map(() => 0) };
}

/** Keeps an advantage finite where a group's rewards barely differ; TRL's value. */
const grpoEpsilon = 1e-4;

/**
 * GRPO: A = (r - mean) / (std + 1e-4) within groups of `groupSize` consecutive rows, samples of one problem. Shao et al.,
 * "DeepSeekMath" (2024), section 4.1.1; std is the sample's (n - 1), as in TRL. Where this leaves that paper: one update
 * per batch, so the ratio is 1 and its clipping never acts; sums over tokens instead of each completion's mean, which
 * favours long wrong answers (Liu et al., "Understanding R1-Zero-Like Training", 2025); no KL term.
 */
export function grpoAdvantages(rewards: readonly number[], groupSize: number): number[] {
  if (!(Number.isInteger(groupSize) && groupSize >= 2 && rewards.length % groupSize === 0)) {
    throw new RangeError(`${rewards.length} rewards are not groups of ${groupSize}, at least 2`);
  }
  return rewards.map((reward, i) => {
    const start = i - (i % groupSize);
    const group = rewards.slice(start, start + groupSize);
    const centre = mean(group);
    const variance = group.reduce((sum, other) => sum + (other - centre) ** 2, 0) / (groupSize - 1);
    return (reward - centre) / (Math.sqrt(variance) + grpoEpsilon);
  });
}

/** Weight of the past in REINFORCE's running baseline: about ten batches are remembered. */
const baselineDecay = 0.9;

/** A = r - baseline, the baseline being what earlier batches earned: Williams (1992), section 4; 0 before the first. */
export function reinforceAdvantages(rewards: readonly number[], baseline: number | null): number[] {
  return rewards.map((reward) => reward - (baseline ?? 0));
}

/** The baseline after a batch: an exponential mean of batch means that starts at the first. Part of a run's state. */
export function nextBaseline(baseline: number | null, rewards: readonly number[]): number {
  const latest = mean(rewards);
  return baseline === null ? latest : baselineDecay * baseline + (1 - baselineDecay) * latest;
}

function countRows(...lists: readonly (readonly number[])[]): number {
  const rows = lists[0]!.length;
  if (rows === 0 || lists.some((list) => list.length !== rows)) {
    throw new RangeError(`a loss over lists of ${lists.map((list) => list.length).join(' and ')} rows`);
  }
  return rows;
}
