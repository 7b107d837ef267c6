/**
 * @file The report of a run of `sft`: the held-out loss before and after, the curves of training, how to repeat it. Reads
 * the files in the run folder, finished or not.
 */
import { join } from 'node:path';
import { sftOptionNames } from '../options/names.js';
import type { SftMetrics } from '../run/events.js';
import { requireRun, runFiles } from '../run/folder.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { counted, formatPercent } from '../util/format.js';
import { mean } from '../util/statistics.js';
import { chart, figure, hits, legend, Plot, runStyle, section, short, updateAxis, valueAxis } from './charts/chart.js';
import { repeatCommand } from './command.js';
import { documentOf, pageSections, type SectionSpec } from './document.js';
import { type Html, html } from './html.js';
import { binned } from './log-records.js';
import { creatorOf, type ReportRequest } from './page.js';
import { readSftRecord, type SftRecord } from './read.js';
import { commandBox, formatDuration, optionTables, table, versions } from './sections/facts.js';

/**
 * Writes the report, with the curves of other runs overlaid, and returns its path.
 *
 * @throws UserError when a folder holds no such run, or a file in it is damaged.
 */
export function writeSftReport({ folder, compare = [], out = join(folder, runFiles.report) }: ReportRequest): string {
  const page = renderSftPage([readSftRecord(folder), ...compare.map(readSftRecord)]);
  requireRun(folder);
  explainWrites(out, () => writeFileAtomic(out, page));
  return out;
}

function renderSftPage(runs: readonly [SftRecord, ...SftRecord[]]): string {
  const [run] = runs;
  return documentOf({
    title: `${run.name}: supervised training · tinyzero report`,
    path: run.path,
    createdBy: creatorOf(run.stored),
    opening: sftOpening(run),
    sections: pageSections(sftSections, runs),
  });
}

export const sftSections: readonly SectionSpec<SftRecord>[] = [
  { id: 'training', name: 'Training', body: curves, shows: ({ steps, before }) => [steps, before] },
  { id: 'repeat', name: 'Repeat it', body: ([run]) => facts(run), shows: ({ steps, timings }) => [steps, timings] },
];

/** The result of the run. */
export function sftOpening({ stored, before, after, isFinished, steps }: SftRecord): Html {
  const fell = before !== undefined && after !== undefined && after.loss < before.loss;
  const [kind, sign, label] = !isFinished
    ? (['unfinished', '…', 'Not finished'] as const)
    : before === undefined || after === undefined
      ? (['unproven', '◆', 'Trained, nothing held out'] as const)
      : fell
        ? (['learned', '▲', 'The held-out loss fell'] as const)
        : (['worse', '▼', 'The held-out loss did not fall'] as const);
  const per = (loss: number) => `${loss.toFixed(3)} nats per token (${formatPercent(Math.exp(-loss))} per token)`;
  const last = steps.at(-1);
  const { note } = stored.options;
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${before && after ? `Held-out loss ${before.loss.toFixed(3)} → ${after.loss.toFixed(3)}` : 'Supervised training'}</h1>
<p class="lead">${sftSubject(stored)}</p>
${note !== undefined && html`<p class="said">${note}</p>`}
<ul class="key-facts">${[
    ...(last ? [counted(last.step, 'update'), counted(last.trainedTokens, 'completion token')] : []),
    ...(before ? [`before: ${per(before.loss)}`] : []),
    ...(after ? [`after: ${per(after.loss)}`] : []),
    ...(before ? [`measured on ${counted(before.tokens, 'held-out token')}`] : []),
  ].map((fact) => html`<li>${fact}</li>`)}</ul>
</div>
</section>`;
}

export function sftSubject({ options }: SftRecord['stored']): string {
  const named = options.name === undefined ? '' : `${options.name}: `;
  return `${named}${options.model ?? 'builtin'}, supervised training on ${options.data ?? 'given lines'}.`;
}

interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly value: (step: SftMetrics) => number | undefined;
}

const quantities: readonly Quantity[] = [
  { title: 'Loss', unit: 'nats per completion token, of the rows of an update', value: ({ loss }) => loss },
  { title: 'Held-out loss', unit: 'nats per completion token', value: ({ heldOutLoss }) => heldOutLoss },
  { title: 'Gradient norm', unit: 'before clipping', value: ({ gradientNorm }) => gradientNorm },
  { title: 'Learning rate', unit: 'of AdamW', value: ({ learningRate }) => learningRate },
];

/** A chart has too few pixels for more points. */
const maxPoints = 160;

function curves(runs: readonly SftRecord[]): Html | undefined {
  const [run] = runs;
  if (run === undefined || run.steps.length === 0) return undefined;
  // The axis of a run that is not finished ends with its plan.
  const planned = ({ stored, isFinished }: SftRecord) => (isFinished ? 0 : (stored.updates ?? 0));
  const last = Math.max(...runs.map((each) => Math.max(planned(each), each.steps.at(-1)?.step ?? 0)));
  const figures = quantities.flatMap((quantity) => {
    const series = runs.map((each) => pointsOf(quantity, each, runs.length > 1));
    return series.some((points) => points.length > 1) ? [curve(quantity, series, last)] : [];
  });
  return section({
    id: 'training',
    title: 'Training, update by update',
    lead: `${counted(run.steps.length, 'update')}. Point at a chart, or focus it and use the arrow keys, for values.`,
    body: html`${runs.length > 1 && legend(runs)}<div class="charts">${figures}</div>`,
  });
}

interface Point {
  readonly step: number;
  readonly value: number;
  readonly text: string;
}

function pointsOf({ title, value }: Quantity, { name, steps, before }: SftRecord, named: boolean): Point[] {
  const point = (step: number, each: number): Point => {
    const text = `update ${step}${named ? `, ${name}` : ''}\n${title.toLowerCase()} ${short(each)}`;
    return { step, value: each, text };
  };
  const measured = steps.filter((step) => value(step) !== undefined);
  const points = binned(measured, maxPoints).map(({ last, items }) =>
    point(last.step, mean(items.map((item) => value(item)!))),
  );
  if (title === 'Held-out loss' && before) points.unshift(point(0, before.loss));
  return points;
}

function curve({ title, unit }: Quantity, series: readonly (readonly Point[])[], last: number): Html {
  const all = series.flat();
  const values = all.map(({ value }) => value);
  const place = { x: 'step', y: 'value' };
  const first = series.find((points) => points.length > 0)!;
  return figure({
    title,
    unit,
    chart: chart({
      description: `${title} (${unit}) by update: from ${short(first[0]!.value)} to ${short(first.at(-1)!.value)}`,
      x: { ...updateAxis, domain: [Math.min(1, ...all.map(({ step }) => step)), last] },
      y: valueAxis(values),
      marks: [
        ...series.map((points, i) => {
          const { color, dash } = runStyle(i);
          const dashed = dash !== undefined && { strokeDasharray: dash };
          return Plot.lineY(points, { ...place, stroke: color, strokeWidth: 2, ...dashed });
        }),
        Plot.dot(all, { ...place, r: 8, title: 'text', ...hits }),
      ],
    }),
  });
}

function facts({ stored, timings, steps }: SftRecord): Html {
  const { phases, updates } = timings;
  const training = updates.reduce((sum, each) => sum + each, 0);
  const costs: [string, string][] = [...phases].map(([phase, seconds]) => [
    phase === 'eval-before' ? 'Loss before' : phase === 'eval-after' ? 'Loss after' : phase,
    formatDuration(seconds),
  ]);
  if (steps.length > 0) costs.push(['Training', `${counted(steps.length, 'update')}, ${formatDuration(training)}`]);
  return section({
    id: 'repeat',
    title: 'How to repeat it',
    lead: `The same command gives the same bytes on the same engine. The lines it learned from are in ${runFiles.examples}.`,
    body: html`${commandBox(repeatCommand('sft', sftOptionNames, stored))}
<div class="columns">
<div><h3>Cost</h3>${table(costs)}<h3>Versions and hashes</h3>${table(versions(stored.record))}</div>
<div><h3>Options, as resolved</h3>${optionTables(sftOptionNames, stored)}</div>
</div>`,
  });
}
