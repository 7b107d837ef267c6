/**
 * @file Recognises success by guessing. A model that guesses chooses one of several possible answers and does not know which is
 * right; reinforcement learning cannot teach it that (the star graph, docs/parity.md).
 */
import { formatWholePercent as percent } from '../util/format.js';
import { mean } from '../util/statistics.js';
import type { VStarEntry } from './v-star-file.js';

/** With fewer problems, guessing cannot be distinguished from skill. */
const enoughProblems = 30;
/** Nor with fewer right samples, or wrong ones. */
const enoughOutcomes = 30;
/** Above this, a difference is more than chance (the 95 % quantile of the normal distribution). */
const beyondChance = 1.645;
/** Above this correlation with the length, right samples differ from wrong ones. */
const lengthTells = 0.2;
/** If right answers were always the preferred ones, the figure of {@link preference} would have to reach this. */
const tellingPreference = 4;

/**
 * Success looks random if right samples are as long as wrong ones, and either it is equally frequent on all problems, like the
 * toss of one coin, or the model prefers some answers to others but not the right ones. Then nothing that was measured
 * tells right from wrong, so there may be nothing to reinforce.
 *
 * @param rate share of right samples.
 */
export function adviseOnGuessing(entries: readonly VStarEntry[], rate: number): string[] {
  const samples = entries[0]!.exact.length;
  const rarer = Math.min(rate, 1 - rate) * samples * entries.length;
  if (entries.length < enoughProblems || samples < 4 || rarer < enoughOutcomes) return [];
  if (entries.some(({ lengths }) => lengths.length === 0)) return [];
  if (Math.abs(lengthCorrelation(entries)) > lengthTells) return [];
  const counts = entries.map(({ exact }) => exact.filter(Boolean).length);
  const found =
    dispersion(counts, samples, rate) <= beyondChance
      ? `${percent(rate)} of the samples are correct on every problem alike`
      : prefersAtRandom(entries)
        ? `${percent(rate)} of the samples are correct; of many problems the model prefers one answer, but not more often the right one`
        : undefined;
  if (found === undefined) return [];
  return [
    `Success looks random: ${found}, and correct ones are as long as wrong ones. If the model only guesses one of about ` +
      `${Math.round(1 / rate)} possibilities, reinforcement learning cannot teach it which one is right ` +
      '(docs/parity.md, the star graph): read some samples with `tinyzero generate`.',
  ];
}

/**
 * How much more the counts of successes vary than with equal probabilities for all problems: Pearson's statistic as a
 * normal quantile, by Wilson and Hilferty's approximation (1931).
 */
function dispersion(counts: readonly number[], samples: number, rate: number): number {
  const expected = samples * rate;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2, 0) / (expected * (1 - rate));
  const freedom = counts.length - 1;
  const spread = 2 / (9 * freedom);
  return (Math.cbrt(statistic / freedom) - (1 - spread)) / Math.sqrt(spread);
}

/** Whether preferences are strong enough to show whether they are for right answers, and they are not. */
function prefersAtRandom(entries: readonly VStarEntry[]): boolean {
  const { found, most } = preference(entries);
  return most > tellingPreference && Math.abs(found) < beyondChance;
}

/**
 * Whether right answers are more frequent among a problem's samples than its wrong ones, as a normal quantile: 0 by chance, below
 * it if the model prefers wrong answers. A model that does not know which answer is right gives every exchange of labels among the
 * answers of a problem the same probability, so the sum over all problems has the mean and variance of drawing the right
 * ones' frequencies without replacement. Answers that were given once are left out, since those are often slips.
 *
 * @returns `found`, and `most`, the figure if the right answers were always the most frequent ones; 0 where texts are unknown.
 */
function preference(entries: readonly VStarEntry[]): { readonly found: number; readonly most: number } {
  let [found, most, variance] = [0, 0, 0];
  for (const { texts, exact } of entries) {
    const answers = new Map<number, { times: number; isRight: boolean }>();
    texts.forEach((text, i) => {
      answers.set(text, { times: (answers.get(text)?.times ?? 0) + 1, isRight: exact[i]! });
    });
    const repeated = [...answers.values()].filter(({ times }) => times > 1).sort((a, b) => b.times - a.times);
    const right = repeated.filter(({ isRight }) => isRight).length;
    if (right === 0 || right === repeated.length) continue;
    const average = mean(repeated.map(({ times }) => times));
    const sum = (some: typeof repeated) => some.reduce((total, { times }) => total + times - average, 0);
    found += sum(repeated.filter(({ isRight }) => isRight));
    most += sum(repeated.slice(0, right));
    const spread = mean(repeated.map(({ times }) => (times - average) ** 2));
    variance += (spread * right * (repeated.length - right)) / (repeated.length - 1);
  }
  return variance === 0
    ? { found: 0, most: 0 }
    : { found: found / Math.sqrt(variance), most: most / Math.sqrt(variance) };
}

/** Correlation of a sample's length with its success, both relative to the problem's means; 0 if either never varies. */
function lengthCorrelation(entries: readonly VStarEntry[]): number {
  let [product, lengthSquares, exactSquares] = [0, 0, 0];
  for (const { lengths, exact } of entries) {
    const [length, rate] = [mean(lengths), mean(exact.map(Number))];
    exact.forEach((isExact, i) => {
      const [x, y] = [lengths[i]! - length, Number(isExact) - rate];
      product += x * y;
      lengthSquares += x * x;
      exactSquares += y * y;
    });
  }
  return product === 0 ? 0 : product / Math.sqrt(lengthSquares * exactSquares);
}
