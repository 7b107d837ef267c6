/**
 * @file Parallel coordinates of a sweep: one vertical axis per swept option and one for the ranking; a setting is a line through
 * its values.
 */
import { keyOf } from '../../options/table.js';
import type { RunPlan } from '../../run/many/plan.js';
import type { RankedSetting } from '../../run/many/summary.js';
import { chart, hits, Plot, short } from '../charts/chart.js';
import type { Html } from '../html.js';
import { describeSetting } from './verdict.js';

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
  const name = keyOf(option as Parameters<typeof keyOf>[0]);
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
