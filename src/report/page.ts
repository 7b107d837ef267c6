/**
 * @file The whole page: one HTML file that needs no other. Its content security policy lets it load nothing and run no script but
 * its own.
 */
import { createHash } from 'node:crypto';
import { runFiles } from '../run/folder.js';
import { counted, formatBytes, formatSeconds } from '../util/format.js';
import { type Html, html, trusted } from './html.js';
import type { RunRecord } from './read.js';
import { script } from './script.js';
import { accuracyFigure, beforeAfterSection } from './sections/before-after.js';
import { comparedSection } from './sections/compared.js';
import { curvesSection } from './sections/curves.js';
import { examplesSection } from './sections/examples.js';
import { factsSection, secondsOf } from './sections/facts.js';
import { preflightSection } from './sections/preflight.js';
import { problemsSection } from './sections/problems.js';
import { style } from './style.js';
import { judge, type Verdict } from './verdict.js';

/** The report of the first run, with the others laid over it. */
export function renderPage(runs: readonly [RunRecord, ...RunRecord[]]): { page: string; verdict: Verdict } {
  const [run] = runs;
  const verdict = judge(run);
  const sections: readonly (readonly [id: string, name: string, body: Html | undefined])[] = [
    ['compared', 'Runs compared', comparedSection(runs)],
    ['before-after', 'Before and after', beforeAfterSection(run)],
    ['problems', 'Problems', problemsSection(run)],
    ['training', 'Training', curvesSection(runs)],
    ['stage-1', 'Stage 1', preflightSection(run)],
    ['examples', 'Examples', examplesSection(run)],
    ['repeat', 'Repeat it', factsSection(run)],
  ];
  const present = sections.filter(([, , body]) => body !== undefined);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${run.name}: ${verdict.label.toLowerCase()} · tinyzero report</title>
<link rel="icon" href="data:,">
<style>${trusted(style)}</style>
</head>
<body>
<header>
<p class="run"><b>tinyzero report</b> <span>${run.path}</span></p>
<nav aria-label="Sections"><ul>${present.map(([id, name]) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
</header>
<main>
${opening(run, verdict)}
${present.map(([, , body]) => body)}
</main>
<footer><p>Made by ${String(run.stored.record.createdBy ?? 'tinyzero')} from the files of this run alone; docs/metrics.md explains ${runFiles.metrics} and the others.</p></footer>
<script>${trusted(script)}</script>
</body>
</html>
`;
  return { page: unbroken(page.markup), verdict };
}

/** No line break inside `held-out`: a word joiner follows the hyphen, in text and nowhere else. */
function unbroken(markup: string): string {
  return markup.replace(/>[^<]+</g, (text) => text.replace(/(held-)(out)/gi, '$1\u2060$2'));
}

/** Nothing is loaded; styles may stand in the page; of scripts only ours runs, whatever a completion may hold. */
const policy = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

const signs = {
  learned: '▲',
  small: '▲',
  mixed: '◆',
  unproven: '◆',
  none: '◆',
  worse: '▼',
  memory: '◆',
  unfinished: '…',
  stopped: '■',
} as const;
const algorithms = { apo: 'A*PO', grpo: 'GRPO', reinforce: 'REINFORCE' } as const;

function opening(run: RunRecord, { kind, label, sentence, notes }: Verdict): Html {
  const { stored, before, problems } = run;
  const { model, algo, task } = stored.options;
  const what = before?.task ?? task ?? 'multiplication';
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${signs[kind]}</span> ${label}</p>
<h1>${headline(sentence)}</h1>
<p class="lead">${model ?? 'builtin'}, ${algorithms[algo]} on ${what}: ${problems.rows.length.toLocaleString('en-US')} rows of ${problems.train.length.toLocaleString('en-US')} distinct problems.</p>
<ul class="key-facts">${keyFacts(run).map((fact) => html`<li>${fact}</li>`)}</ul>
${notes.map((note) => html`<p class="note">${note}</p>`)}
</div>
${accuracyFigure(run)}
</section>`;
}

/** Size, work, time, machine, date and memory of the run, as far as they are recorded. */
function keyFacts({ timings, steps }: RunRecord): string[] {
  const { date, cores, peakMemory, parameters } = timings.machine ?? {};
  const seconds = secondsOf(timings);
  const updates = steps.at(-1)?.step;
  return [
    ...(parameters === undefined ? [] : [counted(parameters, 'parameter')]),
    ...(updates === undefined ? [] : [counted(updates, 'update')]),
    ...(seconds > 0 ? [`${formatSeconds(seconds)}${cores === undefined ? '' : ` on ${counted(cores, 'core')}`}`] : []),
    ...(peakMemory === undefined ? [] : [`at most ${formatBytes(peakMemory)} of memory`]),
    ...(date === undefined ? [] : [dateText(date)]),
  ];
}

/** `25 November 2026`, in universal time. */
function dateText(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });
}

/** The sentence with what is in brackets set smaller, and no line break inside a number and its unit. */
function headline(sentence: string): Html {
  const [, claim = sentence, evidence = ''] = /^([^(]*)(\(.*)$/.exec(sentence) ?? [];
  const tight = (text: string) => text.replace(/ (?=%|→|= )|(?<=[→=]) /g, '\u00a0');
  return html`${tight(claim)}${evidence !== '' && html`<small>${tight(evidence)}</small>`}`;
}
