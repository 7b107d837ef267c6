/**
 * @file Compares two evaluations of the same problems: is one model better, or could the difference be chance? Also reads
 * an evaluation from its file.
 */
import { UserError } from '../util/errors.js';
import { type JsonRecord, quote, readJsonRecord } from '../util/json.js';
import { keyedRandom } from '../util/random.js';
import {
  anything,
  check,
  flag,
  integer,
  type JsonSource,
  list,
  mapOf,
  mustBe,
  number,
  object,
  optional,
  orNull,
  pair,
  share,
  text,
  union,
  wrong,
} from '../util/schema.js';
import { clusterBootstrap, type Interval, mcnemarExact, signFlipTest } from '../util/statistics.js';
import type { EvalSummary } from './eval-summary.js';

/** The parts of an evaluation that a comparison needs; an {@link EvalSummary} qualifies. */
export interface ComparableEvaluation {
  readonly model: string;
  readonly perProblem: readonly {
    readonly id: string;
    readonly cluster: string;
    readonly greedy: { readonly exact: boolean };
    readonly sampled?: { readonly exactRate: number };
  }[];
}

export interface Comparison {
  /** Name of the other model. Differences are the evaluation minus this model's. */
  readonly model: string;
  /** Two-sided p-value of the sampled test if both were sampled, otherwise of the greedy test. */
  readonly pValue: number;
  readonly greedy: {
    /** Problems solved only in the evaluation (`gained`) and only in the other (`lost`). */
    readonly gained: number;
    readonly lost: number;
    readonly difference: number;
    readonly test: 'mcnemar-exact';
    readonly pValue: number;
  };
  readonly sampled?: {
    readonly difference: number;
    /** Bootstrap over clusters; null with one cluster, or if all clusters have the same difference. */
    readonly ci95: Interval | null;
    readonly test: 'sign-flip-exact' | 'sign-flip-monte-carlo';
    /** Random sign assignments of the Monte Carlo test; its p-value is at least 1 / (draws + 1). */
    readonly draws?: number;
    /** Clusters with a nonzero difference; only these carry evidence. */
    readonly clusters: number;
    readonly pValue: number;
  };
}

/** Compares `evaluation` with `other`. @throws UserError naming a problem that only one of them has. */
export function compareEvaluations(evaluation: ComparableEvaluation, other: ComparableEvaluation): Comparison {
  const others = new Map(other.perProblem.map((problem) => [problem.id, problem]));
  const here = new Set(evaluation.perProblem.map(({ id }) => id));
  const odd = [...here].find((id) => !others.has(id)) ?? [...others.keys()].find((id) => !here.has(id));
  if (odd !== undefined || here.size === 0) {
    throw new UserError({
      problem: `${evaluation.model} and ${other.model} were not evaluated on the same problems.`,
      found: odd === undefined ? 'no problems' : `${quote(odd)} in only one of them`,
      fix: 'Evaluate both with the same --task, --num-test, --min, --max and --seed.',
    });
  }
  const pairs = evaluation.perProblem.map((problem) => ({ ours: problem, theirs: others.get(problem.id)! }));
  const gained = pairs.filter(({ ours, theirs }) => ours.greedy.exact && !theirs.greedy.exact).length;
  const lost = pairs.filter(({ ours, theirs }) => !ours.greedy.exact && theirs.greedy.exact).length;
  const greedy = {
    gained,
    lost,
    difference: (gained - lost) / pairs.length,
    test: 'mcnemar-exact',
    pValue: mcnemarExact(gained, lost),
  } as const;
  if (!pairs.every(({ ours, theirs }) => ours.sampled && theirs.sampled)) {
    return { model: other.model, pValue: greedy.pValue, greedy };
  }
  // Each cluster's value is the sum of its problems' differences, so that the total is the difference of the two rates.
  const clusters = new Map<string, { sum: number; count: number }>();
  for (const { ours, theirs } of pairs) {
    const { sum, count } = clusters.get(ours.cluster) ?? { sum: 0, count: 0 };
    clusters.set(ours.cluster, { sum: sum + ours.sampled!.exactRate - theirs.sampled!.exactRate, count: count + 1 });
  }
  const differences = [...clusters.values()].map(({ sum }) => sum);
  const { pValue, method, assignments } = signFlipTest(differences, keyedRandom('sign flip'));
  return {
    model: other.model,
    pValue,
    greedy,
    sampled: {
      difference: differences.reduce((sum, difference) => sum + difference, 0) / pairs.length,
      ci95: clusterBootstrap([...clusters.values()], keyedRandom('ci95')),
      test: `sign-flip-${method}`,
      ...(method === 'monte-carlo' && { draws: assignments }),
      clusters: differences.filter((difference) => difference !== 0).length,
      pValue,
    },
  };
}

const count = integer({ min: 0 });

/** The means besides exact match, whose interval may be null for samples. */
const meansShape = { meanReward: share, formatRate: share, truncatedRate: share, meanTokens: number({ min: 0 }) };
const exactShape = { rate: share, correct: count, total: count };

const completionShape = {
  exact: flag,
  completion: text,
  reward: share,
  parsed: flag,
  truncated: flag,
  tokens: count,
};

const problemShape = {
  id: text,
  cluster: text,
  greedy: object(completionShape),
  firstSample: optional(object({ ...completionShape, pieces: list(text), logProbs: list(number({ max: 0 })) })),
};

const evaluationShape = {
  model: text,
  task: text,
  problems: integer({ min: 1 }),
  clusters: integer({ min: 1 }),
  greedy: object({ ...meansShape, exact: object({ ...exactShape, ci95: pair(share) }) }),
  constantAnswer: orNull(object({ answer: union([text, number()], 'a string or a number'), meanReward: share })),
};

const greedyShape = object({
  ...evaluationShape,
  perProblem: list(object({ ...problemShape, sampled: optional(anything) })),
});

const sampledShape = object({
  ...evaluationShape,
  sampled: object({
    ...meansShape,
    exact: object({ ...exactShape, ci95: orNull(pair(share)) }),
    samplesPerProblem: integer({ min: 1 }),
    temperature: number({ min: 0 }),
    passAt: mapOf(share),
  }),
  perProblem: list(object({ ...problemShape, sampled: object({ exact: count, exactRate: share }) })),
});

/**
 * What a comparison shows about training. `learned`: significantly better; `small`: significantly better, but by less than
 * 5 points; `worse`: significantly worse; `mixed`: greedy and sampled accuracy moved in opposite directions; `none`: neither
 * moved; `unproven`: chance could explain the difference.
 */
export type TrainingOutcome = 'learned' | 'small' | 'mixed' | 'unproven' | 'none' | 'worse';

/** A p-value below this counts as evidence. */
export const significance = 0.05;
/** Gains below 5 points are small. */
const smallGain = 0.05;

/** A difference of two rates with the p-value of its test. */
interface TestedDifference {
  readonly difference: number;
  readonly pValue: number;
}

/** The outcome from both accuracies, or from the greedy one alone if nothing was sampled. */
export function outcomeOf({
  greedy,
  sampled,
}: {
  readonly greedy: TestedDifference;
  readonly sampled?: TestedDifference;
}): TrainingOutcome {
  const direction = ({ difference, pValue }: TestedDifference) => (pValue < significance ? Math.sign(difference) : 0);
  const byGreedy = direction(greedy);
  const main = sampled ?? greedy;
  const byMain = direction(main);
  if (byMain === 0) {
    if (byGreedy !== 0) return 'mixed';
    return main.difference === 0 && greedy.difference === 0 ? 'none' : 'unproven';
  }
  // Greedy accuracy changes in jumps, so a small step against the sampled trend is no contradiction.
  const against = greedy.difference * main.difference < 0;
  if (against && (byGreedy !== 0 || Math.abs(greedy.difference) >= Math.abs(main.difference) / 2)) return 'mixed';
  if (byMain < 0) return 'worse';
  return main.difference < smallGain ? 'small' : 'learned';
}

/**
 * Reads an evaluation from a JSON file such as `eval-before.json`.
 *
 * @throws UserError that names the invalid field.
 */
export function readEvaluation(path: string): EvalSummary {
  const source: JsonSource = { path, what: 'an evaluation', fix: 'Make a new one with `tinyzero eval --json`.' };
  const record = readJsonRecord(path, source.fix);
  const evaluation = record.sampled === undefined ? checkGreedy(record, source) : checkSampled(record, source);
  for (const [i, { firstSample }] of evaluation.perProblem.entries()) {
    if (firstSample && firstSample.logProbs.length !== firstSample.pieces.length) {
      const expected = `as long as pieces, ${firstSample.pieces.length}`;
      throw wrong(source, [mustBe(`perProblem[${i}].firstSample.logProbs`, expected, firstSample.logProbs.length)]);
    }
  }
  // The checked fields form the EvalSummary. Others are kept as they are, except the checksum of a run's file.
  const { checksum: _, ...summary } = record;
  return summary as unknown as EvalSummary;
}

/** @throws UserError for samples of a problem without the means over all samples, which reports would then lack. */
function checkGreedy(record: JsonRecord, source: JsonSource) {
  const evaluation = check(greedyShape, record, source);
  for (const [i, { sampled }] of evaluation.perProblem.entries()) {
    if (sampled !== undefined)
      throw wrong(source, [mustBe(`perProblem[${i}].sampled`, 'absent, as `sampled` is', sampled)]);
  }
  return evaluation;
}

function checkSampled(record: JsonRecord, source: JsonSource) {
  const evaluation = check(sampledShape, record, source);
  const { samplesPerProblem, passAt } = evaluation.sampled;
  for (let k = 1; k <= samplesPerProblem; k++) {
    // Stops at the first missing entry, so an absurd count costs nothing.
    check(share, passAt.get(`${k}`), source, `sampled.passAt[${k}]`);
  }
  return evaluation;
}
