/**
 * @file The placebo of `--control shuffled-reward`: every rollout of an update gets the reward of another one, so rewards
 * carry no information about completions. Everything else is as in an ordinary run.
 *
 * Given the problem, such a reward is independent of the completion, so the expected policy gradient is 0 (E[∇ log π] = 0),
 * also for A*PO, where each problem keeps its own V*. A gain on held-out problems would then have a cause other than the
 * rewards, which is what the placebo detects. Imports nothing, since options load this file.
 */
import type { Random } from '../util/random.js';

export const controls = ['none', 'shuffled-reward'] as const;

/**
 * The rollouts, each with another one's score, permuted by Sattolo's algorithm: a single cycle, so none keeps its own. (A
 * uniform permutation would keep 1 / n of the signal.) A single rollout keeps its score.
 */
export function shuffledScores<R extends { readonly score: unknown }>(rollouts: readonly R[], random: Random): R[] {
  const from = rollouts.map((_, i) => i);
  for (let last = from.length - 1; last > 0; last--) {
    const other = random.int(0, last - 1);
    [from[last], from[other]] = [from[other]!, from[last]!];
  }
  return rollouts.map((rollout, i) => ({ ...rollout, score: rollouts[from[i]!]!.score }));
}
