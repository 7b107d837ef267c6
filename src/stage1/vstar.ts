/**
 * @file The optimal value V* of a prompt, estimated from the rewards of reference completions. Pure.
 * Brantley et al., "Accelerating RL for LLM Reasoning with Optimal Advantage Regression" (2025, arXiv 2505.20686), stage 1.
 */

/**
 * V* = beta1 · log(mean(exp(r / beta1))).
 *
 * Computed as m + beta1 · log1p(mean(expm1((r - m) / beta1))) with m the largest reward. This neither overflows for small
 * beta1 nor loses precision for large beta1, where the usual beta1 · (logsumexp(r / beta1) - log n) loses all digits.
 *
 * Limits: beta1 = Infinity gives the mean. As beta1 -> 0 the value tends to the maximum, but beta1 = 0 itself gives the
 * *mean*, following the authors' code, where 0 disables the soft maximum.
 *
 * @throws RangeError without rewards, for a reward that is not finite, or for beta1 negative or NaN.
 */
export function vStar(rewards: readonly number[], beta1: number): number {
  if (rewards.length === 0) throw new RangeError('vStar: expected at least one reward, found none');
  if (!(beta1 >= 0)) throw new RangeError(`beta1 must be 0 or more, not ${beta1}`);
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (const reward of rewards) {
    if (!Number.isFinite(reward)) throw new RangeError(`rewards must be finite numbers, not ${reward}`);
    max = Math.max(max, reward);
    sum += reward;
  }
  const mean = sum / rewards.length;
  if (beta1 === 0 || beta1 === Number.POSITIVE_INFINITY) return mean;
  let deficit = 0;
  for (const reward of rewards) deficit += Math.expm1((reward - max) / beta1);
  const value = max + beta1 * Math.log1p(deficit / rewards.length);
  // V* lies between mean and maximum; rounding can push it outside by one unit in the last place.
  return Math.min(max, Math.max(mean, value));
}
