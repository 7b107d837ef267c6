/**
 * @file When stage 2 stops before the end of its plan, and which update's model is kept. Both are functions of the metrics so far,
 * so a resumed run decides as an uninterrupted one does. Held-out problems play no part in either.
 */
import { mean } from '../util/statistics.js';
import type { StepMetrics } from './step-metrics.js';

/** The input of the rules: one entry per update, from the first. */
export type History = readonly Pick<StepMetrics, 'step' | 'reward' | 'validationGreedy'>[];

export interface FlatRule {
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
