/**
 * @file The section about the two evaluations: accuracies with intervals, the other measurements, and the tests.
 */
import { type Comparison, compareEvaluations } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import {
  counted,
  describePointsInterval,
  describePValue,
  formatPoints,
  formatPercent as percent,
} from '../../util/format.js';
import { figure, intervalChart, type Measured, section, short } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';
import { groups } from '../verdict.js';

export function beforeAfterSection({ before, after, stored }: RunRecord): Html | undefined {
  if (before === undefined) return undefined;
  const compare = after && compareEvaluations(after, before);
  const held = stored.options.overlap === 'seed' ? 'test' : 'held-out';
  const samples = before.sampled ? `${counted(before.sampled.samplesPerProblem, 'sample')} each` : 'answered greedily';
  const problems = `${counted(before.problems, `${held} problem`)} (${groups(before)})`;
  return section({
    id: 'before-after',
    title: after === undefined ? 'Before training' : 'Before and after',
    lead:
      after === undefined
        ? `${problems}, ${samples}. The evaluation after training has not been made yet.`
        : `The same ${problems} before and after, sampled with the same random numbers, ${samples}.`,
    body: html`<div class="beside">${table(before, after, compare)}<div>${tests(compare)}${constant(before)}</div></div>`,
  });
}

/** The accuracies that the verdict is based on; undefined before any evaluation. */
export function accuracyFigure({ before, after }: Pick<RunRecord, 'before' | 'after'>): Html | undefined {
  if (before === undefined) return undefined;
  return figure({
    title: 'Accuracy',
    unit: 'exact answers: ○ before, ● after; 95 % intervals',
    chart: intervalChart([...measuredOf(before, 'before'), ...(after ? measuredOf(after, 'after') : [])], 66),
    note: before.sampled
      ? 'Intervals: sampled, a bootstrap over clusters; greedy, Wilson’s, which treats problems as independent.'
      : 'Intervals: Wilson’s, which treats problems as independent.',
  });
}

/** The rows of an evaluation in {@link intervalChart}. */
function measuredOf({ greedy, sampled }: EvalSummary, when: Measured['when']): Measured[] {
  return [
    ...(sampled ? [{ row: 'sampled', when, rate: sampled.exact.rate, ci95: sampled.exact.ci95 }] : []),
    { row: 'greedy', when, rate: greedy.exact.rate, ci95: greedy.exact.ci95 },
  ];
}

export interface Row {
  readonly name: string;
  readonly of: (summary: EvalSummary) => number;
  readonly show: (value: number) => string;
  /** Formats the change; in percentage points for rates. */
  readonly showChange: (value: number) => string;
}

const signed = (value: number, text: string) => (value > 0 ? `+${text}` : value < 0 ? text.replace('-', '−') : text);
const rate = { show: percent, showChange: formatPoints };
const fixed = (digits: number) => ({
  show: (value: number) => value.toFixed(digits),
  showChange: (change: number) => signed(change, change.toFixed(digits)),
});
const [plain, tokens] = [fixed(3), fixed(1)];

/** What the table of a run compares, before and after. */
export function rowsFor(before: EvalSummary, after: EvalSummary | undefined): Row[] {
  const k = Math.min(8, before.sampled?.samplesPerProblem ?? 0);
  const greedy: Row = { name: 'Exact, greedy', of: (summary) => summary.greedy.exact.rate, ...rate };
  if (!before.sampled || (after && !after.sampled)) {
    return [
      greedy,
      { name: 'Reward, mean', of: (summary) => summary.greedy.meanReward, ...plain },
      { name: 'Readable answers', of: (summary) => summary.greedy.formatRate, ...rate },
      { name: 'Cut off', of: (summary) => summary.greedy.truncatedRate, ...rate },
      { name: 'Tokens, mean', of: (summary) => summary.greedy.meanTokens, ...tokens },
    ];
  }
  return [
    { name: 'Exact, sampled', of: ({ sampled }) => sampled!.exact.rate, ...rate },
    greedy,
    ...(k > 1 ? [{ name: `One of ${k} exact`, of: ({ sampled }: EvalSummary) => sampled!.passAt[k]!, ...rate }] : []),
    { name: 'Reward, mean', of: ({ sampled }) => sampled!.meanReward, ...plain },
    { name: 'Readable answers', of: ({ sampled }) => sampled!.formatRate, ...rate },
    { name: 'Cut off', of: ({ sampled }) => sampled!.truncatedRate, ...rate },
    { name: 'Tokens, mean', of: ({ sampled }) => sampled!.meanTokens, ...tokens },
  ];
}

function table(before: EvalSummary, after: EvalSummary | undefined, compare: Comparison | undefined): Html {
  const rows = rowsFor(before, after);
  return html`<table class="numbers headline"><thead><tr><td></td><th scope="col">before</th>${compare !== undefined && html`<th scope="col">after</th><th scope="col">change</th>`}</tr></thead>
<tbody>${rows.map(({ name, of, show, showChange }) => {
    const first = of(before);
    const second = after && of(after);
    return html`<tr><th scope="row">${name}</th><td>${show(first)}</td>${second !== undefined && html`<td>${show(second)}</td><td>${showChange(second - first)}</td>`}</tr>`;
  })}</tbody></table>`;
}

function tests(compare: Comparison | undefined): Html | undefined {
  if (compare === undefined) return undefined;
  const { sampled, greedy } = compare;
  return html`<p class="note">${sampled && `Sampled: ${formatPoints(sampled.difference)}, ${describePointsInterval(sampled.ci95)}; sign-flip test over ${counted(sampled.clusters, 'cluster')} that changed, ${describePValue(sampled)}. `}Greedy: ${counted(greedy.gained, 'problem')} gained, ${greedy.lost} lost; McNemar’s exact test, ${describePValue(greedy)}.</p>`;
}

function constant({ constantAnswer }: EvalSummary): Html | undefined {
  if (constantAnswer === null) return undefined;
  return html`<p class="note">Answering ${constantAnswer.answer} to everything would earn a mean reward of ${short(constantAnswer.meanReward)}, the best that one answer can; accuracy counts exact answers only.</p>`;
}
