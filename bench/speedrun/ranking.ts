/** @file What counts in the speedrun, and the ranking of the entries. Pure. */
import { median } from '../measure.js';

/** The goal: held-out sampled accuracy, and the p-value of its gain over the model before training. */
export const goal = { accuracy: 0.9, pValue: 0.001 } as const;

/** One run of an entry, as the referee judged it. */
export interface Attempt {
  readonly entry: string;
  readonly seed: number;
  /** From the start of the process to its end. */
  readonly seconds: number;
  readonly accuracy: number;
  readonly pValue: number;
  /** Load of the machine when it began. */
  readonly load: number;
}

export interface Ranked {
  readonly entry: string;
  /** Median over the seeds, where one that missed the goal counts as never: null if most did. */
  readonly seconds: number | null;
  readonly reached: number;
  readonly seeds: number;
  readonly meanAccuracy: number;
  readonly attempts: readonly Attempt[];
}

export const reachedGoal = ({ accuracy, pValue }: Attempt) => accuracy >= goal.accuracy && pValue < goal.pValue;

/** The entries, the fastest first; those that did not reach the goal last, by accuracy. */
export function rank(attempts: readonly Attempt[]): Ranked[] {
  const names = [...new Set(attempts.map(({ entry }) => entry))];
  const ranked = names.map((entry): Ranked => {
    const own = attempts.filter((attempt) => attempt.entry === entry);
    const seconds = median(own.map((each) => (reachedGoal(each) ? each.seconds : Number.POSITIVE_INFINITY)));
    return {
      entry,
      seconds: Number.isFinite(seconds) ? seconds : null,
      reached: own.filter(reachedGoal).length,
      seeds: own.length,
      meanAccuracy: own.reduce((sum, { accuracy }) => sum + accuracy, 0) / own.length,
      attempts: own,
    };
  });
  const order = ({ seconds }: Ranked) => seconds ?? Number.POSITIVE_INFINITY;
  return ranked.sort((a, b) => (order(a) === order(b) ? b.meanAccuracy - a.meanAccuracy : order(a) - order(b)));
}

/** The table of docs/speedrun.md. */
export function rankingTable(ranked: readonly Ranked[], titles: ReadonlyMap<string, string>): string {
  const seconds = ({ attempts }: Ranked) => {
    const all = attempts.map((attempt) => attempt.seconds);
    return `${Math.min(...all).toFixed(1)} to ${Math.max(...all).toFixed(1)}`;
  };
  return [
    '| entry | seconds, median | range | reached | held-out sampled accuracy, mean |',
    '| --- | --- | --- | --- | --- |',
    ...ranked.map(
      (each) =>
        `| ${titles.get(each.entry) ?? each.entry} | ${each.seconds?.toFixed(2) ?? 'not reached'} | ${seconds(each)} | ${each.reached} of ${each.seeds} | ${each.meanAccuracy.toFixed(3)} |`,
    ),
  ].join('\n');
}
