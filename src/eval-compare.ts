/**
 * @file Two evaluations of the same problems, set against each other: is the second model better, or was it luck? Also reads
 * an evaluation back from its file, as far as a comparison needs it.
 */
import { UserError } from './errors.js';
import type { EvalSummary } from './eval-summary.js';
import { quote, readJsonRecord } from './util/json.js';
import { type JsonFile, jsonChecks } from './util/json-checks.js';
import { keyedRandom } from './util/random.js';
import { clusterBootstrap, type Interval, mcnemarExact, signFlipTest } from './util/stats.js';

/** What a comparison needs of an evaluation; an {@link EvalSummary} is one. */
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
  /** The model that the evaluation is compared with; differences are evaluation minus this one. */
  readonly model: string;
  /** Two-sided, of the sampled test where both were sampled, else of the greedy one. */
  readonly pValue: number;
  readonly greedy: {
    /** Problems right only in the evaluation, and only in the other. */
    readonly gained: number;
    readonly lost: number;
    readonly difference: number;
    readonly test: 'mcnemar-exact';
    readonly pValue: number;
  };
  readonly sampled?: {
    readonly difference: number;
    /** Bootstrap over clusters. */
    readonly ci95: Interval;
    readonly test: 'sign-flip-exact' | 'sign-flip-monte-carlo';
    /** Clusters whose difference is not zero: only they carry evidence. */
    readonly clusters: number;
    readonly pValue: number;
  };
}

/** @throws UserError naming a problem that only one of the evaluations has. */
export function compareEvaluations(evaluation: ComparableEvaluation, other: ComparableEvaluation): Comparison {
  const others = new Map(other.perProblem.map((problem) => [problem.id, problem]));
  const here = new Set(evaluation.perProblem.map(({ id }) => id));
  const odd = [...here].find((id) => !others.has(id)) ?? [...others.keys()].find((id) => !here.has(id));
  if (odd !== undefined || here.size === 0) {
    throw new UserError({
      problem: `${evaluation.model} and ${other.model} were not evaluated on the same problems.`,
      found: odd === undefined ? 'no problem at all' : `${quote(odd)} in only one of them`,
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
  // Per cluster the sum of its problems' differences, so that their total is the difference of the two rates.
  const clusters = new Map<string, { sum: number; count: number }>();
  for (const { ours, theirs } of pairs) {
    const { sum, count } = clusters.get(ours.cluster) ?? { sum: 0, count: 0 };
    clusters.set(ours.cluster, { sum: sum + ours.sampled!.exactRate - theirs.sampled!.exactRate, count: count + 1 });
  }
  const differences = [...clusters.values()].map(({ sum }) => sum);
  const { pValue, method } = signFlipTest(differences, keyedRandom('sign flip'));
  return {
    model: other.model,
    pValue,
    greedy,
    sampled: {
      difference: differences.reduce((sum, difference) => sum + difference, 0) / pairs.length,
      ci95: clusterBootstrap([...clusters.values()], keyedRandom('ci95')),
      test: `sign-flip-${method}`,
      clusters: differences.filter((difference) => difference !== 0).length,
      pValue,
    },
  };
}

/** Reads an evaluation that was written as JSON, such as `eval-before.json`. @throws UserError naming what is wrong. */
export function readEvaluation(path: string): EvalSummary {
  const file: JsonFile = { path, what: 'an evaluation', fix: 'Make a new one with `tinyzero eval --json`.' };
  const check = jsonChecks(file);
  const value = readJsonRecord(path, file.fix);
  const root = check.object(value, 'the top level');
  check.string(root.get('model'), 'model');
  const interval = (bounds: unknown, where: string) => {
    const ends = check.array(bounds, where);
    if (ends.length !== 2) throw check.refuse(where, 'two numbers', bounds);
    for (const end of ends) check.number(end, where, { min: 0, max: 1 });
  };
  for (const part of ['greedy', 'sampled'] as const) {
    if (part === 'sampled' && !root.has(part)) continue;
    const fields = check.object(root.get(part), part);
    const exact = check.object(fields.get('exact'), `${part}.exact`);
    check.number(exact.get('rate'), `${part}.exact.rate`, { min: 0, max: 1 });
    interval(exact.get('ci95'), `${part}.exact.ci95`);
    for (const rate of ['meanReward', 'formatRate', 'truncatedRate']) {
      check.number(fields.get(rate), `${part}.${rate}`, { min: 0, max: 1 });
    }
  }
  for (const [i, item] of check.array(root.get('perProblem'), 'perProblem').entries()) {
    const where = `perProblem[${i}]`;
    const problem = check.object(item, where);
    check.string(problem.get('id'), `${where}.id`);
    check.string(problem.get('cluster'), `${where}.cluster`);
    check.boolean(check.object(problem.get('greedy'), `${where}.greedy`).get('exact'), `${where}.greedy.exact`);
    if (!root.has('sampled')) continue;
    const sampled = check.object(problem.get('sampled'), `${where}.sampled`);
    check.number(sampled.get('exactRate'), `${where}.sampled.exactRate`, { min: 0, max: 1 });
  }
  return value as unknown as EvalSummary;
}
