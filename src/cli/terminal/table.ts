/** @file Draws rows of text as a table with aligned columns, and a series of numbers as a row of block characters. */
import cliTruncate from 'cli-truncate';
import stringWidth from 'string-width';
import { mean } from '../../util/statistics.js';

const gap = '  ';

export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = columnWidths(rows);
  return rows.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat(widths[i]! - stringWidth(cell)))
      .join(gap)
      .trimEnd(),
  );
}

/**
 * Shortens the cells of the widest columns, with `…` at the end, until the table is at most `width` characters wide or no
 * column is wider than `minCell`.
 */
export function fittedColumns(rows: readonly (readonly string[])[], width: number, minCell: number): string[][] {
  const widths = columnWidths(rows);
  const total = () => widths.reduce((sum, each) => sum + each + gap.length, -gap.length);
  while (total() > width && Math.max(...widths) > minCell) widths[widths.indexOf(Math.max(...widths))]! -= 1;
  return rows.map((row) => row.map((cell, i) => cliTruncate(cell, widths[i]!)));
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, stringWidth(cell));
  }
  return widths;
}

/** Length of the longest line in characters. */
export function tableWidth(lines: readonly string[]): number {
  return Math.max(0, ...lines.map((line) => stringWidth(line)));
}

const levels = [...'▁▂▃▄▅▆▇█'];

/**
 * Draws `values`, from 0 to 1, in at most `width` characters. If there are more values, each character shows the mean of
 * several consecutive ones.
 */
export function sparkline(values: readonly number[], width: number): string {
  const cells = Math.max(0, Math.min(width, values.length));
  return Array.from({ length: cells }, (_, cell) => {
    const from = Math.floor((cell * values.length) / cells);
    const to = Math.floor(((cell + 1) * values.length) / cells);
    const level = Math.floor(mean(values.slice(from, to)) * levels.length);
    return levels[Math.min(levels.length - 1, Math.max(0, level))]!;
  }).join('');
}
