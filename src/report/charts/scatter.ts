/**
 * @file Rollouts as points: what the reward asked for against what the policy made of it. A*PO regresses one on the other,
 * so its loss is zero on the diagonal.
 */

import { counted } from '../../util/format.js';
import { quantile } from '../../util/statistics.js';
import type { Html } from '../html.js';
import type { RolloutPoint, RunRecord } from '../read.js';
import { chart, hits, Plot, tickText } from './chart.js';
import { figure, short } from './figure.js';

/** @param named says whose rollouts these are, where several runs are shown. */
export function scatterFigure({ name, stored, rollouts, steps }: RunRecord, named: boolean): Html | undefined {
  const { points, count } = rollouts;
  const { algo, beta2 } = stored.options;
  if (points.length === 0 || (algo === 'apo' && beta2 === undefined)) return undefined;
  // What A*PO logs as the advantage has the implicit reward taken off already.
  const scale = algo === 'apo' ? beta2! : 1;
  const half = (steps.at(-1)?.step ?? 0) / 2;
  const data = points.map((point) => {
    const implicit = scale * point.delta;
    const asked = algo === 'apo' ? point.advantage + implicit : point.advantage;
    return { asked, implicit, late: point.step > half, text: describe(point, asked, implicit, algo === 'apo') };
  });
  const [x, y] = algo === 'apo' ? ['advantage r − V*', 'β₂·(S − S_ref)'] : ['advantage A', 'S − S_ref, nats'];
  const place = { x: 'asked', y: 'implicit' };
  const { domain, outside } = middle(data.map(({ implicit }) => implicit));
  const svg = chart({
    description: `${counted(points.length, 'rollout')}: implicit reward against advantage`,
    marginTop: 22,
    x: { label: x, ticks: 5, tickFormat: tickText, nice: true },
    y: { label: y, grid: true, ticks: 4, tickFormat: tickText, domain, clamp: true },
    marks: [
      Plot.ruleX([0], { stroke: 'var(--rule)' }),
      Plot.ruleY([0], { stroke: 'var(--rule)' }),
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
  const edge = outside > 0 ? `; ${outside} beyond the scale ${outside === 1 ? 'stands' : 'stand'} at its edge` : '';
  const reading =
    algo === 'apo'
      ? 'The loss draws every point to where both are equal: up on the right, down on the left.'
      : 'Training should move points up on the right and down on the left.';
  return figure({
    title: algo === 'apo' ? 'Implicit reward against advantage' : 'Log-ratio against advantage',
    unit: '○ first, ● second half of the updates',
    chart: svg,
    note: `${named ? `${name}: ` : ''}${shown}${edge}. ${reading}`,
  });
}

/** A scale for all but the most extreme one in a hundred values, with 0 on it; and how many are beyond. */
function middle(values: readonly number[]): { domain: [number, number]; outside: number } {
  const [low, high] = [Math.min(0, quantile(values, 0.005)), Math.max(0, quantile(values, 0.995))];
  const margin = low === high ? 1e-3 : 0.06 * (high - low);
  const domain: [number, number] = [low - margin, high + margin];
  return { domain, outside: values.filter((value) => value < domain[0] || value > domain[1]).length };
}

function describe({ step, problem, reward }: RolloutPoint, asked: number, implicit: number, isApo: boolean): string {
  return `${problem.trim()}\nupdate ${step}, reward ${short(reward)}\nadvantage ${short(asked)}, ${isApo ? 'implicit reward' : 'log-ratio'} ${short(implicit)}`;
}
