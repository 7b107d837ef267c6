/**
 * @file The report of a run of `train`: its verdict, and a section for each part of the run; and writing it. Import this file
 * only when a report is due: the chart library takes a quarter of a second to load.
 */
import { join } from 'node:path';
import { requireRun, runFiles } from '../run/folder.js';
import { algorithms } from '../stage2/algorithm.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { counted, formatBytes, formatSeconds } from '../util/format.js';
import { documentOf, headline, type PageSection } from './document.js';
import { type Html, html } from './html.js';
import { type RunRecord, readRunRecord } from './read.js';
import { accuracyFigure, beforeAfterSection } from './sections/before-after.js';
import { comparedSection } from './sections/compared.js';
import { curvesSection } from './sections/curves.js';
import { examplesSection } from './sections/examples.js';
import { factsSection, secondsOf } from './sections/facts.js';
import { preflightSection } from './sections/preflight.js';
import { problemsSection } from './sections/problems.js';
import { judge, type Verdict } from './verdict.js';

/** Renders the report of the first run, with the others overlaid. */
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
  const present = sections.filter((entry): entry is PageSection => entry[2] !== undefined);
  const page = documentOf({
    title: `${run.name}: ${verdict.label.toLowerCase()} · tinyzero report`,
    path: run.path,
    createdBy: String(run.stored.record.createdBy ?? 'tinyzero'),
    opening: opening(run, verdict),
    sections: present,
  });
  return { page, verdict };
}

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

function opening(run: RunRecord, { kind, label, sentence, notes }: Verdict): Html {
  const { stored, before, problems } = run;
  const { model, algo, task, name, note } = stored.options;
  const what = before?.task ?? task ?? 'multiplication';
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${signs[kind]}</span> ${label}</p>
<h1>${headline(sentence)}</h1>
<p class="lead">${name !== undefined && `${name}: `}${model ?? 'builtin'}, ${algorithms[algo].title} on ${what}: ${problems.rows.length.toLocaleString('en-US')} rows of ${problems.train.length.toLocaleString('en-US')} distinct problems.</p>
${note !== undefined && html`<p class="said">${note}</p>`}
<ul class="key-facts">${keyFacts(run).map((fact) => html`<li>${fact}</li>`)}</ul>
${notes.map((note) => html`<p class="note">${note}</p>`)}
</div>
${accuracyFigure(run)}
</section>`;
}

/** Size, updates, time, machine, date and memory of the run, if recorded. */
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

export interface ReportRequest {
  /** The run folder. */
  readonly folder: string;
  /** Folders of runs to overlay. */
  readonly compare?: readonly string[];
  /** Path of the report. Default: `report.html` in the run folder. */
  readonly out?: string;
}

/** Writes the report of a run. @throws UserError when a folder holds no run or a damaged file, or the report cannot be written. */
export function writeReport({ folder, compare = [], out }: ReportRequest): { path: string; verdict: Verdict } {
  const path = out ?? join(folder, runFiles.report);
  const { page, verdict } = renderPage([readRunRecord(folder), ...compare.map(readRunRecord)]);
  // Writing creates missing folders; do not recreate the folder of a run that was removed meanwhile.
  requireRun(folder);
  explainWrites(path, () => writeFileAtomic(path, page));
  return { path, verdict };
}
