/** @file Describes the result of a set of runs on the terminal. */
import { join } from 'node:path';
import { shellWord } from '../../report/command.js';
import { judgeSet } from '../../report/many/verdict.js';
import { type RunPlan, resumeCommand, setFiles } from '../../run/many/plan.js';
import type { SetSummary } from '../../run/many/summary.js';
import { tableOf } from '../../run/many/table.js';
import { programName } from '../program-name.js';
import type { Paint } from '../terminal/paint.js';
import { tableLines, tableWidth } from '../terminal/table.js';
import type { FailedRun } from './execute.js';

export interface DescribedSet {
  readonly summary: SetSummary;
  readonly plan: RunPlan;
  readonly failed: readonly FailedRun[];
  /** Path of the report. */
  readonly report: string;
}

export function describeSet(
  { summary, plan, failed, report }: DescribedSet,
  paint: Paint,
  width = Number.POSITIVE_INFINITY,
): string[] {
  const { sentence, notes, kind } = judgeSet(summary, plan);
  const tone = { learned: paint.good, small: paint.good, worse: paint.bad, memory: paint.warn };
  const headline = tone[kind as keyof typeof tone] ?? paint.strong;
  const { folder } = summary;
  const word = shellWord(folder);
  return [
    headline(sentence),
    ...notes,
    '',
    ...tableRows(summary, width),
    '',
    ...failed.map(({ name, reason }) => paint.bad(`${name} failed: ${reason}`)),
    `The report is ${report}, the table in Markdown ${join(folder, setFiles.table)}.`,
    '',
    paint.strong('Next:'),
    ...(failed.length > 0 ? [`  ${programName()} ${resumeCommand(plan)} ${word}`] : []),
    ...nextCommands(summary, word).map((line) => `  ${programName()} ${line}`),
  ];
}

function nextCommands({ kind, ranking, runs, command }: SetSummary, word: string): string[] {
  const best = ranking?.find(({ score }) => score !== null);
  const run = best && runs.find(({ name }) => name === best.name || name.startsWith(`${best.name}-seed-`));
  return [
    `report ${word} --open`,
    ...(kind === 'sweep' && run ? [`${command} --config ${word}/${run.name} --seeds 11..15`] : []),
    `runs ${word}`,
  ];
}

/** Leading columns that are shown together or not at all: the seed and the four accuracies. */
const minColumns = 5;

/** The table; without its last columns on a narrow terminal, and with each row as a list on a very narrow one. */
function tableRows(summary: SetSummary, width: number): string[] {
  const { head, rows, totals } = tableOf(summary);
  const body = [...rows, ...totals];
  for (let columns = head.length; columns >= Math.min(minColumns, head.length); columns--) {
    const lines = tableLines([head, ...body].map((cells) => cells.slice(0, columns))).map((line) => `  ${line}`);
    const rest = columns < head.length ? [`  (also in the report: ${head.slice(columns).join(', ')})`] : [];
    if (tableWidth(lines) <= width) return [...lines, ...rest];
  }
  return body.flatMap((cells) => [
    `  ${head[0]} ${cells[0]}`,
    ...cells.flatMap((cell, i) => (i === 0 || cell === '' ? [] : [`    ${head[i]}: ${cell}`])),
  ]);
}
