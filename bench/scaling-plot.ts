/**
 * @file Draws the record of bench/scaling.ts as an SVG: a panel for each growing quantity, seconds above, peak memory below. A
 * doubling has the same width in all panels, so that slopes can be compared.
 */
import { type Html, html, trusted } from '../src/report/html.js';
import { themes } from '../src/report/style.js';
import { counted } from '../src/util/format.js';
import {
  type Frame,
  inset,
  key,
  memoryChart,
  memoryScale,
  type Panel,
  secondsChart,
  secondsScale,
} from './scaling-panels.js';
import type { ScalingPoint, ScalingRecord } from './scaling-record.js';

interface Axis {
  readonly axis: ScalingPoint['axis'];
  readonly title: string;
  readonly amount: (point: ScalingPoint, base: ScalingRecord['base']) => number;
}

const axes: readonly Axis[] = [
  { axis: 'problems', title: 'Problems', amount: ({ factor }, { problems }) => factor * problems },
  { axis: 'samples', title: 'Samples per problem', amount: ({ factor }, { samples }) => factor * samples },
  { axis: 'newTokens', title: 'Tokens per completion', amount: ({ factor }, { newTokens }) => factor * newTokens },
  { axis: 'parameters', title: 'Parameters', amount: ({ parameters }) => parameters },
];

/** In CSS pixels; `octave` is the width of a doubling. */
const size = { edge: 14, numbers: 40, gap: 18, octave: 64, seconds: 270, memory: 120 } as const;
const top = { heading: 24, key: 32, seconds: 92, memory: 396 } as const;

/** A standalone SVG document, which follows the light or dark theme of its reader. */
export function scalingPlot({ points, base, cores, rounds, processor }: ScalingRecord): string {
  let right = size.edge;
  const columns = axes.map(({ axis, title, amount }, i) => {
    const numbered = i === 0;
    const own = points.filter((point) => point.axis === 'base' || point.axis === axis);
    const panel: Panel = { title, points: own, amount: (point) => amount(point, base), numbered };
    const left = right;
    const marginLeft = numbered ? size.numbers : size.gap;
    const width = marginLeft + size.octave * Math.log2(Math.max(...own.map(({ factor }) => factor))) + 2 * inset;
    right += width;
    return { panel, left, marginLeft, width };
  });
  const [width, height] = [right + size.edge, top.memory + size.memory + size.edge];
  const seconds = secondsScale(points);
  const memory = memoryScale(points);
  const measured = [processor, counted(cores, 'core'), `medians of ${counted(rounds, 'run')}`]
    .filter(Boolean)
    .join(', ');
  return html`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif" font-size="12">
<title>Time and memory of the whole job as the work grows</title>
<style>${trusted(themes)}svg { color: var(--muted); } .heading { fill: var(--text); font-weight: 650; }</style>
<rect width="100%" height="100%" rx="6" fill="var(--page)"/>
${heading(size.edge, top.heading, 'Seconds of the whole job as one thing grows')}
<text x="${width - size.edge}" y="${top.heading}" text-anchor="end" fill="currentColor">${measured}</text>
${placed(size.edge, top.key, { width: right - size.edge, height: 24, marginLeft: 0 }, key)}
${columns.map(({ panel, left, ...frame }) => [
  heading(left + frame.marginLeft, top.seconds - 6, panel.title),
  placed(left, top.seconds, { ...frame, height: size.seconds }, (inside) => secondsChart(panel, inside, seconds)),
  placed(left, top.memory, { ...frame, height: size.memory }, (inside) => memoryChart(panel, inside, memory)),
])}
${heading(size.edge, top.memory - 8, 'Peak memory, MB')}
</svg>
`.markup;
}

const heading = (x: number, y: number, words: string) => html`<text class="heading" x="${x}" y="${y}">${words}</text>`;

/** The library's style stretches a chart to the height of its container, so it gets a container of its size. */
const placed = (x: number, y: number, frame: Frame, draw: (frame: Frame) => Html) =>
  html`<svg x="${x}" y="${y}" width="${frame.width}" height="${frame.height}" overflow="visible">${draw(frame)}</svg>`;
