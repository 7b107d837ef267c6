/**
 * @file Charts as SVG text, drawn by Observable Plot on linkedom's document, so that no browser is needed, and their frames:
 * figures, sections and the colours of runs. Chart colours are CSS variables that follow the page's theme. The last layer of
 * every chart has the values as text (`title`), which browsers show on hover; script.ts turns them into tooltips that also
 * work with keyboard and touch.
 */
import { describeInterval, formatPercent } from '../../util/format.js';
import type { Interval } from '../../util/statistics.js';
import { type Html, html, trusted } from '../html.js';
import * as Plot from './plot.js';

const { document } = Plot.parseHTML('<!doctype html><html><body></body></html>');

interface ChartOptions extends Omit<Plot.PlotOptions, 'document' | 'className' | 'ariaLabel'> {
  /** Text alternative for screen readers. */
  readonly description: string;
}

/** Size of charts placed side by side, in CSS pixels; the page scales them to its columns. */
const chartSize = { width: 360, height: 210 } as const;

/** The chart as `<svg>`. */
export function chart({ description, ...options }: ChartOptions): Html {
  const svg = Plot.plot({
    ...chartSize,
    marginLeft: 50,
    marginRight: 12,
    marginTop: 12,
    marginBottom: 34,
    ...options,
    style: { fontSize: '11px', fontFamily: 'inherit', background: 'none', overflow: 'visible' },
    className: 'plot',
    ariaLabel: description,
    document,
  });
  svg.setAttribute('role', 'img');
  // The chart is a single image with a description; its groups have no role and so no labels.
  return trusted(svg.outerHTML.replace(/(<g\b[^>]*?) aria-label=/g, '$1 data-mark='));
}

/** Options of the layer with the values as text. */
export const hits = { className: 'hits', fill: 'transparent' } as const;

/** A tick's number, short enough for the margin: `0.005`, `-3e-4`, `200`. */
export function tickText(value: number): string {
  const rounded = Number(value.toPrecision(3));
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? rounded.toExponential() : String(rounded);
}

/** Ticks of an axis of rates. */
export const percentAxis = {
  domain: [0, 1],
  ticks: [0, 0.25, 0.5, 0.75, 1],
  tickFormat: (rate: number) => `${Math.round(100 * rate)} %`,
};

/** The axis of values: for rates in percent; otherwise from 0, or the smallest of `values` if negative, to the largest. */
export function valueAxis(values: readonly number[], rate = false): Plot.ScaleOptions {
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const domain = [low, high === low ? low + 1 : high];
  return { label: null, grid: true, ...(rate ? percentAxis : { domain, nice: true, ticks: 4, tickFormat: tickText }) };
}

/** Points per running mean: a tenth of the curve, an odd number. */
export const meanWindow = (points: number) => Math.max(1, 2 * Math.floor(points / 20) + 1);

/** `options` of a line, with the running mean over `window` points as its y. */
export function runningMean(window: number, options: Plot.LineYOptions): Plot.LineYOptions {
  return Plot.windowY({ k: window, anchor: 'middle', reduce: 'mean', strict: false }, options);
}

/** The axis of updates. Between few updates there are ticks at fractions, which get no number. */
export const updateAxis = {
  label: 'update',
  ticks: 5,
  tickFormat: (update: number) => (Number.isInteger(update) ? String(update) : ''),
} as const;

export { Plot };

interface Figure {
  readonly title: string;
  /** The unit: `nats per completion`. */
  readonly unit: string;
  readonly chart: Html;
  readonly note?: Html | string;
}

export function figure({ title, unit, chart, note }: Figure): Html {
  return html`<figure>
<figcaption><b>${title}</b> <span>${unit}</span></figcaption>
${chart}
${note !== undefined && html`<p class="note">${note}</p>`}
</figure>`;
}

interface Section {
  readonly id: string;
  readonly title: string;
  /** One or two sentences under the title. */
  readonly lead: Html | string;
  readonly body: Html;
}

export function section({ id, title, lead, body }: Section): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
<p class="lead">${lead}</p>
${body}
</section>`;
}

/** Colours and dashes of overlaid runs, the report's own first; they repeat if there are more runs. */
const runStyles = [
  { color: 'var(--run-1)', dash: undefined },
  { color: 'var(--run-2)', dash: '5 3' },
  { color: 'var(--run-3)', dash: '1.5 3' },
  { color: 'var(--run-4)', dash: '8 3 1.5 3' },
  { color: 'var(--run-5)', dash: '12 3' },
] as const;

export function runStyle(index: number): (typeof runStyles)[number] {
  return runStyles[index % runStyles.length]!;
}

/** The legend of runs, shared by all charts of a section. */
export function legend(runs: readonly { readonly name: string }[]): Html {
  return html`<ul class="legend">${runs.map((run, i) => {
    const { color, dash } = runStyle(i);
    return html`<li><svg width="28" height="10" aria-hidden="true"><line x1="1" x2="27" y1="5" y2="5" stroke="${color}" stroke-width="2.5" stroke-dasharray="${dash ?? 'none'}"/></svg>${run.name}</li>`;
  })}</ul>`;
}

/** A number with about three significant digits: `0.0213`, `14.4`, `1,504`. */
export function short(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1);
  return value.toLocaleString('en-US', size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}

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
