/**
 * @file The scatter plot of rollouts: advantage against implicit reward or log-ratio. A*PO regresses one on the other, so its
 * loss is zero on the diagonal.
 */
import type { TrainingOptions } from '../../options/settings.js';
import { type Algorithm, type AlgorithmSettings, algorithms } from '../../stage2/algorithm.js';
import { counted } from '../../util/format.js';
import { quantile } from '../../util/statistics.js';
import type { Html } from '../html.js';
import type { RolloutPoint } from '../log-records.js';
import type { RunRecord } from '../read.js';
import { chart, figure, hits, Plot, short, tickText } from './chart.js';

/** @param named whether to name the run, if several are shown. */
export function scatterFigure({ name, stored, rollouts, steps }: RunRecord, named: boolean): Html | undefined {
  const { points, count } = rollouts;
  const { options } = stored;
  const settings = algorithmSettings(options);
  if (points.length === 0 || settings === undefined) return undefined;
  const { plot, implicit }: Algorithm = algorithms[options.algo];
  const half = (steps.at(-1)?.step ?? 0) / 2;
  const data = points.map((point) => {
    const ratio = plot.ratio(point.delta, settings);
    // The logged advantage already has the implicit reward subtracted.
    const asked = point.advantage + implicit(point.delta, settings);
    return { asked, ratio, late: point.step > half, text: describe(point, asked, ratio, plot.ratioName) };
  });
  const place = { x: 'asked', y: 'ratio' };
  const { domain, outside } = middle(data.map(({ ratio }) => ratio));
  const asked = data.map(({ asked: value }) => value);
  const span = Math.max(0, ...asked) - Math.min(0, ...asked);
  const stretch = span / (domain[1] - domain[0]);
  const isRegression = implicit(1, settings) !== 0;
  const diagonal = isRegression ? { x1: domain[0], y1: domain[0], x2: domain[1], y2: domain[1] } : undefined;
  const svg = chart({
    description: `${counted(points.length, 'rollout')}: ${plot.ratioName} against advantage`,
    marginTop: 22,
    x: { label: plot.x, ticks: 5, tickFormat: tickText, nice: true },
    y: { label: plot.y, grid: true, ticks: 4, tickFormat: tickText, domain, clamp: true },
    marks: [
      Plot.ruleX([0], { stroke: 'var(--rule)' }),
      Plot.ruleY([0], { stroke: 'var(--rule)' }),
      ...(diagonal === undefined
        ? []
        : [Plot.link([diagonal], { ...diagonal, stroke: 'var(--muted)', strokeDasharray: '4 3' })]),
      Plot.dot(
        data.filter(({ late }) => !late),
        { ...place, r: 2.5, stroke: 'var(--run-2)', strokeWidth: 1.2 },
      ),
      Plot.dot(
        data.filter(({ late }) => late),
        { ...place, r: 2.5, fill: 'var(--run-1)', fillOpacity: 0.75 },
      ),
      Plot.dot(data, { ...place, r: 5, title: 'text', ...hits }),
    ],
  });
  const shown =
    points.length === count
      ? counted(count, 'rollout')
      : `${points.length} of ${counted(count, 'rollout')}, evenly spaced`;
  const edge = outside > 0 ? `; ${outside} beyond the scale ${outside === 1 ? 'is' : 'are'} drawn at its edge` : '';
  return figure({
    title: plot.title,
    unit: '○ first half of the updates, ● second half',
    chart: svg,
    note: `${named ? `${name}: ` : ''}${shown}${edge}. ${plot.note}${scaleNote(stretch)}`,
  });
}

/** A note if the scales of the two axes differ much. */
function scaleNote(stretch: number): string {
  if (!Number.isFinite(stretch) || stretch < 3) return '';
  const times = Number(stretch.toPrecision(1)).toLocaleString('en-US');
  return ` The vertical scale is about ${times} times larger than the horizontal one: on equal scales the points would lie on a flat line.`;
}

/** A scale that includes 0 and all but the most extreme 1 % of values, and the number of values beyond it. */
function middle(values: readonly number[]): { domain: [number, number]; outside: number } {
  const [low, high] = [Math.min(0, quantile(values, 0.005)), Math.max(0, quantile(values, 0.995))];
  const margin = low === high ? 1e-3 : 0.06 * (high - low);
  const domain: [number, number] = [low - margin, high + margin];
  return { domain, outside: values.filter((value) => value < domain[0] || value > domain[1]).length };
}

/** Undefined for records that lack what algorithms read. */
function algorithmSettings(options: TrainingOptions): AlgorithmSettings | undefined {
  const { beta1, beta2, numSamples, batchSize } = options;
  if (beta1 === undefined || beta2 === undefined || numSamples === undefined || batchSize === undefined)
    return undefined;
  return { beta1, beta2, numSamples, batchSize };
}

function describe({ step, problem, reward }: RolloutPoint, asked: number, ratio: number, ratioName: string): string {
  return `${problem.trim()}\nupdate ${step}, reward ${short(reward)}\nadvantage ${short(asked)}, ${ratioName} ${short(ratio)}`;
}
