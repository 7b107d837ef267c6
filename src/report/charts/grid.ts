/**
 * @file The multiplication table as three maps, before, after and change: a cell a problem, held-out ones outlined.
 */
import { formatPercent } from '../../util/format.js';
import { isRecord } from '../../util/json.js';
import { type Html, html } from '../html.js';
import type { Tally } from '../read.js';
import { changeOf, type ProblemCell, rateOf } from './cells.js';
import { chart, hits, Plot } from './chart.js';
import { figure } from './figure.js';

interface GridCell extends ProblemCell {
  readonly a: number;
  readonly b: number;
  /** Fills the square where no problem of the run is. */
  readonly isEmpty?: true;
}

/** More factors than this make cells too small to point at. */
const maxFactors = 24;
/** From fewer samples than this a rate says little. */
const fewSamples = 4;
const fadedShare = 0.5;
const isFewOf = (tally: Tally | undefined) => tally !== undefined && tally.total < fewSamples;

/** Up to so many factors a cell has room for its number. */
const maxNumbered = 13;

/** The square of all factors, row by row, or undefined where the problems are not products of few factors. */
export function productCells(cells: readonly ProblemCell[]): GridCell[] | undefined {
  const products = new Map<string, GridCell>();
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const cell of cells) {
    const { a, b } = isRecord(cell.value) ? cell.value : {};
    if (!Number.isSafeInteger(a) || !Number.isSafeInteger(b)) return undefined;
    const product = { ...cell, a: a as number, b: b as number };
    products.set(`${a},${b}`, product);
    low = Math.min(low, product.a, product.b);
    high = Math.max(high, product.a, product.b);
  }
  if (cells.length === 0 || high - low >= maxFactors) return undefined;
  const factors = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const empty = { id: '', value: undefined, heldOut: false, isEmpty: true } as const;
  return factors.flatMap((a) => factors.map((b) => products.get(`${a},${b}`) ?? { ...empty, a, b }));
}

export function gridFigures(cells: readonly GridCell[]): Html {
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
  // The stronger the fill, the less the theme's own text colour can be read on it: contrast is above 4 everywhere.
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
      // Little is known of these: a smaller square in a paler colour.
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
