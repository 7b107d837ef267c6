/** @file The runs of a set as a table of text cells for the terminal, the report and Markdown. */
import { type Spread, spreadOf } from '../../policy/eval-seeds.js';
import { mean } from '../../util/statistics.js';
import type { MemberRow } from './state.js';
import type { RankedSetting, SetSummary } from './summary.js';

export interface SetTable {
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
