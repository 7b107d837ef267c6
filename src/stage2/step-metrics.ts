/**
 * @file The metrics recorded for every update, and what they decide: whether stage 2 stops before the end of its plan, and
 * which update's model is kept. Both are functions of the metrics so far, so a resumed run decides as an uninterrupted one
 * does. Held-out problems play no part in either.
 */
import { mean } from '../util/statistics.js';

/** One line of metrics.jsonl; docs/metrics.md has the formulas. */
export interface StepMetrics {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly reward: number;
  readonly exactRate: number;
  readonly formatRate: number;
  readonly truncatedRate: number;
  readonly meanTokens: number;
  /** Mean |advantage|; for A*PO, of r - V* - beta2·δ. */
  readonly meanAbsAdvantage: number;
  /** Mean δ = S - S_ref: an estimate of the divergence from the reference per completion, in nats. */
  readonly kl: number;
  /** Mean of -log π(token): an estimate of the entropy per token, in nats. */
  readonly entropy: number;
  /** With a value tracker: means over the rollouts' problems of v before the update, of rho and of D (value-tracker.ts). */
  readonly trackedValue?: number;
  readonly trackedRetention?: number;
  readonly trackedDivergence?: number;
  /** TBRM: mean beta2·V_θ(prompt), in units of reward. */
  readonly promptValue?: number;
  /** Absent if a server trains, which does not report it. */
  readonly gradientNorm?: number;
  readonly learningRate: number;
  /** Largest |sampled - scored log-prob| of a token. */
  readonly samplerDifference: number;
  /** Mean of the same over the update's tokens. */
  readonly samplerMeanDifference: number;
  /** False if all advantages were zero. */
  readonly signal: boolean;
  readonly sampledTokens: number;
  /** Greedy accuracy on held-out problems after this update, when evaluated. For monitoring only. */
  readonly heldOutGreedy?: number;
  /** Greedy accuracy on the validation problems after this update, when evaluated. `--keep best` chooses by it. */
  readonly validationGreedy?: number;
}

/** The input of the rules: one entry per update, from the first. */
export type History = readonly Pick<StepMetrics, 'step' | 'reward' | 'validationGreedy'>[];

interface FlatRule {
  /** Updates of each of the two windows that are compared; at least 2. */
  readonly window: number;
  /** Updates before the first window, while the learning rate rises. */
  readonly after: number;
}

/**
 * Whether the mean training reward of the last `window` updates exceeds that of the `window` updates before them by at most one
 * standard error of the difference.
 */
export function isFlat(history: History, { window, after }: FlatRule): boolean {
  if (history.length < after + 2 * window) return false;
  const rewards = history.slice(-2 * window).map(({ reward }) => reward);
  const [earlier, later] = [rewards.slice(0, window), rewards.slice(window)];
  const error = Math.sqrt((variance(earlier) + variance(later)) / window);
  return mean(later) - mean(earlier) <= error;
}

function variance(values: readonly number[]): number {
  const center = mean(values);
  return values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1);
}

/** The update after which the run stops; undefined if the rule does not apply to any update so far. */
export function flatAt(history: History, rule: FlatRule): number | undefined {
  const end = history.findIndex((_, i) => isFlat(history.slice(0, i + 1), rule));
  return history[end]?.step;
}

/** The update with the highest accuracy on the validation problems; the last of equal ones. */
export function bestOf(history: History): { readonly step: number; readonly accuracy: number } | undefined {
  let best: { step: number; accuracy: number } | undefined;
  for (const { step, validationGreedy: accuracy } of history) {
    if (accuracy !== undefined && accuracy >= (best?.accuracy ?? 0)) best = { step, accuracy };
  }
  return best;
}
