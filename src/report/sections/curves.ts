/**
 * @file The section of curves: the metrics of every update of stage 2, one chart per metric, with all runs overlaid, and the
 * held-out accuracy measured during training.
 */
import { bestOf } from '../../stage2/step-metrics.js';
import { formatPercent } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import {
  chart,
  figure,
  hits,
  legend,
  meanWindow,
  Plot,
  percentAxis,
  runningMean,
  runStyle,
  section,
  short,
  updateAxis,
  valueAxis,
} from '../charts/chart.js';
import { scatterFigure } from '../charts/scatter.js';
import { type Html, html } from '../html.js';
import { binned, type StepRecord } from '../log-records.js';
import type { RunRecord } from '../read.js';

interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly value: (step: StepRecord) => number;
  /** Whether the axis goes from 0 to 100 %. */
  readonly rate?: true;
  /** Whether it has no noise, so that no running mean is drawn. */
  readonly exact?: true;
  /** A second value of the same update, for the tooltip. */
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
  {
    title: 'Tracked success',
    unit: "SPO's tracked value of the drawn problems, mean before the update",
    rate: true,
    value: ({ trackedValue }) => trackedValue ?? Number.NaN,
    also: { name: 'weight that older rewards keep', value: ({ trackedRetention }) => trackedRetention ?? Number.NaN },
  },
  {
    title: 'Value of the prompts',
    unit: 'mean β₂·V_θ(prompt) of an update, in units of reward',
    value: ({ promptValue }) => promptValue ?? Number.NaN,
  },
  { title: 'Learning rate', unit: 'of AdamW', exact: true, value: ({ learningRate }) => learningRate },
  { title: 'KL to the reference', unit: 'nats per completion', value: ({ kl }) => kl },
  { title: 'Entropy', unit: 'nats per token', value: ({ entropy }) => entropy },
  { title: 'Length', unit: 'tokens per completion, end token included', value: ({ meanTokens }) => meanTokens },
  { title: 'Gradient norm', unit: 'before clipping', value: ({ gradientNorm }) => gradientNorm ?? Number.NaN },
  {
    title: 'Readable answers',
    unit: 'share of rollouts with an answer in the requested form',
    rate: true,
    value: ({ formatRate }) => formatRate,
    also: { name: 'cut off', value: ({ truncatedRate }) => truncatedRate },
  },
];

export function curvesSection(runs: readonly RunRecord[]): Html | undefined {
  const [run] = runs;
  if (run === undefined || run.steps.length === 0) return undefined;
  const updates = run.steps.length;
  // Metrics that a run lacks are not drawn, such as the gradient norm of a run on a server.
  const isKnown = ({ value }: Quantity) =>
    runs.every(({ steps }) => steps.every((step) => Number.isFinite(value(step))));
  const drawn = (quantity: Quantity) => isKnown(quantity) && curveFigure(quantity, runs);
  return section({
    id: 'training',
    title: 'Training, update by update',
    lead: html`Stage 2 made ${updates.toLocaleString('en-US')} ${updates === 1 ? 'update' : 'updates'} of ${run.stored.options.batchSize} rollouts. ${
      runs.length === 1 ? 'Thin lines are single updates, bold lines their running mean.' : 'Lines are running means.'
    } Point at a chart, or focus it and use the arrow keys, for values.`,
    body: html`${runs.length > 1 && legend(runs)}<div class="charts">
${beforeLooks.map(drawn)}${looksFigure(runs)}${validationFigure(runs) ?? false}${afterLooks.map(drawn)}${scatterFigure(run, runs.length > 1)}
</div>`,
  });
}

/** Consecutive updates of a run that are drawn as one point. */
interface Point {
  readonly step: number;
  readonly when: string;
  readonly value: number;
  readonly text: string;
}

/** Most points of a curve; a chart has too few pixels for more. */
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
  const { title, unit, rate, exact } = quantity;
  const series = runs.map((run) => pointsOf(quantity, run, runs.length === 1 ? title.toLowerCase() : run.name));
  const values = series.flat().map(({ value }) => value);
  const first = series[0]!;
  const description = `${title} (${unit}) by update: from ${short(first[0]!.value)} to ${short(first.at(-1)!.value)}`;
  const svg = chart({
    description,
    x: { ...updateAxis, domain: [0.5, lastUpdate(runs) + 0.5] },
    y: valueAxis(values, rate),
    marks: [
      ...series.flatMap((points, i) => lines(points, i, exact ? 'values' : runs.length === 1 ? 'both' : 'means')),
      bands(series),
    ],
  });
  return figure({ title, unit, chart: svg });
}

/** Where the axis of updates ends: for a run that is not finished, at the end of its plan. */
function lastUpdate(runs: readonly RunRecord[]): number {
  const ends = runs.map(({ steps, after, plannedUpdates = 0 }) =>
    Math.max(after === undefined ? plannedUpdates : 0, steps.at(-1)?.step ?? 0),
  );
  return Math.max(1, ...ends);
}

function lines(points: readonly Point[], run: number, what: 'values' | 'means' | 'both'): Plot.Markish[] {
  const { color, dash } = runStyle(run);
  const window = what === 'values' ? 1 : meanWindow(points.length);
  const options = { x: 'step', y: 'value', stroke: color };
  const running = runningMean(window, options);
  return [
    ...(what === 'both' && window > 1 ? [Plot.lineY(points, { ...options, strokeOpacity: 0.35, strokeWidth: 1 })] : []),
    Plot.lineY(points, { ...running, strokeWidth: 2, ...(dash !== undefined && { strokeDasharray: dash }) }),
  ];
}

/** One vertical band per step, as high as the chart, with all values of the step. */
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

interface Look {
  readonly step: number;
  readonly rate: number;
  /** Drawn as a diamond. */
  readonly marked: boolean;
  readonly text: string;
}

/** Most measurements drawn; if there are more, every n-th is drawn. */
const maxLooks = 60;

function looksFigure(runs: readonly RunRecord[]): Html {
  return figure({
    title: 'Held-out accuracy, greedy',
    unit: 'share of problems; ◆ evaluations, ○ during training',
    chart: looksChart(
      'Held-out greedy accuracy',
      runs.map((run) => looksOf(run, runs.length > 1)),
      lastUpdate(runs),
    ),
    note: 'Measurements during training are for monitoring only: nothing was stopped, saved or chosen by them.',
  });
}

/** Accuracy on the validation problems, for runs that have some, with a mark at the model that `--keep best` keeps. */
function validationFigure(runs: readonly RunRecord[]): Html | undefined {
  const series = runs.map((run) => validationsOf(run, runs.length > 1));
  if (series.every((looks) => looks.length === 0)) return undefined;
  const isChosen = series.some((looks) => looks.some(({ marked }) => marked));
  return figure({
    title: 'Validation accuracy, greedy',
    unit: `share of problems that are neither trained on nor held out${isChosen ? '; ◆ the kept model' : ''}`,
    chart: looksChart('Validation accuracy', series, lastUpdate(runs)),
    ...(isChosen && {
      note: '--keep best chose by this. The best of many measurements is partly the luckiest, so the held-out accuracy alone says what the kept model is worth.',
    }),
  });
}

function validationsOf({ name, steps, stored }: RunRecord, named: boolean): Look[] {
  const kept = stored.options.keep === 'best' ? bestOf(steps)?.step : undefined;
  const measured = steps.filter(({ validationGreedy }) => validationGreedy !== undefined);
  const drawn = new Set(binned(measured, maxLooks).map(({ last }) => last));
  return measured
    .filter((each) => drawn.has(each) || each.step === kept)
    .map(({ step, validationGreedy }) => {
      const what = `after update ${step}${step === kept ? ', the kept model' : ''}${named ? `, ${name}` : ''}`;
      const rate = validationGreedy!;
      return { step, rate, marked: step === kept, text: `${what}\n${formatPercent(rate)} of greedy answers exact` };
    });
}

/** Measurements as dots, the marked ones as diamonds, one line for each run. */
function looksChart(name: string, series: readonly (readonly Look[])[], last: number): Html {
  const all = series.flat();
  return chart({
    description: `${name} by update: ${all.map(({ step, rate }) => `${formatPercent(rate)} at ${step}`).join(', ')}`,
    x: { ...updateAxis, domain: [0, last] },
    y: { label: null, grid: true, ...percentAxis },
    marks: [
      ...series.flatMap((looks, i) => {
        const { color, dash } = runStyle(i);
        const place = { x: 'step', y: 'rate' };
        const plain = looks.filter(({ marked }) => !marked);
        const marked = looks.filter((look) => look.marked);
        return [
          Plot.lineY(looks, {
            ...place,
            stroke: color,
            strokeWidth: 1.5,
            ...(dash !== undefined && { strokeDasharray: dash }),
          }),
          Plot.dot(plain, { ...place, stroke: color, fill: 'var(--page)', r: 3.5, strokeWidth: 2 }),
          Plot.dot(marked, { ...place, fill: color, symbol: 'diamond', r: 5.5 }),
        ];
      }),
      Plot.dot(all, { x: 'step', y: 'rate', r: 11, title: 'text', ...hits }),
    ],
  });
}

function looksOf({ name, before, after, steps }: RunRecord, named: boolean): Look[] {
  const look = (step: number, rate: number, what: string, marked: boolean): Look => ({
    step,
    rate,
    marked,
    text: `${what}${named ? `, ${name}` : ''}\n${formatPercent(rate)} of ${before?.problems ?? 'the'} greedy answers exact`,
  });
  const last = steps.at(-1)?.step ?? 0;
  const looked = steps.filter(({ heldOutGreedy }) => heldOutGreedy !== undefined);
  return [
    ...(before ? [look(0, before.greedy.exact.rate, 'evaluation before training', true)] : []),
    ...binned(looked, maxLooks).map(({ last: { step, heldOutGreedy } }) =>
      look(step, heldOutGreedy!, `during training, after update ${step}`, false),
    ),
    ...(after ? [look(last, after.greedy.exact.rate, `evaluation after update ${last}`, true)] : []),
  ];
}
