/**
 * @file The summary of a set of runs: mean and spread over seeds with the test over problems, or the ranking of a sweep's
 * settings; and as a table of text for the terminal, the report and Markdown. Read from the folders of the runs, whether
 * finished or not.
 */
import { join } from 'node:path';
import { compareSeeds, type SeedsComparison, type Spread, spreadOf } from '../../policy/eval-seeds.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import { mean } from '../../util/statistics.js';
import { type RankBy, type RunPlan, setFiles, type TextFlags } from './plan.js';
import { type Member, type MemberRow, readMember } from './state.js';

export interface SetSummary {
  readonly kind: RunPlan['kind'];
  readonly command: RunPlan['command'];
  readonly folder: string;
  readonly finished: number;
  readonly planned: number;
  readonly runs: readonly MemberRow[];
  /** Results over the finished runs of a set of seeds; absent before the first has finished, and for supervised training. */
  readonly overSeeds?: SeedsComparison;
  /** Held-out losses of the finished runs of `sft`, in nats per token. A decrease is a negative `change`. */
  readonly losses?: { readonly before: Spread; readonly after: Spread; readonly change: Spread; readonly fell: number };
  /** The settings of a sweep, best first. */
  readonly ranking?: readonly RankedSetting[];
  readonly rankBy?: RankBy;
}

export interface RankedSetting {
  readonly name: string;
  readonly values: TextFlags;
  /** Number of runs of this setting, and of finished ones. */
  readonly runs: number;
  readonly finished: number;
  /** The ranking metric over its finished runs; null if there are none. */
  readonly score: Spread | null;
  readonly trainReward: Spread | null;
  readonly trainExact: Spread | null;
  readonly trainLoss: Spread | null;
  /** Held-out accuracy: sampled if all runs sampled, otherwise greedy; for supervised training, the held-out loss. */
  readonly heldOutBefore: Spread | null;
  readonly heldOutAfter: Spread | null;
}

export function readSet(folder: string, plan: RunPlan): readonly Member[] {
  return plan.runs.map((run) => readMember(folder, plan, run));
}

/** @param compare combines the evaluations of the runs. */
export function summarizeSet(
  folder: string,
  plan: RunPlan,
  members: readonly Member[],
  compare: typeof compareSeeds = compareSeeds,
): SetSummary {
  const { kind, command, rankBy } = plan;
  const rows = members.map(({ row }) => row);
  const evaluated = members.flatMap(({ evaluations }) => evaluations ?? []);
  const measured = rows.filter(({ lossBefore, lossAfter }) => lossBefore !== undefined && lossAfter !== undefined);
  return {
    ...{ kind, command, folder },
    finished: rows.filter(({ state }) => state === 'finished').length,
    planned: rows.length,
    runs: rows,
    ...(kind === 'seeds' && evaluated.length > 0 && { overSeeds: compare(evaluated) }),
    ...(kind === 'seeds' && measured.length > 0 && { losses: lossSpread(measured) }),
    ...(kind === 'sweep' && rankBy && { rankBy, ranking: rank(plan, rows, rankBy) }),
  };
}

function lossSpread(rows: readonly MemberRow[]): NonNullable<SetSummary['losses']> {
  const changes = rows.map(({ lossBefore, lossAfter }) => lossAfter! - lossBefore!);
  return {
    before: spreadOf(rows.map(({ lossBefore }) => lossBefore!)),
    after: spreadOf(rows.map(({ lossAfter }) => lossAfter!)),
    change: spreadOf(changes),
    fell: changes.filter((change) => change < 0).length,
  };
}

function rank({ settings, command }: RunPlan, rows: readonly MemberRow[], rankBy: RankBy): RankedSetting[] {
  const ranked = settings.map(({ name, values }, setting): RankedSetting => {
    const own = rows.filter((row) => row.setting === setting);
    const done = own.filter(({ state }) => state === 'finished');
    const spread = (figure: (row: MemberRow) => number | undefined) => {
      const found = done.flatMap((row) => figure(row) ?? []);
      return found.length === done.length && done.length > 0 ? spreadOf(found) : null;
    };
    const figures = {
      trainReward: spread(({ trainReward }) => trainReward),
      trainExact: spread(({ trainExact }) => trainExact),
      trainLoss: spread(({ trainLoss }) => trainLoss),
      heldOutBefore: spread((row) => row.sampledBefore) ?? spread((row) => row.greedyBefore ?? row.lossBefore),
      heldOutAfter: spread((row) => row.sampledAfter) ?? spread((row) => row.greedyAfter ?? row.lossAfter),
    };
    const score = scoreOf(figures, command, rankBy);
    return { name, values, runs: own.length, finished: done.length, score, ...figures };
  });
  // Lower losses are better. Settings without a score come last, in the plan's order.
  const sign = command === 'sft' ? 1 : -1;
  return ranked.sort((a, b) =>
    a.score === null || b.score === null
      ? Number(a.score === null) - Number(b.score === null)
      : sign * (a.score.mean - b.score.mean),
  );
}

function scoreOf(
  figures: Pick<RankedSetting, 'trainReward' | 'trainExact' | 'trainLoss' | 'heldOutAfter'>,
  command: RunPlan['command'],
  rankBy: RankBy,
): Spread | null {
  if (rankBy === 'held-out') return figures.heldOutAfter;
  if (command === 'sft') return figures.trainLoss;
  return rankBy === 'train-exact' ? figures.trainExact : figures.trainReward;
}

/** Writes `summary.json` and `table.md`. */
export function writeSummary(summary: SetSummary): void {
  const write = (name: keyof typeof setFiles, text: string) => {
    const path = join(summary.folder, setFiles[name]);
    explainWrites(path, () => writeFileAtomic(path, text));
  };
  write('summary', `${JSON.stringify(summary, null, 2)}\n`);
  write('table', markdownTable(summary));
}

interface SetTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Rows of the mean and, if there are several runs, the standard deviation; empty for a sweep. */
  readonly totals: readonly (readonly string[])[];
}

interface Column {
  readonly title: string;
  readonly value: (row: MemberRow) => number | undefined;
  readonly show: (value: number) => string;
  /** Whether the mean of this column over runs is meaningful. */
  readonly total: boolean;
}

const rate = (value: number) => value.toFixed(3);
const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
const p = (value: number) => (value < 1e-4 ? value.toExponential(1) : value.toPrecision(2));

const trainColumns: readonly Column[] = [
  { title: 'greedy before', value: (row) => row.greedyBefore, show: rate, total: true },
  { title: 'sampled before', value: (row) => row.sampledBefore, show: rate, total: true },
  { title: 'greedy after', value: (row) => row.greedyAfter, show: rate, total: true },
  { title: 'sampled after', value: (row) => row.sampledAfter, show: rate, total: true },
  { title: 'sign-flip p', value: (row) => row.signFlipP, show: p, total: false },
  { title: 'McNemar p', value: (row) => row.mcnemarP, show: p, total: false },
  { title: 'readable', value: (row) => row.formatRate, show: percent, total: false },
];

const sftColumns: readonly Column[] = [
  { title: 'loss before', value: (row) => row.lossBefore, show: rate, total: true },
  { title: 'loss after', value: (row) => row.lossAfter, show: rate, total: true },
  { title: 'training loss', value: (row) => row.trainLoss, show: rate, total: true },
];

/** One row per run, with its state if it is not finished. Empty columns are left out. */
function seedsTable({ command, runs }: SetSummary): SetTable {
  const done = runs.filter(({ state }) => state === 'finished');
  const columns = (command === 'train' ? trainColumns : sftColumns).filter(({ value }) =>
    done.some((row) => value(row) !== undefined),
  );
  const cell = ({ value, show }: Column, row: MemberRow) => {
    const number = value(row);
    return row.state !== 'finished' || number === undefined ? '' : show(number);
  };
  const isPartial = done.length < runs.length;
  const total = (name: string, of: (values: readonly number[]) => number) => [
    name,
    ...columns.map((column) => {
      const values = done.flatMap((row) => column.value(row) ?? []);
      return column.total && values.length > 0 ? column.show(of(values)) : '';
    }),
    ...(isPartial ? [''] : []),
  ];
  return {
    head: ['seed', ...columns.map(({ title }) => title), ...(isPartial ? ['state'] : [])],
    rows: runs.map((row) => [
      `${row.seed}`,
      ...columns.map((column) => cell(column, row)),
      ...(isPartial ? [row.state] : []),
    ]),
    totals: done.length < 2 ? [] : [total('mean', mean), total('sd', (values) => spreadOf(values).sd ?? 0)],
  };
}

/** One row per setting of a sweep, best first. */
function sweepTable({ command, ranking = [], runs }: SetSummary): SetTable {
  const swept = [...new Set(ranking.flatMap(({ values }) => Object.keys(values)))];
  const several = ranking.some((setting) => setting.runs > 1);
  const figures: readonly (readonly [title: string, value: (setting: RankedSetting) => Spread | null])[] =
    command === 'train'
      ? [
          ['training reward', ({ trainReward }) => trainReward],
          ['training exact', ({ trainExact }) => trainExact],
          ['held out before', ({ heldOutBefore }) => heldOutBefore],
          ['held out after', ({ heldOutAfter }) => heldOutAfter],
        ]
      : [
          ['training loss', ({ trainLoss }) => trainLoss],
          ['held-out loss before', ({ heldOutBefore }) => heldOutBefore],
          ['held-out loss after', ({ heldOutAfter }) => heldOutAfter],
        ];
  const isPartial = runs.some(({ state }) => state !== 'finished');
  const show = (spread: Spread | null) =>
    spread === null ? '' : `${rate(spread.mean)}${several && spread.sd !== null ? ` ± ${rate(spread.sd)}` : ''}`;
  return {
    head: ['rank', 'setting', ...swept, ...figures.map(([title]) => title), ...(isPartial ? ['finished'] : [])],
    rows: ranking.map((setting) => [
      rankOf(setting, ranking),
      setting.name,
      ...swept.map((name) => String(setting.values[name] ?? '')),
      ...figures.map(([, value]) => show(value(setting))),
      ...(isPartial ? [`${setting.finished} of ${setting.runs}`] : []),
    ]),
    totals: [],
  };
}

/** Settings with equal scores share a rank. */
function rankOf({ score }: RankedSetting, ranking: readonly RankedSetting[]): string {
  return score === null ? '' : `${1 + ranking.findIndex((other) => other.score?.mean === score.mean)}`;
}

export function tableOf(summary: SetSummary): SetTable {
  return summary.kind === 'seeds' ? seedsTable(summary) : sweepTable(summary);
}

export function markdownTable(summary: SetSummary): string {
  const { head, rows, totals } = tableOf(summary);
  const line = (cells: readonly string[]) => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(head), line(head.map(() => '---')), ...[...rows, ...totals].map(line)].join('\n')}\n`;
}
