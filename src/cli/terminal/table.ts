/** @file Formats rows of text as a table. Columns are as wide as their widest cell and separated by two spaces. */
import cliTruncate from 'cli-truncate';
import stringWidth from 'string-width';

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
