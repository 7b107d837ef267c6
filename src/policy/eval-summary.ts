/**
 * @file Summarises an evaluation: graded completions of each problem in, the object of `eval --json` out. Pure. Exact match,
 * mean reward, format rate and truncation are always separate numbers.
 */
import type { Problem } from '../data/problem.js';
import { scoreCompletion, type Task } from '../data/task.js';
import type { Score } from '../reward/score.js';
import { keyedRandom } from '../util/random.js';
import { type Cluster, clusterBootstrap, type Interval, mean, passAtK, wilsonInterval } from '../util/statistics.js';

/** One graded completion. */
export interface Outcome {
  readonly text: string;
  readonly score: Score;
  /** Whether the model ended the completion; false if it was cut off at the token limit. */
  readonly finished: boolean;
  /** Tokens drawn, including the end token. */
  readonly tokens: number;
  /** The completion token by token, where that is kept. */
  readonly drawn?: DrawnTokens;
}

/** A completion token by token; both lists have one item per token. */
export interface DrawnTokens {
  /** The text that each token added; joined, the completion. Empty for the end token and inside a split character. */
  readonly pieces: readonly string[];
  /** Log-prob of each token at the sampling temperature, in nats, to four decimal places. */
  readonly logProbs: readonly number[];
}

/** All completions of one problem: the greedy one and k >= 0 samples, with the same k for all problems. */
export interface ProblemOutcomes<P = unknown> {
  readonly problem: Problem<P>;
  readonly greedy: Outcome;
  readonly samples: readonly Outcome[];
}

/** One completion of one problem. */
interface CompletionResult {
  readonly completion: string;
  readonly reward: number;
  readonly exact: boolean;
  readonly parsed: boolean;
  readonly truncated: boolean;
  readonly tokens: number;
}

/** Number of correct answers among `total`, with a 95 % interval. */
interface ExactRate<Ci95 = Interval> {
  readonly correct: number;
  readonly total: number;
  readonly rate: number;
  readonly ci95: Ci95;
}

/** Means over the samples of one problem; `exact` is the number of correct ones. */
interface SampledResult {
  readonly exact: number;
  readonly exactRate: number;
  readonly meanReward: number;
  readonly formatRate: number;
  readonly truncatedRate: number;
  readonly meanTokens: number;
}

export interface ProblemSummary {
  readonly id: string;
  readonly cluster: string;
  readonly problem: unknown;
  readonly greedy: CompletionResult;
  readonly sampled?: SampledResult;
  /** The first sample, as an unselected example. */
  readonly firstSample?: CompletionResult & DrawnTokens;
}

export interface EvalSummary {
  /** Name of the model as given by the user. */
  readonly model: string;
  readonly task: string;
  /** Distinct problems. */
  readonly problems: number;
  /** Groups of related problems, which count as one observation. */
  readonly clusters: number;
  readonly greedy: {
    /** With Wilson's interval, which treats problems as independent. */
    readonly exact: ExactRate;
    readonly meanReward: number;
    readonly formatRate: number;
    readonly truncatedRate: number;
    readonly meanTokens: number;
  };
  /** Absent if nothing was sampled. */
  readonly sampled?: {
    readonly samplesPerProblem: number;
    readonly temperature: number;
    /** With a bootstrap interval over clusters; null with one cluster, or if all clusters have the same rate. */
    readonly exact: ExactRate<Interval | null>;
    readonly meanReward: number;
    /** pass@k by k = 1..samplesPerProblem: the mean over problems of the unbiased estimate. */
    readonly passAt: Readonly<Record<string, number>>;
    readonly formatRate: number;
    readonly truncatedRate: number;
    readonly meanTokens: number;
  };
  /** The best mean reward of a constant answer to every problem; null if the task gives no solutions. */
  readonly constantAnswer: { readonly answer: string | number; readonly meanReward: number } | null;
  readonly perProblem: readonly ProblemSummary[];
}

export interface EvalContext<P> {
  readonly model: string;
  readonly task: Task<P>;
  /** Temperature of the samples. */
  readonly temperature: number;
}

/** @throws RangeError without problems, or when their numbers of samples differ. */
export function summarizeEvaluation<P>(
  outcomes: readonly ProblemOutcomes<P>[],
  { model, task, temperature }: EvalContext<P>,
): EvalSummary {
  const samplesPerProblem = outcomes[0]?.samples.length ?? 0;
  if (outcomes.length === 0 || outcomes.some(({ samples }) => samples.length !== samplesPerProblem)) {
    throw new RangeError('summarizeEvaluation: expected problems with the same number of samples');
  }
  const perProblem = outcomes.map(summarizeProblem);
  const correct = perProblem.filter(({ greedy }) => greedy.exact).length;
  const total = outcomes.length;
  return {
    model,
    task: task.name,
    problems: total,
    clusters: new Set(perProblem.map(({ cluster }) => cluster)).size,
    greedy: {
      exact: { correct, total, rate: correct / total, ci95: wilsonInterval(correct, total) },
      ...rates(outcomes.map(({ greedy }) => greedy)),
    },
    ...(samplesPerProblem > 0 && { sampled: summarizeSamples(outcomes, perProblem, samplesPerProblem, temperature) }),
    constantAnswer: bestConstantAnswer(
      task,
      outcomes.map(({ problem }) => problem.value),
    ),
    perProblem,
  };
}

function summarizeSamples(
  outcomes: readonly ProblemOutcomes[],
  perProblem: readonly ProblemSummary[],
  samplesPerProblem: number,
  temperature: number,
): EvalSummary['sampled'] {
  const exact = perProblem.map(({ sampled }) => sampled!.exact);
  const clusters = new Map<string, Cluster>();
  for (const [i, { cluster }] of perProblem.entries()) {
    const { sum, count } = clusters.get(cluster) ?? { sum: 0, count: 0 };
    clusters.set(cluster, { sum: sum + exact[i]!, count: count + samplesPerProblem });
  }
  const correct = exact.reduce((sum, count) => sum + count, 0);
  const total = perProblem.length * samplesPerProblem;
  const passAt = (k: number) => mean(exact.map((count) => passAtK(samplesPerProblem, count, k)));
  return {
    samplesPerProblem,
    temperature,
    // A fixed key, so that the same outcomes always give the same interval.
    exact: {
      correct,
      total,
      rate: correct / total,
      ci95: clusterBootstrap([...clusters.values()], keyedRandom('ci95')),
    },
    passAt: Object.fromEntries(Array.from({ length: samplesPerProblem }, (_, i) => [`${i + 1}`, passAt(i + 1)])),
    ...rates(outcomes.flatMap(({ samples }) => samples)),
  };
}

function summarizeProblem({ problem, greedy, samples }: ProblemOutcomes): ProblemSummary {
  const right = samples.filter(({ score }) => score.exact).length;
  const first = samples[0];
  return {
    id: problem.id,
    cluster: problem.cluster,
    problem: problem.value,
    greedy: resultOf(greedy),
    ...(samples.length > 0 && { sampled: { exact: right, exactRate: right / samples.length, ...rates(samples) } }),
    ...(first?.drawn && { firstSample: { ...resultOf(first), ...first.drawn } }),
  };
}

function resultOf({ text, score: { reward, exact, parsed }, finished, tokens }: Outcome): CompletionResult {
  return { completion: text, reward, exact, parsed, truncated: !finished, tokens };
}

function rates(outcomes: readonly Outcome[]) {
  return {
    meanReward: mean(outcomes.map(({ score }) => score.reward)),
    formatRate: mean(outcomes.map(({ score }) => Number(score.parsed))),
    truncatedRate: mean(outcomes.map(({ finished }) => Number(!finished))),
    meanTokens: mean(outcomes.map(({ tokens }) => tokens)),
  };
}

/**
 * The solution among those of `problems` that would earn most as an answer to all of them; the first of equals. `answer` is
 * the number if the solution is `72` or `answer: 72`, otherwise its text.
 */
export function bestConstantAnswer<P>(task: Task<P>, problems: readonly P[]): EvalSummary['constantAnswer'] {
  const { solution } = task;
  // A judge is not asked about completions that no model produced.
  if (!solution || task.asyncReward) return null;
  let best: { answer: string | number; meanReward: number } | null = null;
  for (const text of new Set(problems.map((problem) => solution(problem)))) {
    const rewards = problems.map((problem) => scoreCompletion(task, text, problem, { finished: true }).reward);
    const meanReward = mean(rewards);
    if (best !== null && meanReward <= best.meanReward) continue;
    const number = /^(?:answer: )?(-?\d+)$/.exec(text)?.[1];
    best = { answer: number === undefined ? text : Number(number), meanReward };
  }
  return best;
}
