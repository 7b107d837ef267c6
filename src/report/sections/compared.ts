/**
 * @file The section for `--compare`: the runs' verdicts side by side, tests between their trained models, and the options that
 * differ.
 */
import { trainingOptionNames } from '../../options/names.js';
import { flag } from '../../options/table.js';
import { compareEvaluations } from '../../policy/eval-compare.js';
import { UserError } from '../../util/errors.js';
import { describePValue, formatPercent as percent } from '../../util/format.js';
import { figure, intervalChart, legend, type Measured, section } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';
import { judge } from '../verdict.js';

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
