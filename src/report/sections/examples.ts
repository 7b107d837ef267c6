/**
 * @file The section of examples: the model's answers to each held-out problem before and after training, with tokens coloured
 * by their probability. If problems are omitted, the rule is stated.
 */
import type { EvalSummary, ProblemSummary } from '../../policy/eval-summary.js';
import { counted, formatPercent } from '../../util/format.js';
import { section, short } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';

/** Number of gains and losses shown; the others are folded. */
const shownGains = 3;
const shownLosses = 1;
const maxBetween = 60;

export function examplesSection({ before, after }: RunRecord): Html | undefined {
  if (before === undefined) return undefined;
  const later = new Map(after?.perProblem.map((problem) => [problem.id, problem]));
  const rate = (problem: ProblemSummary | undefined) =>
    problem?.sampled?.exactRate ?? Number(problem?.greedy.exact ?? 0);
  const change = (problem: ProblemSummary) => rate(later.get(problem.id)) - rate(problem);
  const sorted = after === undefined ? before.perProblem : [...before.perProblem].sort((a, b) => change(b) - change(a));
  const few = sorted.length <= shownGains + shownLosses;
  const gains = few ? sorted : sorted.slice(0, shownGains);
  const losses = few ? [] : sorted.slice(-shownLosses);
  const between = few ? [] : sorted.slice(shownGains, -shownLosses);
  const left = Math.max(0, between.length - maxBetween);
  const show = (problem: ProblemSummary) => example(problem, later.get(problem.id));
  const order = ` Problems are in order of change: the ${shownGains} largest gains, then the smallest gain or largest loss; the others are folded below.`;
  return section({
    id: 'examples',
    title: 'What the model writes',
    lead: html`${what(before, after !== undefined)}${after !== undefined && !few && order}`,
    body: html`${before.perProblem.some(({ firstSample }) => firstSample) && key()}
${gains.map(show)}${losses.map(show)}
${
  between.length > 0 &&
  html`<details><summary>${counted(between.length - left, 'more problem')}</summary>${between.slice(0, maxBetween).map(show)}${
    left > 0 && html`<p class="note">${counted(left, 'problem')} more: see eval-before.json and eval-after.json.</p>`
  }</details>`
}`,
  });
}

function what({ sampled, perProblem }: EvalSummary, compared: boolean): string {
  if (!perProblem.some(({ firstSample }) => firstSample)) {
    const why = sampled === undefined ? 'nothing was sampled, so there are' : 'this run kept';
    return `The greedy answer to each held-out problem; ${why} no probabilities to show.`;
  }
  const random = compared ? ', with the same random numbers before and after' : '';
  return `The first sample of each held-out problem at temperature ${sampled?.temperature}${random}, not selected in any way.`;
}

/** The legend of token colours. */
function key(): Html {
  return html`<p class="note tokens-key">Probability of each token when it was drawn: ${[1, 0.5, 0.2, 0.05].map((p) => html`<span class="token" style="--doubt:${doubt(Math.log(p))}">${Math.round(100 * p)} %</span> `)}</p>`;
}

function example(before: ProblemSummary, after: ProblemSummary | undefined): Html {
  return html`<article class="example"><h3>${before.id.trim()}</h3><div class="pair">
${side('before', before)}${after !== undefined && side('after', after)}
</div></article>`;
}

function side(when: string, { firstSample, greedy, sampled }: ProblemSummary): Html {
  const shown = firstSample ?? greedy;
  const outcome = shown.exact
    ? '✓ exact'
    : shown.truncated
      ? '✗ cut off'
      : shown.parsed
        ? '✗ wrong'
        : '✗ no readable answer';
  return html`<div class="side"><p class="facts"><b>${when}</b> <span class="${shown.exact ? 'right' : 'wrong'}">${outcome}</span> <span>reward ${short(shown.reward)}</span>${sampled !== undefined && html` <span>${formatPercent(sampled.exactRate)} of all samples exact</span>`}</p>
<p class="completion">${firstSample === undefined ? visible(greedy.completion) : tokens(firstSample)}</p></div>`;
}

function tokens({ pieces, logProbs, truncated }: NonNullable<ProblemSummary['firstSample']>): Html[] {
  const spans: Html[] = [];
  // The bytes of a character may span several tokens. Only the last one adds text, so they are shown as one.
  let sum = 0;
  for (const [i, piece] of pieces.entries()) {
    sum += logProbs[i]!;
    const isEnd = piece === '' && i === pieces.length - 1 && !truncated;
    if (piece === '' && !isEnd) continue;
    const tip = `${isEnd ? 'end of the completion' : JSON.stringify(piece)}\nprobability ${formatPercent(Math.exp(sum))}\nlog-prob ${sum.toFixed(4).replace('-', '−')}`;
    spans.push(
      html`<span class="token" style="--doubt:${doubt(sum)}" data-tip="${tip}">${isEnd ? '∎' : visible(piece)}</span>`,
    );
    sum = 0;
  }
  return spans;
}

/** Strength of a token's colour in percent: 0 at probability 1, 100 at a probability of 2 % or less. */
function doubt(logProb: number): string {
  return `${Math.round(100 * Math.min(1, logProb / Math.log(0.02)))}%`;
}

/** Shows line breaks as symbols and an empty text as a word. */
export function visible(text: string): string {
  return text === '' ? '(nothing)' : text.replaceAll('\n', '↵\n');
}
