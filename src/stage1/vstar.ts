/**
 * @file The optimal value of a prompt, estimated from the rewards of reference completions: numbers in, a number out.
 * Brantley et al., "Accelerating RL for LLM Reasoning with Optimal Advantage Regression" (2025, arXiv 2505.20686), stage 1.
 */

/**
 * V* = beta1 · log(mean(exp(r / beta1))).
 *
 * Computed as m + beta1 · log1p(mean(expm1((r - m) / beta1))) with m the largest reward, which neither overflows at small
 * beta1 nor loses digits at large (the usual beta1 · (logsumexp(r / beta1) - log n) loses all of them there).
 *
 * The limits: beta1 = Infinity gives the mean. The limit for beta1 -> 0 is the maximum, yet beta1 = 0 gives the *mean*
 * here, the convention of the authors' code, where 0 switches the soft maximum off.
 *
 * @throws RangeError without rewards, for a reward that is not finite, or for beta1 negative or NaN.
 */
export function vStar(rewards: readonly number[], beta1: number): number {
  if (rewards.length === 0) throw new RangeError('V* of no rewards');
  if (!(beta1 >= 0)) throw new RangeError(`beta1 must be 0 or more, not ${beta1}`);
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  for (const reward of rewards) {
    if (!Number.isFinite(reward)) throw new RangeError(`a reward is ${reward}`);
    max = Math.max(max, reward);
    sum += reward;
  }
  const mean = sum / rewards.length;
  if (beta1 === 0 || beta1 === Number.POSITIVE_INFINITY) return mean;
  let deficit = 0;
  for (const reward of rewards) deficit += Math.expm1((reward - max) / beta1);
  const value = max + beta1 * Math.log1p(deficit / rewards.length);
  // V* lies between mean and maximum; rounding may leave that range by a unit in the last place.
  return Math.min(max, Math.max(mean, value));
}
