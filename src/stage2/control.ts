/**
 * @file The placebo of `--control shuffled-reward`: every rollout of an update is given the reward of another, so that rewards say
 * nothing about completions, and everything else is as in an ordinary run.
 *
 * Given the problem, such a reward is independent of the completion, so the expected policy gradient is 0 (E[∇ log π] = 0), for A*PO,
 * whose V* stays the problem's own, as for the others. A gain on held-out problems would then come from something other than what
 * the rewards tell, which is what the placebo is there to find. Imports nothing, since options load this file.
 */
import type { Random } from '../util/random.js';

export const controls = ['none', 'shuffled-reward'] as const;

/**
 * The rollouts, each with the score of another: by Sattolo's algorithm, a cycle through all of them, so that none keeps its own.
 * (A permutation that may keep some would leave 1 / n of the signal.)
 * A single rollout keeps its own.
 */
export function shuffledScores<R extends { readonly score: unknown }>(rollouts: readonly R[], random: Random): R[] {
  const from = rollouts.map((_, i) => i);
  for (let last = from.length - 1; last > 0; last--) {
    const other = random.int(0, last - 1);
    [from[last], from[other]] = [from[other]!, from[last]!];
  }
  return rollouts.map((rollout, i) => ({ ...rollout, score: rollouts[from[i]!]!.score }));
}
