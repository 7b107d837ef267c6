/**
 * @file The verdict between the stages: can reinforcement learning learn anything from these samples? Reads the rewards that
 * stage 1 kept; samples nothing.
 */
import { mean, passAtK } from '../util/statistics.js';
import type { Probe } from './probe.js';
import { isTrained, isVaried, type TrainedProblems } from './trained.js';
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
  /** Problems with an exact sample, and problems whose samples differ in reward. */
  readonly solved: number;
  readonly varied: number;
  /** Mean of |reward - V*| over the samples of those problems: the size of the first update's signal. */
  readonly meanAbsAdvantage: number;
  /**
   * The accuracy reached if every problem with an exact sample became certain: what sharpening alone can give on these
   * problems. Equal to `passAtN`; learning that generalises can pass it.
   */
  readonly ceiling: number;
  /** Absent where nobody asked about a run, or its algorithm has no fixed plan. */
  readonly plan?: PlannedRun;
  /** What the reference does with a few of the problems, with completions to look at. */
  readonly probe?: Probe;
  /** What the probe's completions say; no reason to worry. */
  readonly notes: readonly string[];
  /** What to do, most important first; empty when all is well. */
  readonly advice: readonly string[];
}

/** What stage 2 would do. */
interface PlannedRun {
  readonly updates: number;
  /** Updates in which the learning rate grows. */
  readonly warmup: number;
  /** Rollouts of an update. */
  readonly batchSize: number;
}

export interface PreflightOptions {
  readonly beta1: number;
  readonly trainOn: TrainedProblems;
  /** The run, from the number of problems that it trains on. */
  readonly plan?: PlannedRun | undefined;
  readonly probe?: Probe | undefined;
}

/** Updates below which little can be learned; `slowWarmup` is the share of the updates with a growing learning rate. */
const fewUpdates = 8;

/** Shares beyond which the user is warned, and above `mostlyTruncated` stopped. */
const limits = {
  truncated: 0.1,
  mostlyTruncated: 0.9,
  parseFail: 0.2,
  fewMixed: 0.1,
  nearlySolved: 0.95,
  slowWarmup: 0.5,
} as const;

/**
 * The verdict on the distinct training problems, each with the same number N >= 1 of samples.
 *
 * @throws RangeError without problems, or when their numbers of samples differ.
 */
export function preflight(
  entries: readonly VStarEntry[],
  { beta1, trainOn, plan, probe }: PreflightOptions,
): Preflight {
  const samples = entries[0]?.rewards.length ?? 0;
  if (samples === 0 || entries.some((entry) => entry.rewards.length !== samples)) {
    throw new RangeError('preflight wants problems with equally many samples');
  }
  const count = (flags: readonly boolean[]) => flags.filter(Boolean).length;
  const share = (n: number) => n / entries.length;
  const exact = entries.map((entry) => count(entry.exact));
  const histogram = Array.from({ length: samples + 1 }, (_, k) => exact.filter((n) => n === k).length);
  const trainable = entries.filter((entry) => isTrained(entry, trainOn));
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
    solved: exact.filter((n) => n > 0).length,
    varied: entries.filter(isVaried).length,
    meanAbsAdvantage: advantages.length === 0 ? 0 : mean(advantages),
  };
  // Rewards, not exactness, carry the signal: partial credit and free-form rewards differ without any exact sample.
  const withSignal = trainable.filter(isVaried).length;
  const advice = [...adviseOn(figures, withSignal, trainOn), ...adviseOnPlan(plan)];
  const hopeless = withSignal === 0 || figures.truncatedRate > limits.mostlyTruncated;
  const verdict = hopeless ? 'stop' : advice.length > 0 ? 'warn' : 'go';
  const notes = probe === undefined ? [] : notesOn(probe);
  const known = { ...(plan && { plan }), ...(probe && { probe }) };
  return { verdict, ...figures, ceiling: figures.passAtN, ...known, notes, advice };
}

/** The verdict on a whole V* file, without a run. */
export function preflightOf({ entries, beta1 }: VStarFile): Preflight {
  return preflight([...entries.values()], { beta1, trainOn: 'varied' });
}

type Figures = Omit<Preflight, 'verdict' | 'ceiling' | 'advice' | 'notes' | 'plan' | 'probe'>;

const percent = (share: number) => `${Math.round(100 * share)} %`;

function adviseOn(figures: Figures, withSignal: number, trainOn: TrainedProblems): string[] {
  const { problems, samplesPerProblem, passAtN, allRight, truncatedRate, parseFailRate } = figures;
  const advice: string[] = [];
  // Causes first: answers that are cut off or unreadable look like wrong ones in every figure below.
  if (truncatedRate > limits.truncated) {
    advice.push(
      `${percent(truncatedRate)} of the samples were cut off: raise --max-new-tokens, unless training is to teach the ` +
        'model to stop.',
    );
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
            `${samplesPerProblem}) or another model${trainOn === 'solved' ? ', or a graded reward with --train-on varied' : ''}.`
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

/** Gaps, in shares of completions, that are worth a word. */
const gaps = { unread: 0.15, greedy: 0.2 } as const;

/** What the probe's completions say about wording and temperature. */
function notesOn({ lastNumberRight, sampledExact, greedyExact }: Probe): string[] {
  const notes: string[] = [];
  if (lastNumberRight !== null && lastNumberRight - sampledExact > gaps.unread) {
    notes.push(
      `The last number is right in ${percent(lastNumberRight)} of the samples looked at, and only ` +
        `${percent(sampledExact)} are exact: the model knows more than it says in the form that is read, or goes on after ` +
        'the answer. Training teaches form first; another --wording may start higher.',
    );
  }
  if (greedyExact - sampledExact > gaps.greedy) {
    notes.push(
      `Greedy answers are exact in ${percent(greedyExact)}, samples in ${percent(sampledExact)}: the model knows and ` +
        'rambles when it samples, which is what training corrects. A lower --temperature starts higher.',
    );
  }
  return notes;
}

function adviseOnPlan(plan: PlannedRun | undefined): string[] {
  if (plan === undefined) return [];
  const { updates, warmup } = plan;
  if (updates < fewUpdates) {
    return [`The run has only ${updates} updates: raise --epochs or --num-train, or lower --batch-size.`];
  }
  return warmup / updates > limits.slowWarmup
    ? [`The learning rate grows during ${warmup} of the ${updates} updates: lower --warmup, or make more updates.`]
    : [];
}
