/**
 * @file The charts of bench/scaling-plot.ts: seconds and memory as one quantity grows, and the legend. Both axes of seconds are
 * logarithmic, so lines parallel to the dashed one grow in proportion to the work.
 */
import { chart, Plot, runStyle, short } from '../src/report/charts/chart.js';
import type { Html } from '../src/report/html.js';
import type { ScalingPoint } from './scaling-record.js';

/** Size in CSS pixels, and the left margin. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly marginLeft: number;
}

export interface Panel {
  readonly title: string;
  /** The base first. */
  readonly points: readonly ScalingPoint[];
  /** The quantity in words: 250 problems. */
  readonly amount: (point: ScalingPoint) => number;
  /** Whether this panel shows the numbers of the y scale, which all panels share. */
  readonly numbered: boolean;
}

/** Space between the ends of the scale and the frame, so that numbers at points are not cut off. */
export const inset = 18;

/** Lines differ in both colour and shape. */
const lines = [
  { name: 'total', symbol: 'circle', seconds: ({ seconds }) => seconds },
  { name: 'stage 1', symbol: 'square', seconds: ({ phases }) => phases.stage1! },
  { name: 'stage 2', symbol: 'triangle', seconds: ({ phases }) => phases.stage2! },
  { name: 'both evaluations', symbol: 'diamond', seconds: ({ phases }) => phases.evalBefore! + phases.evalAfter! },
] as const satisfies readonly { name: string; symbol: string; seconds: (point: ScalingPoint) => number }[];
const [total] = lines;
const lineWidth = 1.75;
const linearStyle = { stroke: 'currentColor', strokeWidth: 1, strokeDasharray: '4 3' } as const;
/** A halo around numbers, which lines may cross. */
const halo = { stroke: 'var(--page)', strokeWidth: 4 } as const;

/** Total seconds if they grew in proportion to the work. */
const linear = (base: ScalingPoint, { factor }: ScalingPoint) => factor * base.seconds;

/** With base 10, the library omits the numbers of some ticks. */
const logarithmic = { type: 'log', base: 2 } as const;
const plain = { label: null, tickSize: 0 } as const;

/** The y scale of seconds, which includes every line of every panel. */
export function secondsScale(points: readonly ScalingPoint[]): Plot.ScaleOptions {
  const [base] = points as readonly [ScalingPoint];
  const values = points.flatMap((point) => [...lines.map(({ seconds }) => seconds(point)), linear(base, point)]);
  const [low, high] = [Math.min(...values) / 1.2, Math.max(...values) * 1.2];
  const decades = Array.from({ length: 9 }, (_, i) => 10 ** (i - 3));
  const ticks = decades.flatMap((decade) => [decade, 2 * decade, 5 * decade]);
  return { ...logarithmic, domain: [low, high], ticks: ticks.filter((tick) => tick >= low && tick <= high) };
}

/** The y scale of memory, from 0, with room for the numbers above the bars. */
export function memoryScale(points: readonly ScalingPoint[]): Plot.ScaleOptions {
  return { domain: [0, 1.25 * Math.max(...points.map(({ peakMegabytes }) => peakMegabytes))], ticks: 3 };
}

export function secondsChart(panel: Panel, frame: Frame, scale: Plot.ScaleOptions): Html {
  const { title, points } = panel;
  const [base] = points as readonly [ScalingPoint];
  return chart({
    ...options(panel, frame, scale),
    description: `${title}, seconds in total: ${inWords(points, total.seconds)}`,
    marks: [
      Plot.lineY(points, { x: 'factor', y: (point) => linear(base, point), ...linearStyle }),
      ...lines.map(({ seconds }, i) =>
        Plot.lineY(points, { x: 'factor', y: seconds, stroke: runStyle(i).color, strokeWidth: lineWidth }),
      ),
      ...lines.map(({ seconds, symbol }, i) =>
        Plot.dot(points, { x: 'factor', y: seconds, fill: runStyle(i).color, symbol, r: 4 }),
      ),
      Plot.text(points, {
        x: 'factor',
        y: total.seconds,
        text: (point) => short(total.seconds(point)),
        dy: -13,
        fill: runStyle(0).color,
        fontWeight: 650,
        ...halo,
      }),
    ],
  });
}

export function memoryChart(panel: Panel, frame: Frame, scale: Plot.ScaleOptions): Html {
  const { title, points } = panel;
  const place = { x: 'factor', y: 'peakMegabytes' };
  const megabytes = ({ peakMegabytes }: ScalingPoint) => Math.round(peakMegabytes);
  return chart({
    ...options(panel, frame, scale),
    description: `${title}, peak megabytes: ${inWords(points, megabytes)}`,
    marks: [
      Plot.ruleX(points, { ...place, stroke: 'var(--rule)', strokeWidth: 6 }),
      Plot.text(points, { ...place, text: (point) => short(megabytes(point)), dy: -8, fill: 'var(--text)', ...halo }),
    ],
  });
}

function options({ points, amount, numbered }: Panel, frame: Frame, scale: Plot.ScaleOptions) {
  const factors = points.map(({ factor }) => factor);
  const tickText = (factor: number) => {
    const value = amount(points.find((point) => point.factor === factor)!);
    return `×${factor}\n${value.toLocaleString('en-US', { notation: 'compact', maximumSignificantDigits: 3 })}`;
  };
  return {
    ...frame,
    marginRight: 0,
    x: {
      ...plain,
      ...logarithmic,
      inset,
      domain: [1, Math.max(...factors)],
      ticks: factors,
      tickFormat: tickText,
    },
    y: { ...plain, ...scale, grid: true, tickFormat: (value: number) => (numbered ? short(value) : '') },
  };
}

function inWords(points: readonly ScalingPoint[], value: (point: ScalingPoint) => number): string {
  return points.map((point) => `×${point.factor} ${short(value(point))}`).join(', ');
}

/** The legend, in one row. */
export function key({ width, height }: Frame): Html {
  const column = 140;
  const at = (i: number) => ({ x1: i * column, x2: i * column + 24, y1: 0, y2: 0 });
  const names = [...lines.map(({ name }) => name), 'linear growth of the total'];
  return chart({
    description: `Lines: ${names.join(', ')}`,
    width,
    height,
    marginLeft: 0,
    marginRight: 0,
    marginTop: 0,
    marginBottom: 0,
    x: { axis: null, domain: [0, width] },
    y: { axis: null, domain: [-1, 1] },
    marks: [
      ...lines.map(({ symbol }, i) => [
        Plot.link([at(i)], { ...at(i), stroke: runStyle(i).color, strokeWidth: lineWidth }),
        Plot.dot([at(i)], { x: at(i).x1 + 12, y: 0, fill: runStyle(i).color, symbol, r: 4 }),
      ]),
      Plot.link([at(lines.length)], { ...at(lines.length), ...linearStyle }),
      Plot.text(names, { x: (_, i) => at(i).x2 + 6, y: 0, text: (name) => name, textAnchor: 'start' }),
    ],
  });
}
