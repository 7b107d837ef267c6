/**
 * @file The check between the stages: can reinforcement learning learn anything from these samples? Uses the rewards of
 * stage 1 and draws no new samples.
 */
import { counted, formatWholePercent as percent } from '../util/format.js';
import { mean, passAtK } from '../util/statistics.js';
import { adviseOnGuessing } from './guessing.js';
import type { Probe } from './probe-file.js';
import { isTrained, isVaried, type TrainedProblems } from './trained-problems.js';
import type { VStarEntry, VStarFile } from './v-star-file.js';
import { vStar } from './vstar.js';

/**
 * `stop`: no sample differs from its problem's V*, so there is no gradient; or nearly all samples were cut off, so the
 * rewards do not measure the answers. `warn`: the run will learn little.
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
  /** Share of samples cut off at the token limit; null if another program drew them and did not record it. */
  readonly truncatedRate: number | null;
  /** Share of samples without an answer in the requested form; null as above. */
  readonly parseFailRate: number | null;
  /** Mean completion length in tokens; null as above. */
  readonly meanTokens: number | null;
  /** Problems that stage 2 would train on. */
  readonly trainable: number;
  /** Problems with at least one exact sample. */
  readonly solved: number;
  /** Problems whose samples differ in reward. */
  readonly varied: number;
  /** Mean of |reward - V*| over the samples of the trainable problems: the size of the first update's signal. */
  readonly meanAbsAdvantage: number;
  /** Share of these samples whose reward differs from V*: the rollouts of the first updates that carry a signal. */
  readonly signalShare: number;
  /**
   * The accuracy if every problem with an exact sample were always solved: the most that sharpening alone can reach on
   * these problems. Equal to `passAtN`. Learning that generalises can exceed it.
   */
  readonly ceiling: number;
  /** Absent for a V* file without a run. */
  readonly plan?: PlannedRun;
  /** The reference's answers to a few of the problems, with example completions. */
  readonly probe?: Probe;
  /** Observations about the probe's completions; they do not affect the verdict. */
  readonly notes: readonly string[];
  /** Recommended changes, most important first; empty for `go`. */
  readonly advice: readonly string[];
}

/** Size of stage 2. */
interface PlannedRun {
  readonly updates: number;
  /** Updates during which the learning rate rises. */
  readonly warmup: number;
  /** Rollouts per update. */
  readonly batchSize: number;
}

export interface PreflightOptions {
  readonly beta1: number;
  readonly trainOn: TrainedProblems;
  readonly plan?: PlannedRun | undefined;
  readonly probe?: Probe | undefined;
}

/** Smaller advantages count as none. */
const noAdvantage = 1e-6;

/** A run with fewer updates learns little. */
const fewUpdates = 8;

/** Shares above which the verdict is `warn` (`mostlyTruncated`: `stop`). `slowWarmup` is a share of the updates. */
const limits = {
  truncated: 0.1,
  mostlyTruncated: 0.9,
  parseFail: 0.2,
  fewMixed: 0.1,
  nearlySolved: 0.95,
  slowWarmup: 0.5,
} as const;

/**
 * Judges the distinct training problems, each with the same number N >= 1 of samples.
 *
 * @throws RangeError without problems, or when their numbers of samples differ.
 */
export function preflight(
  entries: readonly VStarEntry[],
  { beta1, trainOn, plan, probe }: PreflightOptions,
): Preflight {
  const samples = entries[0]?.rewards.length ?? 0;
  if (samples === 0 || entries.some((entry) => entry.rewards.length !== samples)) {
    throw new RangeError('preflight: expected problems with the same number of samples, at least one');
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
    truncatedRate: meanIfKnown(entries.map((entry) => entry.truncated.map(Number))),
    parseFailRate: meanIfKnown(entries.map((entry) => entry.parsed.map((parsed) => Number(!parsed)))),
    meanTokens: meanIfKnown(entries.map((entry) => entry.lengths)),
    trainable: trainable.length,
    solved: exact.filter((n) => n > 0).length,
    varied: entries.filter(isVaried).length,
    meanAbsAdvantage: advantages.length === 0 ? 0 : mean(advantages),
    signalShare: advantages.length === 0 ? 0 : mean(advantages.map((size) => Number(size > noAdvantage))),
  };
  // Rewards, not exactness, carry the signal: partial credit and free-form rewards differ without any exact sample.
  const withSignal = trainable.filter(isVaried).length;
  const advice = [
    ...adviseOn(figures, withSignal, trainOn),
    ...adviseOnGuessing(entries, figures.passAt1),
    ...adviseOnPlan(plan),
  ];
  const hopeless = withSignal === 0 || (figures.truncatedRate ?? 0) > limits.mostlyTruncated;
  const verdict = hopeless ? 'stop' : advice.length > 0 ? 'warn' : 'go';
  const notes = probe === undefined ? [] : notesOn(probe);
  const known = { ...(plan && { plan }), ...(probe && { probe }) };
  return { verdict, ...figures, ceiling: figures.passAtN, ...known, notes, advice };
}

/** Mean over the problems of the mean over their samples; null if it is not known of every sample. */
function meanIfKnown(samples: readonly (readonly number[])[]): number | null {
  return samples.some((values) => values.length === 0) ? null : mean(samples.map(mean));
}

/** Judges a whole V* file, without a run. */
export function preflightOf({ entries, beta1 }: VStarFile): Preflight {
  return preflight([...entries.values()], { beta1, trainOn: 'varied' });
}

type Figures = Omit<Preflight, 'verdict' | 'ceiling' | 'advice' | 'notes' | 'plan' | 'probe'>;

function adviseOn(figures: Figures, withSignal: number, trainOn: TrainedProblems): string[] {
  const { problems, samplesPerProblem, passAtN, allRight } = figures;
  const [truncatedRate, parseFailRate] = [figures.truncatedRate ?? 0, figures.parseFailRate ?? 0];
  const advice: string[] = [];
  // Causes first: a truncated or unreadable answer counts as wrong in every figure below.
  if (truncatedRate > limits.truncated) {
    advice.push(
      `${percent(truncatedRate)} of the samples were cut off: raise --max-new-tokens, unless the model should learn to ` +
        'stop earlier.',
    );
  }
  // Those that were cut off had no chance to end in an answer.
  if (parseFailRate - truncatedRate > limits.parseFail) {
    advice.push(
      `${percent(parseFailRate)} of the samples have no answer in a recognised form: read some with ` +
        '`tinyzero generate`. An instruction-tuned model needs its chat template in its folder.',
    );
  }
  if (withSignal === 0) {
    advice.push(
      allRight === 1
        ? 'Every sample is correct, so there is nothing left to learn: use harder problems (--max).'
        : passAtN === 0
          ? `No sample of any problem is correct: use easier problems (--max), more samples (--num-samples, now ` +
            `${samplesPerProblem}) or another model${trainOn === 'solved' ? ', or a graded reward with --train-on varied' : ''}.`
          : 'All samples of a problem have the same reward: raise --temperature or --num-samples.',
    );
  } else if (withSignal / problems < limits.fewMixed) {
    advice.push(
      `Only ${withSignal} of ${problems} problems have samples with different rewards, so updates will be few and noisy: ` +
        (passAtN < 0.5
          ? 'use easier problems or more samples (--num-samples).'
          : 'use harder problems or a higher --temperature.'),
    );
  } else if (figures.passAt1 > limits.nearlySolved) {
    advice.push(
      `The model is already correct in ${percent(figures.passAt1)} of its attempts: harder problems would teach it more.`,
    );
  }
  return advice;
}

/** Differences between shares of completions that are worth a note. */
const gaps = { unread: 0.15, greedy: 0.2 } as const;

/** Notes on wording and temperature, from the probe's completions. */
function notesOn({ lastNumberRight, sampledExact, greedyExact }: Probe): string[] {
  const notes: string[] = [];
  if (lastNumberRight !== null && lastNumberRight - sampledExact > gaps.unread) {
    notes.push(
      `The last number is correct in ${percent(lastNumberRight)} of the probed samples, but only ` +
        `${percent(sampledExact)} are exact: the model often gives the answer in another form, or continues after it. ` +
        'Training fixes the form first; another --wording may start higher.',
    );
  }
  if (greedyExact - sampledExact > gaps.greedy) {
    notes.push(
      `${percent(greedyExact)} of the greedy answers are exact, but only ${percent(sampledExact)} of the samples: the ` +
        'model knows the answer but often samples another one, which training corrects. A lower --temperature starts higher.',
    );
  }
  return notes;
}

function adviseOnPlan(plan: PlannedRun | undefined): string[] {
  if (plan === undefined) return [];
  const { updates, warmup } = plan;
  if (updates < fewUpdates) {
    return [`The run has only ${counted(updates, 'update')}: raise --epochs or --num-train, or lower --batch-size.`];
  }
  return warmup / updates > limits.slowWarmup
    ? [`The learning rate rises during ${warmup} of the ${updates} updates: lower --warmup, or train for more updates.`]
    : [];
}
