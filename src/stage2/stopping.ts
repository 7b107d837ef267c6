/**
 * @file When stage 2 ends before its plan, and which update's model is kept: functions of the metrics so far, so that a resumed
 * run decides as an uninterrupted one. Held-out problems have no part in either.
 */
import { mean } from '../util/statistics.js';
import type { StepMetrics } from './step-metrics.js';

/** What the rules look at, one entry for each update from the first. */
export type History = readonly Pick<StepMetrics, 'step' | 'reward' | 'validationGreedy'>[];

export interface FlatRule {
  /** Updates of each of the two windows that are compared; at least 2. */
  readonly window: number;
  /** Updates before the first window: the learning rate still rises. */
  readonly after: number;
}

/**
 * Whether the mean training reward of the last `window` updates is not above that of the `window` updates before by more than one
 * standard error of their difference.
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

/** The update after which the run ends; undefined if none of `history` is the last by this rule. */
export function flatAt(history: History, rule: FlatRule): number | undefined {
  const end = history.findIndex((_, i) => isFlat(history.slice(0, i + 1), rule));
  return history[end]?.step;
}

/** The measured update with the highest accuracy on the validation problems; of equal ones the last. */
export function bestOf(history: History): { readonly step: number; readonly accuracy: number } | undefined {
  let best: { step: number; accuracy: number } | undefined;
  for (const { step, validationGreedy: accuracy } of history) {
    if (accuracy !== undefined && accuracy >= (best?.accuracy ?? 0)) best = { step, accuracy };
  }
  return best;
}
