/**
 * @file The state and metrics of each run of a set, read from its folder.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compareEvaluations, readEvaluation } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import type { TokenLoss } from '../../policy/row-loss.js';
import { UserError } from '../../util/errors.js';
import { isRecord, type JsonRecord } from '../../util/json.js';
import { mean } from '../../util/statistics.js';
import { runFiles } from '../folder.js';
import { describeRun, type RunEntry } from '../listing/list.js';
import { lockHolder } from '../lock.js';
import { readLog } from '../logs.js';
import { readLoss } from '../sft/record.js';
import type { PlannedRun, RunPlan } from './plan.js';

/** `waiting`: not started. */
export type MemberState = RunEntry['state'] | 'waiting';

/** A run of the set in the summary. Rates and losses are absent until they are known. */
export interface MemberRow {
  readonly name: string;
  readonly seed: number;
  readonly setting: number;
  readonly state: MemberState;
  readonly updates: number;
  /** Means over the rollouts of the last quarter of the updates; for supervised training, the loss. */
  readonly trainReward?: number;
  readonly trainExact?: number;
  readonly trainLoss?: number;
  readonly greedyBefore?: number;
  readonly greedyAfter?: number;
  readonly sampledBefore?: number;
  readonly sampledAfter?: number;
  /** p-values of this run's own tests. */
  readonly signFlipP?: number;
  readonly mcnemarP?: number;
  readonly formatRate?: number;
  readonly truncatedRate?: number;
  /** Held-out loss of supervised training, in nats per token. */
  readonly lossBefore?: number;
  readonly lossAfter?: number;
}

export interface Member {
  readonly row: MemberRow;
  /** Of a finished run of `train`. */
  readonly evaluations?: { readonly before: EvalSummary; readonly after: EvalSummary };
}

/** The progress of one run, without its metrics. */
export function memberState(folder: string, { name }: PlannedRun): Pick<MemberRow, 'state' | 'updates'> {
  const path = join(folder, name);
  if (existsSync(join(path, runFiles.config))) {
    const { state, updates } = describeRun(path);
    return { state, updates };
  }
  return { state: lockHolder(path) === undefined ? 'waiting' : 'running', updates: 0 };
}

/** What a run of a set has recorded so far. */
export interface MemberRecord extends Pick<MemberRow, 'state' | 'updates'> {
  /** Lines of its log of updates. */
  readonly steps: readonly object[];
  /** Of a finished run of `train`. */
  readonly evaluations?: NonNullable<Member['evaluations']>;
  /** Of a finished run of `sft` that held lines out. */
  readonly losses?: { readonly before: TokenLoss; readonly after: TokenLoss };
}

/** One run with its metrics. @throws UserError when a file of a finished run is damaged. */
export function readMember(folder: string, { command }: Pick<RunPlan, 'command'>, run: PlannedRun): Member {
  const path = join(folder, run.name);
  const reached = { ...memberState(folder, run), steps: readSteps(path) };
  if (reached.state !== 'finished') return memberOf(run, command, reached);
  if (command === 'sft') return memberOf(run, command, { ...reached, ...lossesIn(path) });
  const evaluations = {
    before: readEvaluation(join(path, runFiles.evalBefore)),
    after: readEvaluation(join(path, runFiles.evalAfter)),
  };
  return memberOf(run, command, { ...reached, evaluations });
}

/** A run with its metrics, computed from its records. */
export function memberOf(
  { name, seed, setting }: PlannedRun,
  command: RunPlan['command'],
  { state, updates, steps, evaluations, losses }: MemberRecord,
): Member {
  const row: MemberRow = {
    ...{ name, seed, setting, state, updates, ...trainingFigures(steps, command) },
    ...(losses && { lossBefore: losses.before.loss, lossAfter: losses.after.loss }),
  };
  if (evaluations === undefined) return { row };
  const { before, after } = evaluations;
  const { greedy, sampled } = compareEvaluations(after, before);
  return {
    row: {
      ...row,
      greedyBefore: before.greedy.exact.rate,
      greedyAfter: after.greedy.exact.rate,
      mcnemarP: greedy.pValue,
      formatRate: (after.sampled ?? after.greedy).formatRate,
      truncatedRate: (after.sampled ?? after.greedy).truncatedRate,
      ...(before.sampled &&
        after.sampled &&
        sampled && {
          sampledBefore: before.sampled.exact.rate,
          sampledAfter: after.sampled.exact.rate,
          signFlipP: sampled.pValue,
        }),
    },
    evaluations,
  };
}

function lossesIn(path: string): Pick<MemberRecord, 'losses'> {
  const files = [join(path, runFiles.evalBefore), join(path, runFiles.evalAfter)] as const;
  return files.every(existsSync) ? { losses: { before: readLoss(files[0]), after: readLoss(files[1]) } } : {};
}

/** The log of a run's updates; empty before the first. */
function readSteps(path: string): readonly JsonRecord[] {
  try {
    return [...readLog(join(path, runFiles.metrics))];
  } catch (error) {
    // A running process may be writing the last line. A run checks its own files when it resumes.
    if (!(error instanceof UserError)) throw error;
    return [];
  }
}

/** The training metrics are means over the rollouts of this last share of the updates. */
const lastShare = 0.25;

function trainingFigures(steps: readonly object[], command: RunPlan['command']): Partial<MemberRow> {
  const last = steps.slice(-Math.max(1, Math.round(lastShare * steps.length)));
  if (last.length === 0) return {};
  const figure = (name: string) => mean(last.filter(isRecord).map((step) => Number(step[name])));
  return command === 'sft'
    ? { trainLoss: figure('loss') }
    : { trainReward: figure('reward'), trainExact: figure('exactRate') };
}
