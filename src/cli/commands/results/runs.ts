/**
 * @file `tinyzero runs`: lists the runs in a folder, one per line, or on two lines each if the terminal is narrow.
 */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { type OptionValues, options } from '../../../options/table.js';
import { shellWord } from '../../../report/command.js';
import { listRuns, type RunEntry } from '../../../run/list.js';
import { exitCodes } from '../../../util/errors.js';
import { formatPercent } from '../../../util/format.js';
import { programName } from '../../program-name.js';
import { printResult } from '../../terminal/output.js';
import type { Paint } from '../../terminal/paint.js';
import { fittedColumns, tableLines, tableWidth } from '../../terminal/table.js';

const defaultFolder = 'runs';

export async function run({ json }: OptionValues<'json'>, operands: readonly string[]): Promise<number> {
  const [folder = defaultFolder] = operands;
  // Before the first run, the folder does not exist, which is not an error.
  const runs = operands.length === 0 && !existsSync(folder) ? [] : listRuns(folder);
  printResult(json, runs, (paint, width) =>
    runs.length === 0
      ? [`There are no runs in ${folder}. Start one with \`tinyzero train\`.`]
      : describeRuns(runs, paint, width),
  );
  return exitCodes.ok;
}

/** With narrower columns, a run takes two lines. */
const minCell = 12;

/** @param width width of the terminal; undefined: lines may have any length. */
function describeRuns(runs: readonly RunEntry[], paint: Paint, width = Number.POSITIVE_INFINITY): string[] {
  const cells = runs.map((entry) => describeRun(entry, paint));
  const table = [['run', 'started', 'model', 'held-out accuracy', 'state'], ...cells];
  const [head, ...rows] = tableLines(fittedColumns(table, width, minCell));
  const isWide = tableWidth([head!, ...rows]) <= width;
  const facts = tableLines(cells.map(([, ...rest]) => rest.slice(0, -1)));
  const lines = runs.flatMap(({ state, detail }, i) => [
    ...(isWide ? [rows[i]!] : [`${cells[i]!.at(0)}: ${cells[i]!.at(-1)}`, `  ${facts[i]}`]),
    ...(state === 'damaged' ? [`  ${detail}`] : []),
  ]);
  const stopped = runs.find(({ state }) => state === 'stopped');
  return [
    ...(isWide ? [paint.faint(head!)] : []),
    ...lines,
    ...(stopped === undefined
      ? []
      : [
          '',
          'To resume one:',
          `  ${programName()} ${stopped.algo === 'sft' ? 'sft' : 'train'} --resume ${shellWord(stopped.folder)}`,
        ]),
  ];
}

function describeRun(entry: RunEntry, paint: Paint): string[] {
  const { folder, started, model, algo, before, after } = entry;
  const percent = (rate: number | null) => (rate === null ? '' : formatPercent(rate));
  return [
    relative('', folder) || folder,
    // Swedish dates have the format of ISO 8601.
    started === null ? '' : new Date(started).toLocaleString('sv-SE', { dateStyle: 'short', timeStyle: 'short' }),
    [model ?? '', algo === options.algo.default ? '' : algo].filter(Boolean).join(', '),
    after === null ? percent(before) : `${percent(before)} -> ${percent(after)}`,
    describeState(entry, paint),
  ];
}

function describeState({ state, detail, updates, plannedUpdates }: RunEntry, paint: Paint): string {
  switch (state) {
    case 'finished':
      return `${paint.good(state)}, ${updates} updates`;
    case 'running':
      return `${paint.strong(state)}${updates > 0 ? `, update ${updates}${plannedUpdates === null ? '' : ` of ${plannedUpdates}`}` : ''}, ${detail}`;
    case 'stopped':
      return `${paint.warn(state)} ${detail}`;
    case 'damaged':
      return paint.bad(state);
  }
}
