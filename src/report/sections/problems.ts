/**
 * @file The section about single problems, each with its accuracy before and after: three heat maps of the multiplication
 * table (before, after, change) if they are products, otherwise a list of the held-out problems.
 */
import type { EvalSummary } from '../../policy/eval-summary.js';
import { counted, formatPercent } from '../../util/format.js';
import { isRecord } from '../../util/json.js';
import { chart, figure, hits, Plot, percentAxis, section } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { Tally } from '../log-records.js';
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

interface GridCell extends ProblemCell {
  readonly a: number;
  readonly b: number;
  /** A cell without a problem of the run. */
  readonly isEmpty?: true;
}

/** With more factors, cells are too small for a pointer. */
const maxFactors = 24;
/** Rates from fewer samples are unreliable. */
const fewSamples = 4;
const fadedShare = 0.5;
const isFewOf = (tally: Tally | undefined) => tally !== undefined && tally.total < fewSamples;

/** With more factors, cells have no room for numbers. */
const maxNumbered = 13;

/** The square of all factors, row by row; undefined if the problems are not products of few factors. */
export function productCells(cells: readonly ProblemCell[]): GridCell[] | undefined {
  const products = new Map<string, GridCell>();
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const cell of cells) {
    const { a, b } = isRecord(cell.value) ? cell.value : {};
    if (typeof a !== 'number' || typeof b !== 'number') return undefined;
    if (!Number.isSafeInteger(a) || !Number.isSafeInteger(b)) return undefined;
    const product = { ...cell, a, b };
    products.set(`${a},${b}`, product);
    low = Math.min(low, product.a, product.b);
    high = Math.max(high, product.a, product.b);
  }
  if (cells.length === 0 || high - low >= maxFactors) return undefined;
  const factors = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const empty = { id: '', value: undefined, heldOut: false, isEmpty: true } as const;
  return factors.flatMap((a) => factors.map((b) => products.get(`${a},${b}`) ?? { ...empty, a, b }));
}

function gridFigures(cells: readonly GridCell[]): Html {
  const rates = (which: 'before' | 'after') => (cell: GridCell) => cell[which] && rateOf(cell[which]);
  return html`<div class="charts">
${figure({ title: 'Before', unit: 'exact answers, %', chart: gridChart('Accuracy before training', cells, rates('before'), ['before']) })}
${figure({ title: 'After', unit: 'exact answers, %', chart: gridChart('Accuracy after training', cells, rates('after'), ['after']) })}
${figure({ title: 'Change', unit: 'percentage points', chart: gridChart('Change of accuracy', cells, changeOf, ['before', 'after']) })}
</div>
<ul class="legend">
<li><span class="key held"></span>held out, never trained on</li>
<li><span class="key"></span>training problem</li>
<li><span class="key ramp"></span>0 to 100 % exact</li>
<li><span class="key gain"></span>better</li>
<li><span class="key loss"></span>worse</li>
${cells.some(({ before, after }) => isFewOf(before) || isFewOf(after)) && html`<li><span class="key few"></span>small and pale: fewer than ${fewSamples} samples</li>`}
<li><span class="key">·</span>not sampled</li>
</ul>`;
}

function gridChart(
  title: string,
  cells: readonly GridCell[],
  rateIn: (cell: GridCell) => number | undefined,
  from: readonly ('before' | 'after')[],
): Html {
  const isChange = from.length > 1;
  const factors = [...new Set(cells.map(({ a }) => a))];
  const data = cells.map((cell) => ({
    ...cell,
    rate: rateIn(cell),
    isFew: from.some((when) => (cell[when]?.total ?? 0) < fewSamples),
    text: describe(cell),
  }));
  const firm = data.filter(({ rate, isFew }) => rate !== undefined && !isFew);
  const faded = data.filter(({ rate, isFew }) => rate !== undefined && isFew);
  const unknown = data.filter(({ rate }) => rate === undefined);
  const place = { x: 'b', y: 'a' };
  const fill = ({ rate }: { rate: number | undefined }) => (isChange && rate! < 0 ? 'var(--loss)' : 'var(--accent)');
  // On strong fills, the theme's text colour is hard to read; this keeps the contrast above 4.
  const ink = ({ rate }: { rate: number | undefined }) =>
    Math.abs(rate!) >= 0.78 ? 'var(--page)' : Math.abs(rate!) >= 0.57 ? 'var(--ink-mid)' : 'var(--text)';
  const number = ({ rate }: { rate: number | undefined }) => `${Math.round(100 * rate!)}`.replace('-', '−');
  return chart({
    description: `${title}, by first and second factor`,
    height: 344,
    marginLeft: 34,
    marginTop: 34,
    marginBottom: 4,
    marginRight: 4,
    x: {
      type: 'band',
      domain: factors,
      axis: 'top',
      label: 'second factor',
      labelAnchor: 'right',
      tickSize: 0,
      padding: 0.06,
    },
    y: { type: 'band', domain: factors, label: 'first factor', labelAnchor: 'top', tickSize: 0, padding: 0.06 },
    color: { type: 'identity' },
    marks: [
      Plot.cell(data, { ...place, fill: 'var(--cell)', rx: 2 }),
      Plot.cell(firm, { ...place, fill, fillOpacity: ({ rate }: { rate: number }) => Math.abs(rate), rx: 2 }),
      // Unreliable rates get a smaller, paler square.
      Plot.cell(faded, {
        ...place,
        fill,
        fillOpacity: ({ rate }: { rate: number }) => fadedShare * Math.abs(rate),
        inset: 5,
        rx: 2,
      }),
      Plot.text(unknown, { ...place, text: () => '·', fill: 'var(--muted)' }),
      ...(factors.length <= maxNumbered
        ? [
            Plot.text(firm, { ...place, text: number, fill: ink, fontSize: 10 }),
            Plot.text(faded, { ...place, text: number, fill: 'var(--muted)', fontSize: 9 }),
          ]
        : []),
      Plot.cell(
        data.filter(({ heldOut }) => heldOut),
        { ...place, fill: 'none', stroke: 'var(--text)', strokeWidth: 1.8, rx: 2 },
      ),
      Plot.cell(data, { ...place, title: 'text', ...hits }),
    ],
    opacity: { type: 'identity' },
  });
}

function describe(cell: GridCell): string {
  if (cell.isEmpty) return `${cell.a} × ${cell.b}\nnot among the problems of this run`;
  const change = changeOf(cell);
  return [
    `${cell.a} × ${cell.b}, ${cell.heldOut ? 'held out' : 'training problem'}`,
    `before ${count(cell.before)}`,
    `after ${count(cell.after)}`,
    ...(change === undefined
      ? []
      : [`change ${change > 0 ? '+' : change < 0 ? '−' : ''}${Math.abs(100 * change).toFixed(1)} points`]),
  ].join('\n');
}

function count(tally: Tally | undefined): string {
  return tally === undefined
    ? 'not sampled'
    : `${formatPercent(rateOf(tally))} (${tally.right} of ${tally.total} exact)`;
}

interface ProblemCell {
  readonly id: string;
  readonly value: unknown;
  readonly heldOut: boolean;
  readonly before?: Tally;
  readonly after?: Tally;
}

/**
 * Each problem once, training problems first. Accuracy of held-out problems comes from the two evaluations, that of training
 * problems from stage 1 and the rollouts of the last epoch. A problem on both sides of a leaking split counts as held out.
 */
export function problemCells({ problems, before, after, stage1, rollouts }: RunRecord): ProblemCell[] {
  const test = new Set(problems.test.map(({ id }) => id));
  const [first, last] = [talliesOf(before), talliesOf(after)];
  const training = problems.train
    .filter(({ id }) => !test.has(id))
    .map(({ id, value }) => {
      const exact = stage1?.entries.get(id)?.exact ?? [];
      const sampled = exact.length > 0 && { right: exact.filter(Boolean).length, total: exact.length };
      return cell({ id, value, heldOut: false }, sampled || undefined, rollouts.lastEpoch?.tally.get(id));
    });
  const held = problems.test.map(({ id, value }) => cell({ id, value, heldOut: true }, first.get(id), last.get(id)));
  return [...training, ...held];
}

function cell(
  problem: Omit<ProblemCell, 'before' | 'after'>,
  before: Tally | undefined,
  after: Tally | undefined,
): ProblemCell {
  return { ...problem, ...(before && { before }), ...(after && { after }) };
}

/** Sampled answers by problem id, or the greedy one if nothing was sampled. */
function talliesOf(summary: EvalSummary | undefined): Map<string, Tally> {
  const tally = ({ greedy, sampled }: EvalSummary['perProblem'][number]): Tally =>
    sampled === undefined
      ? { right: Number(greedy.exact), total: 1 }
      : { right: sampled.exact, total: summary!.sampled!.samplesPerProblem };
  return new Map(summary?.perProblem.map((problem) => [problem.id, tally(problem)]));
}

const rateOf = ({ right, total }: Tally) => right / total;

/** Accuracy after minus before; undefined if either is unknown. */
export function changeOf({ before, after }: ProblemCell): number | undefined {
  return before && after && rateOf(after) - rateOf(before);
}
