/**
 * @file `tinyzero runs`: lists the runs in a folder, one per line, or on two lines each if the terminal is narrow. `tinyzero
 * runs rm`: removes runs, after a question.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, relative } from 'node:path';
import { type OptionValues, options } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { findRemovable, listRuns, type RunEntry, remove as removeRuns } from '../../../run/listing/list.js';
import { filterRuns, sortRuns } from '../../../run/listing/query.js';
import { holdsPlan, readPlan } from '../../../run/many/plan.js';
import { exitCodes, UserError } from '../../../util/errors.js';
import { counted, formatBytes, formatPercent } from '../../../util/format.js';
import { programName } from '../../program-name.js';
import { interruptible } from '../../terminal/interrupt.js';
import { printResult } from '../../terminal/output.js';
import type { Paint } from '../../terminal/paint.js';
import { consoleReporter } from '../../terminal/progress.js';
import { fittedColumns, tableLines, tableWidth } from '../../terminal/table.js';

const defaultFolder = 'runs';

export async function run(
  { sort, filter, json }: OptionValues<'sort' | 'filter' | 'json'>,
  operands: readonly string[],
): Promise<number> {
  const [folder = defaultFolder] = operands;
  // Before the first run, the folder does not exist, which is not an error.
  const all = operands.length === 0 && !existsSync(folder) ? [] : listRuns(folder);
  const fitting = filter === undefined ? all : filterRuns(all, filter);
  const runs = sort === undefined ? fitting : sortRuns(fitting, sort);
  printResult(json, { runs }, (paint, width) => {
    if (all.length === 0) return [`There are no runs in ${folder}. Start one with \`tinyzero train\`.`];
    if (runs.length === 0) return [`None of the ${counted(all.length, 'run')} in ${folder} matches '${filter}'.`];
    return describeRuns(runs, paint, width);
  });
  return exitCodes.ok;
}

/** The place of the task in a row. */
const taskColumn = 3;

/** With narrower columns, a run takes two lines. */
const minCell = 12;

/** @param width width of the terminal; undefined: lines may have any length. */
function describeRuns(runs: readonly RunEntry[], paint: Paint, width = Number.POSITIVE_INFINITY): string[] {
  const titles = ['run', 'started', 'model', 'task', 'held-out accuracy', 'state'];
  const whole = runs.map((entry) => describeRun(entry, paint));
  // If space is short, the task column is dropped when every run has the same task.
  const hasRoom = tableWidth(tableLines([titles, ...whole])) <= width;
  const isSameTask = new Set(runs.map(({ task }) => task)).size === 1;
  const shown = (row: readonly string[]) => row.filter((_, i) => hasRoom || !isSameTask || i !== taskColumn);
  const cells = whole.map(shown);
  const table = [shown(titles), ...cells];
  const [head, ...rows] = tableLines(fittedColumns(table, width, minCell));
  const isWide = tableWidth([head!, ...rows]) <= width;
  const facts = tableLines(cells.map(([, ...rest]) => rest.slice(0, -1)));
  const lines = runs.flatMap(({ state, detail, name, note }, i) => [
    ...(isWide ? [rows[i]!] : [`${cells[i]!.at(0)}: ${cells[i]!.at(-1)}`, `  ${facts[i]}`]),
    ...(name === null && note === null ? [] : [paint.faint(`  ${[name, note].filter(Boolean).join(': ')}`)]),
    ...(state === 'damaged' ? [`  ${detail}`] : []),
  ]);
  const stopped = runs.find(({ state }) => state === 'stopped');
  return [
    ...(isWide ? [paint.faint(head!)] : []),
    ...lines,
    ...(stopped === undefined ? [] : ['', 'To resume one:', `  ${programName()} ${resumeCommand(stopped)}`]),
  ];
}

/** The command that resumes the run, or the set that it belongs to. */
function resumeCommand({ folder, algo }: RunEntry): string {
  const set = dirname(folder);
  if (!holdsPlan(set)) return `${algo === 'sft' ? 'sft' : 'train'} --resume ${shellWord(folder)}`;
  const { kind, command } = readPlan(set);
  return `${kind === 'sweep' ? kind : command} --resume ${shellWord(set)}`;
}

function describeRun(entry: RunEntry, paint: Paint): string[] {
  const { folder, started, model, algo, task, before, after } = entry;
  const percent = (rate: number | null) => (rate === null ? '' : formatPercent(rate));
  return [
    relative('', folder) || folder,
    // Swedish dates have the format of ISO 8601.
    started === null ? '' : new Date(started).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' }),
    [model ?? '', algo === options.algo.default ? '' : algo].filter(Boolean).join(', '),
    basename(task ?? ''),
    after === null ? percent(before) : `${percent(before)} -> ${percent(after)}`,
    describeState(entry, paint),
  ];
}

function describeState({ state, detail, updates, plannedUpdates }: RunEntry, paint: Paint): string {
  switch (state) {
    case 'finished':
      return `${paint.good(state)}, ${counted(updates, 'update')}`;
    case 'running':
      return `${paint.strong(state)}${updates > 0 ? `, update ${updates}${plannedUpdates === null ? '' : ` of ${plannedUpdates}`}` : ''}, ${detail}`;
    case 'stopped':
      return `${paint.warn(state)} ${detail}`;
    case 'damaged':
      return paint.bad(state);
  }
}

export async function remove(
  { yes, json, quiet }: OptionValues<'yes' | 'json' | 'quiet'>,
  names: readonly string[],
): Promise<number> {
  // All are checked before the first is removed.
  const found = [...new Map(names.map(findRemovable).map((each) => [each.folder, each])).values()];
  const reporter = consoleReporter({ quiet });
  const what = found.map(
    ({ folder, runs, bytes }) => `${folder} (${runs === 1 ? '' : `${counted(runs, 'run')}, `}${formatBytes(bytes)})`,
  );
  return await interruptible(async (signal) => {
    if (!yes) {
      if (reporter.ask === undefined) {
        const problem = `This would remove ${what.join(', ')}.`;
        throw new UserError({ problem, fix: 'Without a terminal, confirm with --yes.' }, { exitCode: exitCodes.usage });
      }
      if (!(await reporter.ask(`Remove ${what.join(', ')}?`, signal))) throw new UserError('Nothing was removed.');
    }
    found.forEach(removeRuns);
    const bytes = found.reduce((sum, each) => sum + each.bytes, 0);
    printResult(json, { removed: found }, () => [
      `Removed ${found.map(({ folder }) => folder).join(', ')}: ${formatBytes(bytes)}.`,
    ]);
    return exitCodes.ok;
  });
}
