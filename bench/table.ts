/** @file Formats figures as a table. */
import type { Spread } from './summary.js';

/** One line per side; empty columns are omitted. */
export function table(sides: Readonly<Record<string, object>>, columns: readonly string[]): string {
  const spreadOf = (figures: object, column: string) => (figures as Record<string, Spread | undefined>)[column];
  const shown = columns.filter((column) => Object.values(sides).some((figures) => spreadOf(figures, column)));
  const lines = [
    ['', ...shown],
    ...Object.entries(sides).map(([side, figures]) => [side, ...shown.map((name) => cell(spreadOf(figures, name)))]),
  ];
  const widths = lines[0]?.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0))) ?? [];
  return lines.map((line) => line.map((text, i) => pad(text, widths[i]!, i === 0)).join('  ')).join('\n');
}

const pad = (text: string, width: number, left: boolean) => (left ? text.padEnd(width) : text.padStart(width));

/** The median, with the range if there is one. */
function cell(spread: Spread | undefined): string {
  if (spread === undefined || Number.isNaN(spread.median)) return '-';
  const { median, min, max } = spread;
  return min === max ? short(median) : `${short(median)} (${short(min)}-${short(max)})`;
}

const short = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
