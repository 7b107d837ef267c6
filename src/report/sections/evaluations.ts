/**
 * @file The sections about evaluations: the run's own two, with accuracies, intervals, other measurements and tests; and, for
 * `--compare`, the runs' verdicts side by side, tests between their trained models, and the options that differ.
 */
import { trainingOptionNames } from '../../options/names.js';
import { flag } from '../../options/table.js';
import { type Comparison, compareEvaluations } from '../../policy/eval-compare.js';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { UserError } from '../../util/errors.js';
import {
  counted,
  describePointsInterval,
  describePValue,
  formatPoints,
  formatPercent as percent,
} from '../../util/format.js';
import { figure, intervalChart, legend, type Measured, section, short } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';
import { groups, judge } from '../verdict.js';

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
  return html`<p class="note">Answering ${constantAnswer.answer} to everything would earn a mean reward of ${short(constantAnswer.meanReward)}, the best that a constant answer can earn; accuracy counts exact answers only.</p>`;
}

export function comparedSection(runs: readonly RunRecord[]): Html | undefined {
  const [run, ...others] = runs;
  if (run === undefined || others.length === 0) return undefined;
  const measured = runs.flatMap(({ name, before, after }): Measured[] =>
    (
      [
        ['before', before],
        ['after', after],
      ] as const
    ).flatMap(([when, summary]) => {
      const exact = summary?.sampled?.exact ?? summary?.greedy.exact;
      return exact === undefined ? [] : [{ row: name, when, rate: exact.rate, ci95: exact.ci95 }];
    }),
  );
  const longest = Math.max(...runs.map(({ name }) => name.length));
  return section({
    id: 'compared',
    title: 'Runs compared',
    lead: html`${run.name} is the run of this report; the others are overlaid. The tests compare the trained models on the same held-out problems.`,
    body: html`${legend(runs)}<div class="split">
${measured.length > 0 && figure({ title: 'Accuracy', unit: 'exact answers: ○ before, ● after; 95 % intervals', chart: intervalChart(measured, Math.min(150, 20 + 6.5 * longest)) })}
<div>${scrolled(
      'Verdicts',
      html`<thead><tr><td></td><th scope="col">verdict</th><th scope="col">before</th><th scope="col">after</th><th scope="col" class="long">${run.name} against it</th></tr></thead>
<tbody>${runs.map((other) => row(run, other))}</tbody>`,
    )}
${differences(runs)}</div>
</div>`,
  });
}

function row(run: RunRecord, other: RunRecord): Html {
  const rate = (summary: RunRecord['before']) => {
    const exact = summary?.sampled?.exact ?? summary?.greedy.exact;
    return exact === undefined ? '–' : percent(exact.rate);
  };
  return html`<tr><th scope="row">${other.name}</th><td>${judge(other).label}</td><td>${rate(other.before)}</td><td>${rate(other.after)}</td><td class="long">${other === run ? '' : against(run, other)}</td></tr>`;
}

function against(run: RunRecord, other: RunRecord): string {
  if (run.after === undefined || other.after === undefined) return 'not both finished';
  try {
    const { sampled, greedy } = compareEvaluations(run.after, other.after);
    const test = sampled ?? greedy;
    const difference = 100 * test.difference;
    return `${difference >= 0 ? '+' : '−'}${Math.abs(difference).toFixed(1)} points, ${describePValue(test)}`;
  } catch (error) {
    if (error instanceof UserError) return 'other problems';
    throw error;
  }
}

function differences(runs: readonly RunRecord[]): Html {
  const show = (value: unknown) => (value === undefined ? '–' : String(value));
  const differing = trainingOptionNames.filter(
    (name) =>
      name !== 'name' && name !== 'note' && new Set(runs.map(({ stored }) => show(stored.options[name]))).size > 1,
  );
  if (differing.length === 0) return html`<p class="note">All options of these runs are the same.</p>`;
  return html`<h3>Options that differ</h3>${scrolled(
    'Options that differ',
    html`<thead><tr><td></td>${differing.map((name) => html`<th scope="col">${flag(name)}</th>`)}</tr></thead>
<tbody>${runs.map(({ name: run, stored }) => html`<tr><th scope="row">${run}</th>${differing.map((name) => html`<td>${show(stored.options[name])}</td>`)}</tr>`)}</tbody>`,
  )}`;
}

/** A table that scrolls if it is wider than the window; focusable, so that it can be scrolled by keyboard. */
function scrolled(name: string, rows: Html): Html {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${name}"><table class="numbers">${rows}</table></div>`;
}
