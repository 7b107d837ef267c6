/**
 * @file The charts of a set of runs: overlaid curves, one chart per metric, for seeds with their mean and for a sweep with
 * the best setting in front; and parallel coordinates of a sweep, one vertical axis per swept option and one for the ranking.
 */
import { keyOf, options } from '../../options/table.js';
import type { RunPlan } from '../../run/many/plan.js';
import type { RankedSetting } from '../../run/many/summary.js';
import { counted, formatPercent } from '../../util/format.js';
import { isRecord } from '../../util/json.js';
import { hasKey } from '../../util/keys.js';
import { mean } from '../../util/statistics.js';
import {
  chart,
  figure,
  hits,
  meanWindow,
  Plot,
  runningMean,
  section,
  short,
  updateAxis,
  valueAxis,
} from '../charts/chart.js';
import { type Html, html } from '../html.js';
import { binsOf } from '../log-records.js';
import { describeSetting } from './verdict.js';

/** A run in the charts. */
export interface CurveRun {
  readonly name: string;
  /** Lines of its log of updates. */
  readonly records: readonly object[];
  /** Drawn in front, in the accent colour. */
  readonly front: boolean;
}

interface Metric {
  readonly field: string;
  readonly title: string;
  readonly unit: string;
  readonly rate?: true;
}

const metrics: Readonly<Record<'train' | 'sft', readonly Metric[]>> = {
  train: [
    { field: 'reward', title: 'Reward', unit: 'mean of the rollouts of an update' },
    { field: 'exactRate', title: 'Exact answers', unit: 'share of the rollouts of an update', rate: true },
    { field: 'heldOutGreedy', title: 'Held out', unit: 'greedy answers exact, during training', rate: true },
    {
      field: 'validationGreedy',
      title: 'Validation',
      unit: 'greedy answers to the validation problems exact',
      rate: true,
    },
    { field: 'kl', title: 'KL to the reference', unit: 'nats per completion' },
    { field: 'entropy', title: 'Entropy', unit: 'nats per token' },
    { field: 'meanTokens', title: 'Length', unit: 'tokens per completion' },
  ],
  sft: [
    { field: 'loss', title: 'Loss', unit: 'nats per completion token, of the rows of an update' },
    { field: 'heldOutLoss', title: 'Held-out loss', unit: 'nats per completion token' },
    { field: 'gradientNorm', title: 'Gradient norm', unit: 'before clipping' },
  ],
};

export function setCurvesSection(
  runs: readonly CurveRun[],
  { command, kind }: { readonly command: 'train' | 'sft'; readonly kind: 'seeds' | 'sweep' },
): Html | undefined {
  const drawn = runs.filter(({ records }) => records.length > 0);
  if (drawn.length === 0) return undefined;
  const figures = metrics[command].map((metric) => curves(metric, drawn, kind === 'seeds'));
  return section({
    id: 'training',
    title: 'Training, all runs overlaid',
    lead: `${counted(drawn.length, 'run')}. ${linesText(drawn, kind)} Point at a chart, or focus it and use the arrow keys, for values.`,
    body: html`<div class="charts">${figures.map((each) => each ?? false)}</div>`,
  });
}

/** What is drawn: there is no mean of one run, and no best setting before a run is finished. */
function linesText(drawn: readonly CurveRun[], kind: 'seeds' | 'sweep'): string {
  const smoothed = 'All are running means.';
  if (drawn.length === 1) return 'The line is its running mean.';
  if (kind === 'seeds') return `Thin lines are single runs, the bold line is their mean. ${smoothed}`;
  const best = drawn.filter(({ front }) => front).length;
  if (best === 0) return 'Lines are running means.';
  return `${best === 1 ? 'The bold line is' : 'Bold lines are'} the best setting, thin lines are the others. ${smoothed}`;
}

interface Point {
  readonly step: number;
  readonly value: number;
}

/** Most points of a curve; a chart has too few pixels for more. */
const maxPoints = 120;
/** A tooltip with more runs would fill the screen. */
const maxNamed = 8;

function curves({ field, title, unit, rate }: Metric, runs: readonly CurveRun[], withMean: boolean): Html | undefined {
  const measured = runs.map((run) => ({ ...run, measured: measuredIn(run.records, field) }));
  // Runs of different lengths are averaged over the same updates, so that their points can be compared.
  const size = Math.ceil(Math.max(1, ...measured.map((run) => run.measured.length)) / maxPoints);
  const series = measured
    .map((run) => ({ ...run, points: pointsOf(run.measured, size) }))
    .filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points.map(({ value }) => value));
  if (all.length < 2) return undefined;
  const show = rate ? formatPercent : short;
  const middle = withMean && series.length > 1 ? meanCurve(series.map(({ points }) => points)) : [];
  const place = { x: 'step', y: 'value' };
  const smooth = (points: readonly Point[], options: Plot.LineYOptions) =>
    Plot.lineY(points, runningMean(meanWindow(points.length), { ...place, ...options }));
  const isBold = (front: boolean) => front && !withMean;
  const svg = chart({
    description: `${title} (${unit}) by update, ${counted(series.length, 'run')}: ${series
      .slice(0, maxNamed)
      .map(({ name, points }) => `${name} ends at ${show(points.at(-1)!.value)}`)
      .join(', ')}`,
    x: updateAxis,
    y: valueAxis(all, rate),
    marks: [
      ...series
        .filter(({ front }) => !isBold(front))
        .map(({ points }) => smooth(points, { stroke: 'var(--muted)', strokeWidth: 1, strokeOpacity: 0.65 })),
      ...series
        .filter(({ front }) => isBold(front))
        .map(({ points }) => smooth(points, { stroke: 'var(--accent)', strokeWidth: 2.5 })),
      ...(middle.length > 0 ? [smooth(middle, { stroke: 'var(--accent)', strokeWidth: 2.5 })] : []),
      Plot.dot(tips(series, show), { ...place, r: 7, title: 'text', ...hits }),
    ],
  });
  return figure({ title, unit, chart: svg });
}

function measuredIn(records: readonly object[], field: string): Point[] {
  return records.filter(isRecord).flatMap((record) => {
    const value = record[field];
    return typeof value === 'number' ? [{ step: Number(record.step), value }] : [];
  });
}

/** Means of `size` consecutive measurements. */
function pointsOf(measured: readonly Point[], size: number): Point[] {
  return binsOf(measured, size).map(({ last, items }) => ({
    step: last.step,
    value: mean(items.map(({ value }) => value)),
  }));
}

/** The mean over the runs at each step that at least half of them have. */
function meanCurve(series: readonly (readonly Point[])[]): Point[] {
  return [...byStep(series.map((points) => ({ name: '', points })))]
    .filter(([, values]) => 2 * values.length >= series.length)
    .map(([step, values]) => ({ step, value: mean(values.map(({ value }) => value)) }));
}

function byStep(series: readonly { readonly name: string; readonly points: readonly Point[] }[]) {
  const steps = new Map<number, { name: string; value: number }[]>();
  for (const { name, points } of series) {
    for (const { step, value } of points) steps.set(step, [...(steps.get(step) ?? []), { name, value }]);
  }
  return [...steps].sort(([a], [b]) => a - b);
}

/** One tooltip for each step, with the runs' values, at their mean. */
function tips(series: readonly (CurveRun & { readonly points: readonly Point[] })[], show: (value: number) => string) {
  return byStep(series).map(([step, values]) => {
    const numbers = values.map(({ value }) => value);
    const middle = mean(numbers);
    const spread = `mean ${show(middle)}, ${show(Math.min(...numbers))} to ${show(Math.max(...numbers))} (${counted(values.length, 'run')})`;
    const named = values.map(({ name, value }) => `${name} ${show(value)}`);
    const text = [
      `update ${step}`,
      ...(values.length > 1 ? [spread] : []),
      ...(named.length <= maxNamed ? named : []),
    ].join('\n');
    return { step, value: middle, text };
  });
}

interface Axis {
  readonly name: string;
  /** From 0, the bottom, to 1. */
  readonly at: (setting: RankedSetting) => number;
  readonly text: (setting: RankedSetting) => string;
}

/** Labels on an axis; more would overlap. */
const maxLabels = 8;
/** Values that differ by more than this factor get a logarithmic axis. */
const logFactor = 20;

/** @param ranking the best first; settings without a score are not drawn. @returns undefined for fewer than two. */
export function parallelChart(
  ranking: readonly RankedSetting[],
  { swept }: RunPlan,
  scoreName: string,
): Html | undefined {
  const drawn = ranking.filter(({ score }) => score !== null);
  if (drawn.length < 2) return undefined;
  const axes = [...swept.map((option) => optionAxis(option, drawn)), scoreAxis(drawn, scoreName)];
  const names = axes.map(({ name }) => name);
  const best = drawn[0];
  const points = drawn.map((setting) =>
    axes.map((axis) => ({
      axis: axis.name,
      y: axis.at(setting),
      text: `${describeSetting(setting)}\n${scoreName} ${setting.score!.mean.toFixed(3)}`,
    })),
  );
  const labels = axes.flatMap((axis) => {
    const all = new Map(drawn.map((setting) => [axis.text(setting), axis.at(setting)]));
    const sorted = [...all].sort(([, a], [, b]) => a - b);
    const step = Math.ceil(sorted.length / maxLabels);
    const shown = sorted.filter((_, i) => i % step === 0 || i === sorted.length - 1);
    return shown.map(([text, y]) => ({ axis: axis.name, y, text }));
  });
  const place = { x: 'axis', y: 'y' };
  return chart({
    description: `${drawn.length} settings by ${names.join(', ')}. Best: ${describeSetting(best!)}, ${scoreName} ${best!.score!.mean.toFixed(3)}`,
    width: Math.max(480, 210 * axes.length),
    height: 320,
    marginLeft: 70,
    marginRight: 90,
    marginTop: 26,
    marginBottom: 20,
    x: { type: 'point', domain: names, label: null, axis: 'top', tickSize: 0 },
    y: { axis: null, domain: [0, 1] },
    marks: [
      Plot.ruleX(names, { stroke: 'var(--line)', strokeWidth: 1.5 }),
      // The worst first, so that better ones lie over them.
      ...points
        .map((line, rank) => ({ line, rank }))
        .reverse()
        .map(({ line, rank }) =>
          Plot.line(line, {
            ...place,
            curve: 'monotone-x',
            stroke: rank === 0 ? 'var(--accent)' : 'var(--muted)',
            strokeWidth: rank === 0 ? 3 : 1.4,
            strokeOpacity: rank === 0 ? 1 : 0.85 - (0.6 * rank) / drawn.length,
          }),
        ),
      Plot.text(labels, {
        ...place,
        text: 'text',
        dx: 6,
        textAnchor: 'start',
        fill: 'var(--text)',
        stroke: 'var(--page)',
        strokeWidth: 4,
      }),
      Plot.dot(points.flat(), { ...place, r: 7, title: 'text', ...hits }),
    ],
  });
}

function optionAxis(option: string, drawn: readonly RankedSetting[]): Axis {
  const text = ({ values }: RankedSetting) => String(values[option] ?? '');
  const numbers = drawn.map((setting) => Number(text(setting)));
  const name = hasKey(options, option) ? keyOf(option) : option;
  if (numbers.every(Number.isFinite)) {
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const isLog = low > 0 && high / low > logFactor;
    const scaled = (value: number) => (isLog ? Math.log(value) : value);
    const share = scale(scaled(low), scaled(high));
    return { name: isLog ? `${name} (log)` : name, at: (setting) => share(scaled(Number(text(setting)))), text };
  }
  const kinds = [...new Set(drawn.map(text))].sort();
  const share = scale(0, kinds.length - 1);
  return { name, at: (setting) => share(kinds.indexOf(text(setting))), text };
}

function scoreAxis(drawn: readonly RankedSetting[], name: string): Axis {
  const scores = drawn.map(({ score }) => score!.mean);
  const share = scale(Math.min(...scores), Math.max(...scores));
  return { name, at: ({ score }) => share(score!.mean), text: ({ score }) => short(score!.mean) };
}

/** From [low, high] to [0.04, 0.96]; a single value is in the middle. */
function scale(low: number, high: number): (value: number) => number {
  return (value) => (high === low ? 0.5 : 0.04 + (0.92 * (value - low)) / (high - low));
}
