/**
 * @file The section about single problems, each with its accuracy before and after: a multiplication table if they are
 * products, otherwise a list of the held-out problems.
 */
import { counted, formatPercent } from '../../util/format.js';
import { chart, figure, hits, Plot, percentAxis, section } from '../charts/chart.js';
import { changeOf, gridFigures, type ProblemCell, problemCells, productCells, rateOf } from '../charts/grid.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';

export function problemsSection(run: RunRecord): Html | undefined {
  const cells = problemCells(run);
  if (!cells.some(({ before, after }) => before ?? after)) return undefined;
  // Problems of a custom task may also have fields a and b, which need not be factors.
  const products = run.stored.options.task === undefined ? productCells(cells) : undefined;
  const lead = products === undefined ? heldOutLead(run) : html`${heldOutLead(run)} ${trainingLead(run)}`;
  return section({
    id: 'problems',
    title: 'Problem by problem',
    lead,
    body: products === undefined ? list(cells.filter(({ heldOut }) => heldOut)) : gridFigures(products),
  });
}

function heldOutLead({ before, after, stored }: RunRecord): string {
  const name = stored.options.overlap === 'seed' ? 'Test problems' : 'Held-out problems';
  const samples = before?.sampled;
  const how = samples ? `${samples.samplesPerProblem} samples each` : 'one greedy answer each';
  return `${name}: the evaluation before${after ? ' and after' : ''}, ${how}.`;
}

function trainingLead({ stage1, rollouts: { lastEpoch } }: RunRecord): string {
  const before = stage1
    ? `before, the ${counted(stage1.samplesPerProblem, 'sample')} of stage 1`
    : 'nothing was sampled before training';
  const after = lastEpoch
    ? `after, the rollouts of updates ${lastEpoch.firstStep} to ${lastEpoch.lastStep} (epoch ${lastEpoch.epoch + 1}), made while the model was still learning`
    : 'after, nothing yet';
  return `Training problems: ${before}; ${after}.`;
}

/** Problems per chart, and number of charts: three fit side by side. */
const rowsPerChart = 20;
const maxCharts = 3;

function list(cells: readonly ProblemCell[]): Html {
  // Sorted by change, or by accuracy if there is no change yet.
  const size = (cell: ProblemCell) => changeOf(cell) ?? (cell.before ? rateOf(cell.before) : 0);
  const sorted = [...cells].sort((a, b) => size(b) - size(a));
  const half = (rowsPerChart * maxCharts) / 2;
  const shown = sorted.length <= 2 * half ? sorted : [...sorted.slice(0, half), ...sorted.slice(-half)];
  const left = sorted.length - shown.length;
  const parts = Array.from({ length: Math.ceil(shown.length / rowsPerChart) }, (_, i) =>
    shown.slice(i * rowsPerChart, (i + 1) * rowsPerChart),
  );
  return html`<div class="charts">${parts.map((part, i) =>
    figure({
      title: parts.length === 1 ? 'Held-out problems' : `Held-out problems, part ${i + 1} of ${parts.length}`,
      unit: 'exact answers, ○ before, ● after',
      chart: listChart(part),
    }),
  )}</div>
<p class="note">${cells.some((cell) => changeOf(cell) !== undefined) ? 'In order of change, the largest gain first' : 'In order of accuracy'}${left > 0 ? `; ${counted(left, 'problem')} in the middle ${left === 1 ? 'is' : 'are'} omitted` : ''}.</p>`;
}

function listChart(cells: readonly ProblemCell[]): Html {
  const data = cells.map((cell, row) => {
    const [before, after] = [cell.before && rateOf(cell.before), cell.after && rateOf(cell.after)];
    const part = (name: string, rate: number | undefined) =>
      `${name} ${rate === undefined ? 'not measured' : formatPercent(rate)}`;
    const text = `${cell.id.trim()}\n${part('before', before)}\n${part('after', after)}`;
    return { row, name: label(cell.id), before, after, text };
  });
  const color = ({ before = 0, after = 0 }: (typeof data)[number]) =>
    after < before ? 'var(--loss)' : 'var(--accent)';
  const [measured, trained] = [
    data.filter(({ before }) => before !== undefined),
    data.filter(({ after }) => after !== undefined),
  ];
  return chart({
    description: 'Accuracy of each held-out problem before and after',
    height: 38 + 17 * data.length,
    marginLeft: 142,
    marginTop: 28,
    marginBottom: 8,
    marginRight: 20,
    x: { ...percentAxis, ticks: [0, 0.5, 1], axis: 'top', label: null, grid: true },
    y: {
      type: 'band',
      domain: data.map(({ row }) => row),
      label: null,
      tickSize: 0,
      tickFormat: (row: number) => data[row]!.name,
    },
    color: { type: 'identity' },
    marks: [
      Plot.link(trained, { x1: 'before', x2: 'after', y1: 'row', y2: 'row', stroke: color, strokeWidth: 2.5 }),
      Plot.dot(measured, { x: 'before', y: 'row', r: 4, stroke: 'var(--muted)', fill: 'var(--page)', strokeWidth: 2 }),
      Plot.dot(trained, { x: 'after', y: 'row', r: 4.5, fill: color }),
      Plot.barX(data, { x1: 0, x2: 1, y: 'row', title: 'text', ...hits }),
    ],
  });
}

const maxLabel = 22;

function label(id: string): string {
  const line = id.replace(/\s+/g, ' ').trim();
  return line.length <= maxLabel ? line : `${line.slice(0, maxLabel - 1)}…`;
}
