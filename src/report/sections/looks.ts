/**
 * @file Held-out accuracy while training ran: the two evaluations, and between them the looks of `--eval-every`, by which
 * nothing was chosen.
 */
import { formatPercent } from '../../util/format.js';
import { chart, hits, Plot, percentAxis } from '../charts/chart.js';
import { figure, runStyle } from '../charts/figure.js';
import { binned } from '../charts/thin.js';
import type { Html } from '../html.js';
import type { RunRecord } from '../read.js';

interface Look {
  readonly step: number;
  readonly rate: number;
  readonly isEvaluation: boolean;
  readonly text: string;
}

/** Of more looks than this every n-th is drawn. */
const maxLooks = 60;

export function looksFigure(runs: readonly RunRecord[]): Html {
  const series = runs.map((run) => looksOf(run, runs.length > 1));
  const all = series.flat();
  const svg = chart({
    description: `Held-out greedy accuracy by update: ${all.map(({ step, rate }) => `${formatPercent(rate)} at ${step}`).join(', ')}`,
    x: { label: 'update', ticks: 5, tickFormat: 'd', domain: [0, Math.max(1, ...all.map(({ step }) => step))] },
    y: { label: null, grid: true, ...percentAxis },
    marks: [
      ...series.flatMap((looks, i) => {
        const { color, dash } = runStyle(i);
        const place = { x: 'step', y: 'rate' };
        const looked = looks.filter(({ isEvaluation }) => !isEvaluation);
        const measured = looks.filter(({ isEvaluation }) => isEvaluation);
        return [
          Plot.lineY(looks, {
            ...place,
            stroke: color,
            strokeWidth: 1.5,
            ...(dash !== undefined && { strokeDasharray: dash }),
          }),
          Plot.dot(looked, { ...place, stroke: color, fill: 'var(--page)', r: 3.5, strokeWidth: 2 }),
          Plot.dot(measured, { ...place, fill: color, symbol: 'diamond', r: 5.5 }),
        ];
      }),
      Plot.dot(all, { x: 'step', y: 'rate', r: 11, title: 'text', ...hits }),
    ],
  });
  return figure({
    title: 'Held-out accuracy, greedy',
    unit: 'share of problems; ◆ evaluations, ○ looks',
    chart: svg,
    note: 'Looks while training ran: nothing was stopped, saved or chosen by them.',
  });
}

function looksOf({ name, before, after, steps }: RunRecord, named: boolean): Look[] {
  const look = (step: number, rate: number, what: string, isEvaluation: boolean): Look => ({
    step,
    rate,
    isEvaluation,
    text: `${what}${named ? `, ${name}` : ''}\n${formatPercent(rate)} of ${before?.problems ?? 'the'} greedy answers exact`,
  });
  const last = steps.at(-1)?.step ?? 0;
  const looked = steps.filter(({ heldOutGreedy }) => heldOutGreedy !== undefined);
  return [
    ...(before ? [look(0, before.greedy.exact.rate, 'evaluation before training', true)] : []),
    ...binned(looked, maxLooks).map(({ last: { step, heldOutGreedy } }) =>
      look(step, heldOutGreedy!, `look after update ${step}`, false),
    ),
    ...(after ? [look(last, after.greedy.exact.rate, `evaluation after update ${last}`, true)] : []),
  ];
}
