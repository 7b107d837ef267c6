/**
 * @file Charts as SVG text: Observable Plot on linkedom's document, so no browser is needed. Colours are CSS variables of the
 * page, which follow its light or dark theme. Every chart ends with a layer of marks that carry the values in words (`title`): browsers show
 * them on hover, and script.ts makes of them a tooltip that keyboard and touch reach too.
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { type Html, trusted } from '../html.js';

const { document } = parseHTML('<!doctype html><html><body></body></html>');

interface ChartOptions extends Omit<Plot.PlotOptions, 'document' | 'className' | 'ariaLabel'> {
  /** What the chart shows, in words, for those who cannot see it. */
  readonly description: string;
}

/** Size of the charts that stand side by side, in CSS pixels at scale 1; the page scales them to its columns. */
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
    document: document as never,
  }) as unknown as { setAttribute(name: string, value: string): void; outerHTML: string };
  svg.setAttribute('role', 'img');
  // The chart is one image with a description; its groups have no role, and so no labels of their own.
  return trusted(svg.outerHTML.replace(/(<g\b[^>]*?) aria-label=/g, '$1 data-mark='));
}

/** Options of the layer that carries values in words. */
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

export { Plot };
