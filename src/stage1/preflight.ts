/**
 * @file The verdict between the stages: can reinforcement learning learn anything from these samples? Reads the rewards that
 * stage 1 kept; samples nothing.
 */
import { mean, passAtK } from '../util/statistics.js';
import type { VStarEntry, VStarFile } from './v-star-file.js';
import { vStar } from './vstar.js';

/**
 * `stop`: no sample differs from its problem's V*, so no gradient exists, or nearly all samples were cut off, so the rewards
 * say nothing of the answers. `warn`: little will be learned.
 */
type Verdict = 'go' | 'warn' | 'stop';

export interface Preflight {
  readonly verdict: Verdict;
  readonly problems: number;
  readonly samplesPerProblem: number;
  /** Share of exact samples: the accuracy of a single try. */
  readonly passAt1: number;
  /** Share of problems with an exact sample among all N. */
  readonly passAtN: number;
  /** `histogram[k]` problems have k exact samples, k = 0..N. */
  readonly histogram: readonly number[];
  /** Shares of problems by their exact samples: none, some, all. They add up to 1. */
  readonly allWrong: number;
  readonly mixed: number;
  readonly allRight: number;
  /** Share of samples cut off at the token limit. */
  readonly truncatedRate: number;
  /** Share of samples without an answer in the asked-for form. */
  readonly parseFailRate: number;
  /** Mean completion length in tokens. */
  readonly meanTokens: number;
  /** Problems that stage 2 would train on. */
  readonly trainable: number;
  /** Mean of |reward - V*| over the samples of those problems: the size of the first update's signal. */
  readonly meanAbsAdvantage: number;
  /**
   * The accuracy reached if every problem with an exact sample became certain: what sharpening alone can give on these
   * problems. Equal to `passAtN`; learning that generalises can pass it.
   */
  readonly ceiling: number;
  /** What to do, most important first; empty when all is well. */
  readonly advice: readonly string[];
}

export interface PreflightOptions {
  readonly beta1: number;
  /** Also train on problems without an exact sample. */
  readonly keepUnsolved: boolean;
}

/** Shares beyond which the user is warned, and above `mostlyTruncated` stopped. */
const limits = { truncated: 0.1, mostlyTruncated: 0.9, parseFail: 0.2, fewMixed: 0.1, nearlySolved: 0.95 } as const;

/**
 * The verdict on the distinct training problems, each with the same number N >= 1 of samples.
 *
 * @throws RangeError without problems, or when their numbers of samples differ.
 */
export function preflight(entries: readonly VStarEntry[], { beta1, keepUnsolved }: PreflightOptions): Preflight {
  const samples = entries[0]?.rewards.length ?? 0;
  if (samples === 0 || entries.some((entry) => entry.rewards.length !== samples)) {
    throw new RangeError('preflight wants problems with equally many samples');
  }
  const count = (flags: readonly boolean[]) => flags.filter(Boolean).length;
  const share = (n: number) => n / entries.length;
  const exact = entries.map((entry) => count(entry.exact));
  const histogram = Array.from({ length: samples + 1 }, (_, k) => exact.filter((n) => n === k).length);
  const trainable = entries.filter((entry) => isTrainable(entry, { keepUnsolved }));
  const advantages = trainable.flatMap(({ rewards }) => {
    const value = vStar(rewards, beta1);
    return rewards.map((reward) => Math.abs(reward - value));
  });
  const figures = {
    problems: entries.length,
    samplesPerProblem: samples,
    passAt1: mean(exact.map((n) => passAtK(samples, n, 1))),
    passAtN: mean(exact.map((n) => passAtK(samples, n, samples))),
    histogram,
    allWrong: share(histogram[0]!),
    mixed: share(exact.filter((n) => n > 0 && n < samples).length),
    allRight: share(histogram[samples]!),
    truncatedRate: mean(entries.map((entry) => count(entry.truncated) / samples)),
    parseFailRate: mean(entries.map((entry) => 1 - count(entry.parsed) / samples)),
    meanTokens: mean(entries.map((entry) => mean(entry.lengths))),
    trainable: trainable.length,
    meanAbsAdvantage: advantages.length === 0 ? 0 : mean(advantages),
  };
  // Rewards, not exactness, carry the signal: partial credit and free-form rewards differ without any exact sample.
  const withSignal = trainable.filter(({ rewards }) => rewards.some((reward) => reward !== rewards[0])).length;
  const advice = adviseOn(figures, withSignal, keepUnsolved);
  const hopeless = withSignal === 0 || figures.truncatedRate > limits.mostlyTruncated;
  const verdict = hopeless ? 'stop' : advice.length > 0 ? 'warn' : 'go';
  return { verdict, ...figures, ceiling: figures.passAtN, advice };
}

/** The verdict on a whole V* file, for training that leaves unsolved problems out. */
export function preflightOf({ entries, beta1 }: VStarFile): Preflight {
  return preflight([...entries.values()], { beta1, keepUnsolved: false });
}

/** Whether stage 2 trains on a problem: stage 1 solved it, or unsolved problems are kept. */
export function isTrainable(
  entry: VStarEntry | undefined,
  { keepUnsolved }: Pick<PreflightOptions, 'keepUnsolved'>,
): boolean {
  return keepUnsolved || (entry?.exact.includes(true) ?? false);
}

type Figures = Omit<Preflight, 'verdict' | 'ceiling' | 'advice'>;

function adviseOn(figures: Figures, withSignal: number, keepUnsolved: boolean): string[] {
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const { problems, samplesPerProblem, passAtN, allRight, truncatedRate, parseFailRate } = figures;
  const advice: string[] = [];
  // Causes first: answers that are cut off or unreadable look like wrong ones in every figure below.
  if (truncatedRate > limits.truncated) {
    advice.push(`${percent(truncatedRate)} of the samples were cut off: raise --max-new-tokens.`);
  }
  if (parseFailRate > limits.parseFail) {
    advice.push(
      `${percent(parseFailRate)} of the samples state no answer in a form that is read: look at some with ` +
        '`tinyzero generate`; a model that follows instructions needs its chat template in its folder.',
    );
  }
  if (withSignal === 0) {
    advice.push(
      allRight === 1
        ? 'Every sample is right: there is nothing left to learn here; take harder problems (--max).'
        : passAtN === 0
          ? `No sample of any problem is right: take easier problems (--max), more samples (--num-samples, now ` +
            `${samplesPerProblem}) or another model${keepUnsolved ? '' : ', or a graded reward with --keep-unsolved'}.`
          : 'All samples of a problem earn the same, so none is better than another: raise --temperature or --num-samples.',
    );
  } else if (withSignal / problems < limits.fewMixed) {
    advice.push(
      `Only ${withSignal} of ${problems} problems have samples of different reward, so updates will be few and noisy: ` +
        (passAtN < 0.5
          ? 'take easier problems or more samples (--num-samples).'
          : 'take harder problems or a higher --temperature.'),
    );
  } else if (figures.passAt1 > limits.nearlySolved) {
    advice.push(`The model already solves ${percent(figures.passAt1)}: harder problems would teach it more.`);
  }
  return advice;
}
