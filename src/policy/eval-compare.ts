/**
 * @file Two evaluations of the same problems, set against each other: is the second model better, or was it luck? Also reads
 * an evaluation back from its file.
 */
import { UserError } from '../util/errors.js';
import { quote, readJsonRecord } from '../util/json.js';
import { type Bounds, type JsonChecks, type JsonFile, jsonChecks } from '../util/json-checks.js';
import { keyedRandom } from '../util/random.js';
import { clusterBootstrap, type Interval, mcnemarExact, signFlipTest } from '../util/statistics.js';
import type { EvalSummary } from './eval-summary.js';

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
    /** Bootstrap over clusters; null for one cluster, or when all clusters have the same difference. */
    readonly ci95: Interval | null;
    readonly test: 'sign-flip-exact' | 'sign-flip-monte-carlo';
    /** Random sign assignments of the Monte Carlo test; its p-value is at least 1 / (draws + 1). */
    readonly draws?: number;
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

/**
 * What a comparison shows of training. `learned`: clearly better; `small`: clearly better, by less than 5 points; `worse`:
 * clearly worse; `mixed`: greedy and sampled accuracy moved apart; `none`: neither moved; `unproven`: luck explains it.
 */
export type TrainingOutcome = 'learned' | 'small' | 'mixed' | 'unproven' | 'none' | 'worse';

/** A p-value below this counts as evidence. */
export const significance = 0.05;
/** A gain below 5 points is a small one. */
const smallGain = 0.05;

/** The outcome by both accuracies; by the greedy one alone where nothing was sampled. */
export function outcomeOf({ greedy, sampled }: Pick<Comparison, 'greedy' | 'sampled'>): TrainingOutcome {
  const direction = ({ difference, pValue }: { difference: number; pValue: number }) =>
    pValue < significance ? Math.sign(difference) : 0;
  const byGreedy = direction(greedy);
  const main = sampled ?? greedy;
  const byMain = direction(main);
  if (byMain === 0) {
    if (byGreedy !== 0) return 'mixed';
    return main.difference === 0 && greedy.difference === 0 ? 'none' : 'unproven';
  }
  // Greedy accuracy jumps where sampled accuracy drifts, so a small step against the trend is no contradiction.
  const against = greedy.difference * main.difference < 0;
  if (against && (byGreedy !== 0 || Math.abs(greedy.difference) >= Math.abs(main.difference) / 2)) return 'mixed';
  if (byMain < 0) return 'worse';
  return main.difference < smallGain ? 'small' : 'learned';
}

/**
 * Reads an evaluation that was written as JSON, such as `eval-before.json`.
 *
 * @throws UserError naming what is not as an evaluation has it.
 */
export function readEvaluation(path: string): EvalSummary {
  const file: JsonFile = { path, what: 'an evaluation', fix: 'Make a new one with `tinyzero eval --json`.' };
  const check = jsonChecks(file);
  const value = readJsonRecord(path, file.fix);
  const root = check.object(value, 'the top level');
  for (const name of ['model', 'task']) check.string(root.get(name), name);
  for (const name of ['problems', 'clusters']) check.integer(root.get(name), name, { min: 1 });
  const hasSamples = root.has('sampled');
  for (const part of hasSamples ? (['greedy', 'sampled'] as const) : (['greedy'] as const))
    checkRates(check, root.get(part), part);
  if (hasSamples) {
    const sampled = check.object(root.get('sampled'), 'sampled');
    const samples = check.integer(sampled.get('samplesPerProblem'), 'sampled.samplesPerProblem', { min: 1 });
    check.number(sampled.get('temperature'), 'sampled.temperature', { min: 0 });
    const passAt = check.object(sampled.get('passAt'), 'sampled.passAt');
    for (let k = 1; k <= samples; k++) check.number(passAt.get(`${k}`), `sampled.passAt[${k}]`, share);
  }
  const constant = root.get('constantAnswer');
  if (constant !== null) {
    const fields = check.object(constant, 'constantAnswer');
    if (typeof fields.get('answer') !== 'number') check.string(fields.get('answer'), 'constantAnswer.answer');
    check.number(fields.get('meanReward'), 'constantAnswer.meanReward', share);
  }
  for (const [i, item] of check.array(root.get('perProblem'), 'perProblem').entries()) {
    checkProblem(check, item, `perProblem[${i}]`, hasSamples);
  }
  return value as unknown as EvalSummary;
}

const share: Bounds = { min: 0, max: 1 };

/** Exact match with its interval, and the means beside it. */
function checkRates(check: JsonChecks, value: unknown, where: 'greedy' | 'sampled'): void {
  const fields = check.object(value, where);
  const exact = check.object(fields.get('exact'), `${where}.exact`);
  check.number(exact.get('rate'), `${where}.exact.rate`, share);
  const interval = exact.get('ci95');
  if (where === 'greedy' || interval !== null) {
    const ends = check.array(interval, `${where}.exact.ci95`);
    if (ends.length !== 2) throw check.refuse(`${where}.exact.ci95`, 'two numbers', ends);
    for (const end of ends) check.number(end, `${where}.exact.ci95`, share);
  }
  for (const count of ['correct', 'total']) check.integer(exact.get(count), `${where}.exact.${count}`, { min: 0 });
  for (const rate of ['meanReward', 'formatRate', 'truncatedRate']) {
    check.number(fields.get(rate), `${where}.${rate}`, share);
  }
  check.number(fields.get('meanTokens'), `${where}.meanTokens`, { min: 0 });
}

function checkProblem(check: JsonChecks, value: unknown, where: string, hasSamples: boolean): void {
  const fields = check.object(value, where);
  for (const name of ['id', 'cluster']) check.string(fields.get(name), `${where}.${name}`);
  checkCompletion(check, fields.get('greedy'), `${where}.greedy`);
  if (hasSamples) {
    const sampled = check.object(fields.get('sampled'), `${where}.sampled`);
    check.integer(sampled.get('exact'), `${where}.sampled.exact`, { min: 0 });
    check.number(sampled.get('exactRate'), `${where}.sampled.exactRate`, share);
  }
  if (!fields.has('firstSample')) return;
  const at = `${where}.firstSample`;
  const first = checkCompletion(check, fields.get('firstSample'), at);
  const pieces = check.array(first.get('pieces'), `${at}.pieces`);
  const logProbs = check.array(first.get('logProbs'), `${at}.logProbs`);
  if (logProbs.length !== pieces.length) {
    throw check.refuse(`${at}.logProbs`, `as many items as pieces, ${pieces.length}`, logProbs.length);
  }
  for (const [i, piece] of pieces.entries()) check.string(piece, `${at}.pieces[${i}]`);
  for (const [i, logProb] of logProbs.entries()) check.number(logProb, `${at}.logProbs[${i}]`, { max: 0 });
}

function checkCompletion(check: JsonChecks, value: unknown, where: string): ReadonlyMap<string, unknown> {
  const fields = check.object(value, where);
  check.boolean(fields.get('exact'), `${where}.exact`);
  check.string(fields.get('completion'), `${where}.completion`);
  check.number(fields.get('reward'), `${where}.reward`, share);
  for (const name of ['parsed', 'truncated']) check.boolean(fields.get(name), `${where}.${name}`);
  check.integer(fields.get('tokens'), `${where}.tokens`, { min: 0 });
  return fields;
}
