/**
 * @file A chart of accuracies before and after training as dots with intervals, one row each, for one or several runs.
 */
import { describeInterval, formatPercent } from '../../util/format.js';
import type { Interval } from '../../util/statistics.js';
import type { Html } from '../html.js';
import { chart, hits, Plot, percentAxis } from './chart.js';

export interface Measured {
  /** Name of the row. */
  readonly row: string;
  readonly when: 'before' | 'after';
  readonly rate: number;
  /** Null: no interval is drawn. */
  readonly ci95: Interval | null;
}

const rowHeight = 34;

/** @param labelWidth room for the names of the rows, in pixels. */
export function intervalChart(measured: readonly Measured[], labelWidth: number): Html {
  const data = measured.map(({ row, when, rate, ci95 }) => ({
    row,
    when,
    rate,
    low: ci95?.[0],
    high: ci95?.[1],
    text: `${row}, ${when} training\n${formatPercent(rate)} exact\n${describeInterval(ci95)}`,
  }));
  const rows = [...new Set(data.map(({ row }) => row))];
  const color = (when: Measured['when']) => (when === 'before' ? 'var(--muted)' : 'var(--accent)');
  // `before` is drawn slightly above `after`, so that intervals never overlap.
  const layer = (when: Measured['when'], dy: number): Plot.Markish[] => {
    const part = data.filter((item) => item.when === when);
    const place = { y: 'row', dy };
    return [
      Plot.ruleY(
        part.filter(({ low }) => low !== undefined),
        { ...place, x1: 'low', x2: 'high', stroke: color(when), strokeWidth: 2.5, strokeOpacity: 0.55 },
      ),
      Plot.dot(part, {
        ...place,
        x: 'rate',
        fill: when === 'after' ? color(when) : 'var(--page)',
        stroke: color(when),
        strokeWidth: 2,
        r: 5,
      }),
      Plot.text(part, {
        ...place,
        x: 'rate',
        text: ({ rate }) => formatPercent(rate),
        dy: dy + (when === 'before' ? -12 : 13),
        fontWeight: 600,
        fill: color(when),
      }),
    ];
  };
  const hitArea = (when: Measured['when'], dy: number) =>
    Plot.dot(
      data.filter((item) => item.when === when),
      { x: 'rate', y: 'row', dy, r: 13, title: 'text', ...hits },
    );
  return chart({
    description: data.map(({ text }) => text.replaceAll('\n', ', ')).join('; '),
    height: 46 + 2 * rowHeight * rows.length,
    marginLeft: labelWidth,
    marginRight: 26,
    x: { ...percentAxis, label: 'exact answers', grid: true },
    y: { type: 'point', domain: rows, label: null, tickSize: 0, padding: 0.6 },
    marks: [...layer('before', -9), ...layer('after', 9), hitArea('before', -9), hitArea('after', 9)],
  });
}
