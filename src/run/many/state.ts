/**
 * @file What the runs of a set have reached, and the figures of each, from the files in their folders.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compareEvaluations, readEvaluation } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import type { TokenLoss } from '../../policy/row-loss.js';
import { UserError } from '../../util/errors.js';
import { mean } from '../../util/statistics.js';
import { runFiles } from '../folder.js';
import { describeRun, type RunEntry } from '../list.js';
import { lockHolder } from '../lock.js';
import { readLog } from '../logs.js';
import { readLoss } from '../sft/record.js';
import type { PlannedRun, RunPlan } from './plan.js';

/** `waiting`: not begun. */
type MemberState = RunEntry['state'] | 'waiting';

/** A run of the set, as the summary has it. Rates and losses are absent while unknown. */
export interface MemberRow {
  readonly name: string;
  readonly seed: number;
  readonly setting: number;
  readonly state: MemberState;
  readonly updates: number;
  /** Means over the rollouts of the last quarter of the updates; of supervised training, the loss. */
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
  /** Held-out loss of supervised training, in nats a token. */
  readonly lossBefore?: number;
  readonly lossAfter?: number;
}

export interface Member {
  readonly row: MemberRow;
  /** Of a finished run of `train`. */
  readonly evaluations?: { readonly before: EvalSummary; readonly after: EvalSummary };
}

/** How far one run is, without its figures. */
export function memberState(folder: string, { name }: PlannedRun): Pick<MemberRow, 'state' | 'updates'> {
  const path = join(folder, name);
  if (existsSync(join(path, runFiles.config))) {
    const { state, updates } = describeRun(path);
    return { state, updates };
  }
  return { state: lockHolder(path) === undefined ? 'waiting' : 'running', updates: 0 };
}

/** One run with its figures. @throws UserError when a file of a finished run is damaged. */
export function readMember(folder: string, { command }: Pick<RunPlan, 'command'>, run: PlannedRun): Member {
  const path = join(folder, run.name);
  const { name, seed, setting } = run;
  const { state, updates } = memberState(folder, run);
  const row: MemberRow = { name, seed, setting, state, updates, ...trainingFigures(path, command) };
  if (state !== 'finished') return { row };
  if (command === 'sft') return { row: { ...row, ...losses(path) } };
  const before = readEvaluation(join(path, runFiles.evalBefore));
  const after = readEvaluation(join(path, runFiles.evalAfter));
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
    evaluations: { before, after },
  };
}

function losses(path: string): Pick<MemberRow, 'lossBefore' | 'lossAfter'> {
  const loss = (name: 'evalBefore' | 'evalAfter'): TokenLoss | undefined =>
    existsSync(join(path, runFiles[name])) ? readLoss(join(path, runFiles[name])) : undefined;
  const [before, after] = [loss('evalBefore'), loss('evalAfter')];
  return { ...(before && { lossBefore: before.loss }), ...(after && { lossAfter: after.loss }) };
}

/** Share of the updates, from the end, whose rollouts the training figures are means of. */
const lastShare = 0.25;

function trainingFigures(path: string, command: RunPlan['command']): Partial<MemberRow> {
  let records: Readonly<Record<string, unknown>>[];
  try {
    records = [...readLog(join(path, runFiles.metrics))];
  } catch (error) {
    // A running process may be writing the last line; the run itself judges its files when it resumes.
    if (!(error instanceof UserError)) throw error;
    return {};
  }
  const last = records.slice(-Math.max(1, Math.round(lastShare * records.length)));
  if (last.length === 0) return {};
  const figure = (name: string) => mean(last.map((record) => Number(record[name])));
  return command === 'sft'
    ? { trainLoss: figure('loss') }
    : { trainReward: figure('reward'), trainExact: figure('exactRate') };
}
