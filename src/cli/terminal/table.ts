/** @file Rows of text as a table: columns as wide as their widest cell, two spaces between them. */
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
 * `rows` with the cells of the widest columns cut, ending in `…`, until a table of them is at most `width` characters wide, or
 * until no column is wider than `minCell`.
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

/** Characters of the longest line. */
export function tableWidth(lines: readonly string[]): number {
  return Math.max(0, ...lines.map((line) => stringWidth(line)));
}
