/**
 * @file The section of curves: what every update of stage 2 logged, one chart a quantity, all of the same size; several runs over each other.
 */
import { formatPercent } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import { chart, hits, Plot, percentAxis, tickText } from '../charts/chart.js';
import { figure, runStyle, section, short } from '../charts/figure.js';
import { scatterFigure } from '../charts/scatter.js';
import { binned } from '../charts/thin.js';
import { type Html, html } from '../html.js';
import type { RunRecord, StepRecord } from '../read.js';
import { looksFigure } from './looks.js';

interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly value: (step: StepRecord) => number;
  /** Drawn from 0 to 100 %. */
  readonly rate?: true;
  /** More of the same update, for the tooltip. */
  readonly also?: { readonly name: string; readonly value: (step: StepRecord) => number };
}

const beforeLooks: readonly Quantity[] = [
  { title: 'Reward', unit: 'mean of the rollouts of an update, 0 to 1', value: ({ reward }) => reward },
  {
    title: 'Exact answers',
    unit: 'share of the rollouts of an update',
    rate: true,
    value: ({ exactRate }) => exactRate,
  },
];

const afterLooks: readonly Quantity[] = [
  { title: 'Loss', unit: 'mean of the rollouts of an update', value: ({ loss }) => loss },
  { title: 'Learning rate', unit: 'of AdamW', value: ({ learningRate }) => learningRate },
  { title: 'KL to the reference', unit: 'nats per completion', value: ({ kl }) => kl },
  { title: 'Entropy', unit: 'nats per token', value: ({ entropy }) => entropy },
  { title: 'Length', unit: 'tokens per completion, end token included', value: ({ meanTokens }) => meanTokens },
  { title: 'Gradient norm', unit: 'before clipping', value: ({ gradientNorm }) => gradientNorm },
  {
    title: 'Readable answers',
    unit: 'share of rollouts with an answer in the asked-for form',
    rate: true,
    value: ({ formatRate }) => formatRate,
    also: { name: 'cut off', value: ({ truncatedRate }) => truncatedRate },
  },
];

export function curvesSection(runs: readonly RunRecord[]): Html | undefined {
  const [run] = runs;
  if (run === undefined || run.steps.length === 0) return undefined;
  const updates = run.steps.length;
  const drawn = (quantity: Quantity) => curveFigure(quantity, runs);
  return section({
    id: 'training',
    title: 'Training, update by update',
    lead: html`Stage 2 made ${updates.toLocaleString('en-US')} updates of ${run.stored.options.batchSize} rollouts. ${
      runs.length === 1 ? 'Thin lines are single updates, bold lines their running mean.' : 'Lines are running means.'
    } Point at a chart, or focus it and use the arrow keys, for values.`,
    body: html`${runs.length > 1 && legend(runs)}<div class="charts">
${beforeLooks.map(drawn)}${looksFigure(runs)}${afterLooks.map(drawn)}${scatterFigure(run, runs.length > 1)}
</div>`,
  });
}

/** Which line is which run; one legend for all charts of a section. */
export function legend(runs: readonly RunRecord[]): Html {
  return html`<ul class="legend">${runs.map((run, i) => {
    const { color, dash } = runStyle(i);
    return html`<li><svg width="28" height="10" aria-hidden="true"><line x1="1" x2="27" y1="5" y2="5" stroke="${color}" stroke-width="2.5" stroke-dasharray="${dash ?? 'none'}"/></svg>${run.name}</li>`;
  })}</ul>`;
}

/** Updates of a run that are drawn as one point. */
interface Point {
  readonly step: number;
  readonly when: string;
  readonly value: number;
  readonly text: string;
}

/** More points than a chart has pixels to tell apart. */
const maxPoints = 160;

function pointsOf({ rate, value, also }: Quantity, run: RunRecord, name: string): Point[] {
  const show = rate ? formatPercent : short;
  return binned(run.steps, maxPoints).map(({ first, last, items }) => {
    const average = mean(items.map(value));
    const extra = also && `${also.name} ${show(mean(items.map(also.value)))}`;
    return {
      step: last.step,
      when: first === last ? `update ${last.step}` : `updates ${first.step} to ${last.step}, mean`,
      value: average,
      text: [`${name} ${show(average)}`, extra].filter(Boolean).join(', '),
    };
  });
}

function curveFigure(quantity: Quantity, runs: readonly RunRecord[]): Html {
  const { title, unit, rate } = quantity;
  const series = runs.map((run) => pointsOf(quantity, run, runs.length === 1 ? title.toLowerCase() : run.name));
  const values = series.flat().map(({ value }) => value);
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const first = series[0]!;
  const description = `${title} (${unit}) by update: from ${short(first[0]!.value)} to ${short(first.at(-1)!.value)}`;
  const svg = chart({
    description,
    x: { label: 'update', ticks: 5, tickFormat: 'd' },
    y: {
      label: null,
      grid: true,
      ...(rate
        ? percentAxis
        : { domain: [low, high === low ? low + 1 : high], nice: true, ticks: 4, tickFormat: tickText }),
    },
    marks: [...series.flatMap((points, i) => lines(points, i, runs.length === 1)), bands(series)],
  });
  return figure({ title, unit, chart: svg });
}

function lines(points: readonly Point[], run: number, single: boolean): Plot.Markish[] {
  const { color, dash } = runStyle(run);
  const window = Math.max(1, 2 * Math.floor(points.length / 20) + 1);
  const options = { x: 'step', y: 'value', stroke: color };
  const running = Plot.windowY({ k: window, anchor: 'middle', reduce: 'mean', strict: false }, options);
  return [
    ...(single && window > 1 ? [Plot.lineY(points, { ...options, strokeOpacity: 0.35, strokeWidth: 1 })] : []),
    Plot.lineY(points, { ...running, strokeWidth: 2, ...(dash !== undefined && { strokeDasharray: dash }) }),
  ];
}

/** One upright band a step, as high as the chart, with all values there. */
function bands(series: readonly (readonly Point[])[]): Plot.Markish {
  const at = new Map<number, Point[]>();
  for (const point of series.flat()) at.set(point.step, [...(at.get(point.step) ?? []), point]);
  const steps = [...at.keys()].sort((a, b) => a - b);
  const middle = (i: number) => ((steps[i] ?? 0) + (steps[i + 1] ?? 0)) / 2;
  const data = steps.map((step, i) => {
    const points = at.get(step)!;
    return {
      left: i === 0 ? step - 0.5 : middle(i - 1),
      right: i === steps.length - 1 ? step + 0.5 : middle(i),
      text: [points[0]!.when, ...points.map(({ text }) => text)].join('\n'),
    };
  });
  return Plot.rect(data, { x1: 'left', x2: 'right', title: 'text', ...hits });
}
