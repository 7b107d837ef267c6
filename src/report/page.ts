/**
 * @file The report of a run of `train`: its verdict, and a section for each part of the run; and writing it. Import this file
 * only when a report is due: the chart library takes a quarter of a second to load.
 */
import { join } from 'node:path';
import { requireRun, runFiles } from '../run/folder.js';
import { algorithms } from '../stage2/algorithm.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { counted, formatBytes, formatSeconds } from '../util/format.js';
import type { JsonRecord } from '../util/json.js';
import { documentOf, headline, pageSections, type SectionSpec } from './document.js';
import { type Html, html } from './html.js';
import { type RunRecord, readRunRecord } from './read.js';
import { curvesSection } from './sections/curves.js';
import { accuracyFigure, beforeAfterSection, comparedSection } from './sections/evaluations.js';
import { examplesSection } from './sections/examples.js';
import { factsSection, secondsOf } from './sections/facts.js';
import { preflightSection } from './sections/preflight.js';
import { problemsSection } from './sections/problems.js';
import { judge, type Verdict } from './verdict.js';

/** Renders the report of the first run, with the others overlaid. */
export function renderPage(runs: readonly [RunRecord, ...RunRecord[]]): { page: string; verdict: Verdict } {
  const [run] = runs;
  const verdict = judge(run);
  const page = documentOf({
    title: `${run.name}: ${verdict.label.toLowerCase()} · tinyzero report`,
    path: run.path,
    createdBy: creatorOf(run.stored),
    opening: opening(run, verdict),
    sections: pageSections(sections, runs),
  });
  return { page, verdict };
}

export function creatorOf({ record }: { readonly record: JsonRecord }): string {
  return String(record.createdBy ?? 'tinyzero');
}

export const sections: readonly SectionSpec<RunRecord>[] = [
  { id: 'compared', name: 'Runs compared', body: comparedSection, shows: (run) => [run.before, run.after, run.steps] },
  {
    id: 'before-after',
    name: 'Before and after',
    body: ([run]) => beforeAfterSection(run),
    shows: ({ before, after }) => [before, after],
  },
  {
    id: 'problems',
    name: 'Problems',
    body: ([run]) => problemsSection(run),
    shows: ({ before, after, stage1, rollouts }) => [before, after, stage1, rollouts],
  },
  {
    id: 'training',
    name: 'Training',
    body: curvesSection,
    shows: ({ before, after, plannedUpdates, steps, rollouts }) => [before, after, plannedUpdates, steps, rollouts],
  },
  { id: 'stage-1', name: 'Stage 1', body: ([run]) => preflightSection(run), shows: ({ stage1 }) => [stage1] },
  {
    id: 'examples',
    name: 'Examples',
    body: ([run]) => examplesSection(run),
    shows: ({ before, after }) => [before, after],
  },
  {
    id: 'repeat',
    name: 'Repeat it',
    body: ([run]) => factsSection(run),
    shows: ({ before, after, stage1, steps, rollouts, timings }) => [before, after, stage1, steps, rollouts, timings],
  },
];

const signs = {
  learned: '▲',
  small: '▲',
  mixed: '◆',
  unproven: '◆',
  none: '◆',
  worse: '▼',
  memory: '◆',
  placebo: '◆',
  leak: '▲',
  unfinished: '…',
  stopped: '■',
} as const;

/** The verdict and what it is about. */
export function opening(run: RunRecord, { kind, label, sentence, notes }: Verdict): Html {
  const { note } = run.stored.options;
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${signs[kind]}</span> ${label}</p>
<h1>${headline(sentence)}</h1>
<p class="lead">${subject(run)}</p>
${note !== undefined && html`<p class="said">${note}</p>`}
<ul class="key-facts">${keyFacts(run).map((fact) => html`<li>${fact}</li>`)}</ul>
${notes.map((note) => html`<p class="note">${note}</p>`)}
</div>
${accuracyFigure(run)}
</section>`;
}

/** The model and the task: `builtin, A*PO on multiplication: 500 rows of 101 distinct problems.` */
export function subject({ stored, before, problems }: RunRecord): string {
  const { model, algo, task, name } = stored.options;
  const what = before?.task ?? task ?? 'multiplication';
  const named = name === undefined ? '' : `${name}: `;
  const [rows, distinct] = [problems.rows, problems.train].map(({ length }) => length.toLocaleString('en-US'));
  return `${named}${model ?? 'builtin'}, ${algorithms[algo].title} on ${what}: ${rows} rows of ${distinct} distinct problems.`;
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
