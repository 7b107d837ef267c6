/**
 * @file The report of a set of runs, one HTML file: verdict, table, overlaid curves, and links to the reports of the
 * individual runs.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { EvalSummary } from '../../policy/eval-summary.js';
import { runFiles } from '../../run/folder.js';
import { readLog } from '../../run/logs.js';
import { type RunPlan, readPlan, setFiles } from '../../run/many/plan.js';
import type { Member } from '../../run/many/state.js';
import { readSet, type SetSummary, summarizeSet, tableOf } from '../../run/many/summary.js';
import { explainWrites, writeFileAtomic } from '../../util/file.js';
import { counted, formatPercent } from '../../util/format.js';
import { packageVersion } from '../../util/machine.js';
import { mean } from '../../util/statistics.js';
import { figure, intervalChart, type Measured, section } from '../charts/chart.js';
import { shellWord } from '../command.js';
import { documentOf, headline, pageSections, type SectionSpec } from '../document.js';
import { type Html, html } from '../html.js';
import { commandBox } from '../sections/facts.js';
import { parallelChart, setCurvesSection } from './charts.js';
import { judgeSet, rankingName, type SetVerdict } from './verdict.js';

/** A set of runs as its report shows it. */
export interface SetRecord {
  readonly folder: string;
  readonly plan: RunPlan;
  readonly summary: SetSummary;
  /** In the order of the plan. */
  readonly members: readonly SetMember[];
}

export interface SetMember extends Pick<Member, 'evaluations'> {
  /** Lines of its log of updates. */
  readonly steps: readonly object[];
  readonly hasReport: boolean;
}

/** Reads the set in `folder`. @throws UserError when the plan or a finished run is damaged. */
export function readSetRecord(folder: string): SetRecord {
  const plan = readPlan(folder);
  const found = readSet(folder, plan);
  const members = plan.runs.map(({ name }, i): SetMember => {
    const { evaluations } = found[i]!;
    const steps = [...readLog(join(folder, name, runFiles.metrics))];
    return { ...(evaluations && { evaluations }), steps, hasReport: hasReport(folder, name) };
  });
  return { folder, plan, summary: summarizeSet(folder, plan, found), members };
}

/** Whether the run of this name has its report. */
function hasReport(folder: string, name: string): boolean {
  return existsSync(join(folder, name, runFiles.report));
}

/** Writes the report of a set and returns its path. @throws UserError when it cannot be written. */
export function writeSetReport(set: SetRecord, out = join(set.folder, setFiles.report)): string {
  explainWrites(out, () => writeFileAtomic(out, renderSet(set)));
  return out;
}

function renderSet(set: SetRecord): string {
  const { folder, plan, summary } = set;
  return documentOf({
    title: `${basename(resolve(folder))}: ${counted(plan.runs.length, 'run')} · tinyzero report`,
    path: folder,
    createdBy: `tinyzero ${packageVersion()}`,
    opening: setOpening(set, judgeSet(summary, plan)),
    sections: pageSections(setSections(plan), [set]),
  });
}

type SetSection = SectionSpec<SetRecord>;
const stepsOf = ({ members }: SetRecord) => members.map(({ steps }) => steps);

const table = (name: string): SetSection => ({
  ...{ id: 'runs', name, body: ([set]) => tableSection(set) },
  shows: ({ summary }) => [summary],
});
const repeat: SetSection = {
  ...{ id: 'repeat', name: 'Repeat it', body: ([set]) => repeatSection(set) },
  shows: ({ members, summary }) => [
    ...summary.runs.map(({ state }) => state),
    ...members.map(({ hasReport }) => hasReport),
  ],
};

const seedsSections: readonly SetSection[] = [
  table('Seeds'),
  { id: 'training', name: 'Training', body: ([set]) => trainingSection(set), shows: stepsOf },
  {
    ...{ id: 'problems', name: 'Problems', body: ([set]) => problemsSection(set) },
    shows: ({ members }) => members.map(({ evaluations }) => evaluations?.after),
  },
  repeat,
];

const sweepSections: readonly SetSection[] = [
  table('Settings'),
  { id: 'coordinates', name: 'Coordinates', body: ([set]) => coordinates(set), shows: ({ summary }) => [summary] },
  {
    ...{ id: 'training', name: 'Training', body: ([set]) => trainingSection(set) },
    shows: (set) => [...stepsOf(set), bestOf(set)],
  },
  repeat,
];

export function setSections({ kind }: Pick<RunPlan, 'kind'>): readonly SetSection[] {
  return kind === 'sweep' ? sweepSections : seedsSections;
}

/** The name of the best setting; undefined before any has a score. */
const bestOf = ({ summary: { ranking } }: SetRecord) => ranking?.find(({ score }) => score !== null)?.name;

function trainingSection(set: SetRecord): Html | undefined {
  const { plan, members } = set;
  const best = bestOf(set);
  const runs = plan.runs.map(({ name, setting }, i) => ({
    ...{ name, records: members[i]!.steps },
    front: best !== undefined && plan.settings[setting]?.name === best,
  }));
  return setCurvesSection(runs, plan);
}

const signs: Readonly<Partial<Record<SetVerdict['kind'], string>>> = {
  learned: '▲',
  small: '▲',
  worse: '▼',
  unfinished: '…',
};

/** The verdict and what it is about. */
export function setOpening({ plan, summary }: SetRecord, { kind, label, sentence, notes }: SetVerdict): Html {
  const { note } = plan.runs[0]?.flags ?? {};
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${signs[kind] ?? '◆'}</span> ${label}</p>
<h1>${headline(sentence)}</h1>
<p class="lead">${setSubject(plan)}</p>
${typeof note === 'string' && html`<p class="said">${note}</p>`}
${notes.map((note) => html`<p class="note">${note}</p>`)}
</div>
${setAccuracies(summary)}
</section>`;
}

/** The model, the task and the number of runs: `builtin, apo on multiplication, 5 seeds.` */
export function setSubject(plan: RunPlan): string {
  const flags = plan.runs[0]?.flags ?? {};
  const what =
    plan.command === 'sft'
      ? `supervised training on ${flags.data}`
      : `${flags.algo ?? 'apo'} on ${flags.task ?? flags.problems ?? 'multiplication'}`;
  const seedsEach = plan.runs.length / plan.settings.length;
  const kindText =
    plan.kind === 'sweep'
      ? `${counted(plan.settings.length, 'setting')}${seedsEach > 1 ? ` with ${seedsEach} seeds each` : ''}`
      : `${counted(plan.runs.length, 'seed')}`;
  const named = typeof flags.name === 'string' ? `${flags.name}: ` : '';
  return `${named}${String(flags.model ?? 'builtin')}, ${what}, ${kindText}.`;
}

/** More rows make the figure higher than the page. */
const maxRows = 10;

/** The figure at the top: the held-out accuracy of each run of a set of seeds. */
export function setAccuracies({ kind, runs, overSeeds }: SetSummary): Html | false {
  if (kind === 'sweep' || overSeeds === undefined || runs.length > maxRows) return false;
  const measured = runs.flatMap((row): Measured[] => {
    const [before, after] = [row.sampledBefore ?? row.greedyBefore, row.sampledAfter ?? row.greedyAfter];
    if (before === undefined || after === undefined) return [];
    const shared = { row: `seed ${row.seed}`, ci95: null };
    return [
      { ...shared, when: 'before', rate: before },
      { ...shared, when: 'after', rate: after },
    ];
  });
  const what = overSeeds.sampled === undefined ? 'greedy answers' : 'samples';
  return figure({
    title: 'Held-out accuracy',
    unit: `exact ${what}: ○ before, ● after training`,
    chart: intervalChart(measured, 70),
  });
}

function tableSection({ plan, summary }: SetRecord): Html {
  const { head, rows, totals } = tableOf(summary);
  const line = (cells: readonly string[]) =>
    html`<tr>${cells.map((cell, i) => (i === 0 ? html`<th scope="row">${cell}</th>` : html`<td>${cell}</td>`))}</tr>`;
  const isSweep = plan.kind === 'sweep';
  return section({
    id: 'runs',
    title: isSweep ? 'Settings, the best first' : 'Seeds',
    lead: isSweep
      ? `Ranked by ${rankingName(summary)}${plan.runs.length > plan.settings.length ? ', means over the seeds ± standard deviation' : ''}.`
      : seedsLead(summary),
    body: html`<div class="scroll" role="region" tabindex="0" aria-label="Runs"><table class="numbers"><thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead>
<tbody>${[...rows, ...totals].map(line)}</tbody></table></div>`,
  });
}

/** Explains the table: p-values appear with the first finished run, the test over all runs with the last one. */
function seedsLead({ overSeeds, finished, planned }: SetSummary): string {
  const rows = 'One row for each run.';
  if (overSeeds === undefined) return rows;
  const over = finished < planned ? '' : '; the test over all runs is in the sentence above';
  return `${rows} The p-values in a row are those of the run's own tests${over}.`;
}

function coordinates({ plan, summary }: SetRecord): Html | undefined {
  const { ranking } = summary;
  const name = rankingName(summary);
  const svg = ranking && parallelChart(ranking, plan, name);
  return (
    svg &&
    section({
      id: 'coordinates',
      title: 'Values and results',
      lead: `Each line is a setting: its values, and on the right its ${name}. The bold line is the best.`,
      body: html`<div class="scroll" role="region" tabindex="0" aria-label="Parallel coordinates"><div class="wide">${svg}</div></div>`,
    })
  );
}

/** More problems than anyone would read. */
const maxProblems = 60;

/** Mean accuracies of each held-out problem over the finished runs. */
function problemsSection({ summary: { overSeeds }, members }: SetRecord): Html | undefined {
  if (overSeeds === undefined) return undefined;
  const rates = new Map<string, { before: number[]; after: number[] }>();
  const add = (summary: EvalSummary, when: 'before' | 'after') => {
    for (const { id, sampled, greedy } of summary.perProblem) {
      const known = rates.get(id) ?? { before: [], after: [] };
      known[when].push(overSeeds.sampled ? (sampled?.exactRate ?? 0) : Number(greedy.exact));
      rates.set(id, known);
    }
  };
  for (const { evaluations } of members) {
    if (evaluations === undefined) continue;
    add(evaluations.before, 'before');
    add(evaluations.after, 'after');
  }
  const rows = [...rates].map(([id, { before, after }]) => ({
    id,
    before: mean(before),
    after: mean(after),
    runs: after.length,
  }));
  const shown = rows.sort((a, b) => a.after - b.after || a.id.localeCompare(b.id)).slice(0, maxProblems);
  const rest = rows.length > shown.length ? ` The ${shown.length} with the lowest accuracy of ${rows.length}.` : '';
  return section({
    id: 'problems',
    title: 'Held-out problems',
    lead: `Share of exact ${overSeeds.sampled ? 'samples' : 'greedy answers'}, the mean over the runs, the hardest first.${rest}`,
    body: html`<div class="scroll" role="region" tabindex="0" aria-label="Held-out problems"><table class="numbers"><thead><tr><td></td><th scope="col">before</th><th scope="col">after</th><th scope="col">runs</th></tr></thead>
<tbody>${shown.map(({ id, before, after, runs: count }) => html`<tr><th scope="row" class="long">${id.trim()}</th><td>${formatPercent(before)}</td><td>${formatPercent(after)}</td><td>${count}</td></tr>`)}</tbody></table></div>`,
  });
}

function repeatSection({ folder, plan, summary: { runs }, members }: SetRecord): Html {
  const first = plan.runs[0]?.name ?? '';
  const seeds = [...new Set(plan.runs.map(({ seed }) => seed))].join(',');
  const one = `--config ${shellWord(`${folder}/${first}`)}`;
  const pieces = [`tinyzero ${plan.command}`, one, ...(plan.kind === 'seeds' ? [`--seeds ${seeds}`] : [])];
  const reports = runs.map(({ name, state }, i) =>
    members[i]!.hasReport
      ? html`<li><a href="${name}/${runFiles.report}">${name}</a></li>`
      : html`<li>${name}: ${state}</li>`,
  );
  return section({
    id: 'repeat',
    title: 'How to repeat it, and the individual runs',
    lead:
      plan.kind === 'seeds'
        ? 'The same command gives the same runs again: all random numbers follow from the seeds.'
        : 'This repeats the first run; each run has such a file. A finished sweep is repeated from its own file.',
    body: html`${commandBox(pieces)}<h3>Reports of the runs</h3><ul>${reports}</ul>`,
  });
}
