/**
 * @file The report of a run of `sft`: the held-out loss before and after, the curves of training, how to repeat it. Reads
 * the files in the run folder, finished or not.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { sftOptionNames } from '../options/names.js';
import { requireRun, runFiles } from '../run/folder.js';
import { readLog } from '../run/logs.js';
import type { SftMetrics } from '../run/sft/loop.js';
import { readSftRun } from '../run/sft/record.js';
import { readLoss } from '../run/sft/train.js';
import { explainWrites, writeFileAtomic } from '../util/file.js';
import { counted, formatPercent } from '../util/format.js';
import { check, integer, number, object, optional } from '../util/schema.js';
import { mean } from '../util/statistics.js';
import { chart, figure, hits, Plot, runStyle, section, short, tickText } from './charts/chart.js';
import { binned } from './charts/thin.js';
import { repeatCommand } from './command.js';
import { documentOf, type PageSection } from './document.js';
import { type Html, html } from './html.js';
import { readTimings } from './read.js';
import { commandBox, formatDuration, optionTables, table, versions } from './sections/facts.js';

/** Writes the report and returns its path. @throws UserError when the folder holds no such run, or a file in it is damaged. */
export function writeSftReport(folder: string, out = join(folder, runFiles.report)): string {
  const page = renderSftPage(readSftRecord(folder));
  requireRun(folder);
  explainWrites(out, () => writeFileAtomic(out, page));
  return out;
}

type SftRecord = ReturnType<typeof readSftRecord>;

function readSftRecord(path: string) {
  requireRun(path);
  const file = (name: keyof typeof runFiles) => join(path, runFiles[name]);
  const loss = (name: 'evalBefore' | 'evalAfter') => (existsSync(file(name)) ? readLoss(file(name)) : undefined);
  return {
    name: basename(resolve(path)),
    path,
    stored: readSftRun(file('config')),
    before: loss('evalBefore'),
    after: loss('evalAfter'),
    isFinished: existsSync(file('finalChecksums')),
    steps: readSteps(file('metrics')),
    timings: readTimings(file('timings')),
  };
}

const stepShape = object({
  step: integer({ min: 1 }),
  epoch: integer({ min: 0 }),
  loss: number(),
  tokens: integer({ min: 1 }),
  trainedTokens: integer({ min: 1 }),
  gradientNorm: number(),
  learningRate: number(),
  heldOutLoss: optional(number()),
});

function readSteps(path: string): SftMetrics[] {
  const steps: SftMetrics[] = [];
  for (const record of readLog(path)) {
    const source = { path, what: "a run's log of updates" };
    const { heldOutLoss, ...step } = check(stepShape, record, source, `line ${steps.length + 1}`);
    steps.push({ ...step, ...(heldOutLoss !== undefined && { heldOutLoss }) });
  }
  return steps;
}

function renderSftPage(run: SftRecord): string {
  const sections: readonly (readonly [string, string, Html | undefined])[] = [
    ['training', 'Training', curves(run)],
    ['repeat', 'Repeat it', facts(run)],
  ];
  return documentOf({
    title: `${run.name}: supervised training · tinyzero report`,
    path: run.path,
    createdBy: String(run.stored.record.createdBy ?? 'tinyzero'),
    opening: opening(run),
    sections: sections.filter((entry): entry is PageSection => entry[2] !== undefined),
  });
}

function opening({ stored, before, after, isFinished, steps }: SftRecord): Html {
  const fell = before !== undefined && after !== undefined && after.loss < before.loss;
  const [kind, sign, label] = !isFinished
    ? (['unfinished', '…', 'Not finished'] as const)
    : before === undefined || after === undefined
      ? (['unproven', '◆', 'Trained, nothing held out'] as const)
      : fell
        ? (['learned', '▲', 'The held-out loss fell'] as const)
        : (['worse', '▼', 'The held-out loss did not fall'] as const);
  const per = (loss: number) => `${loss.toFixed(3)} nats a token (${formatPercent(Math.exp(-loss))} a token)`;
  const last = steps.at(-1);
  const { name, note } = stored.options;
  return html`<section class="verdict ${kind}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${before && after ? `Held-out loss ${before.loss.toFixed(3)} → ${after.loss.toFixed(3)}` : 'Supervised training'}</h1>
<p class="lead">${name !== undefined && `${name}: `}${stored.options.model ?? 'builtin'}, supervised training on ${stored.options.data ?? 'given lines'}.</p>
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

interface Quantity {
  readonly title: string;
  readonly unit: string;
  readonly value: (step: SftMetrics) => number | undefined;
}

const quantities: readonly Quantity[] = [
  { title: 'Loss', unit: 'nats a completion token, of the rows of an update', value: ({ loss }) => loss },
  { title: 'Held-out loss', unit: 'nats a completion token', value: ({ heldOutLoss }) => heldOutLoss },
  { title: 'Gradient norm', unit: 'before clipping', value: ({ gradientNorm }) => gradientNorm },
  { title: 'Learning rate', unit: 'of AdamW', value: ({ learningRate }) => learningRate },
];

/** A chart has too few pixels for more points. */
const maxPoints = 160;

function curves({ steps, before }: SftRecord): Html | undefined {
  if (steps.length === 0) return undefined;
  const figures = quantities.flatMap((quantity) => {
    const measured = steps.filter((step) => quantity.value(step) !== undefined);
    const points = binned(measured, maxPoints).map(({ last, items }) => ({
      step: last.step,
      value: mean(items.map((item) => quantity.value(item)!)),
    }));
    if (quantity.title === 'Held-out loss' && before) points.unshift({ step: 0, value: before.loss });
    return points.length < 2 ? [] : [curve(quantity, points)];
  });
  return section({
    id: 'training',
    title: 'Training, update by update',
    lead: `${counted(steps.length, 'update')}. Point at a chart, or focus it and use the arrow keys, for values.`,
    body: html`<div class="charts">${figures}</div>`,
  });
}

function curve({ title, unit }: Quantity, points: readonly { step: number; value: number }[]): Html {
  const values = points.map(({ value }) => value);
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const shown = points.map((point) => ({
    ...point,
    text: `update ${point.step}\n${title.toLowerCase()} ${short(point.value)}`,
  }));
  const place = { x: 'step', y: 'value' };
  const { color } = runStyle(0);
  return figure({
    title,
    unit,
    chart: chart({
      description: `${title} (${unit}) by update: from ${short(values[0]!)} to ${short(values.at(-1)!)}`,
      x: { label: 'update', ticks: 5, tickFormat: 'd' },
      y: {
        label: null,
        grid: true,
        domain: [low, high === low ? low + 1 : high],
        nice: true,
        ticks: 4,
        tickFormat: tickText,
      },
      marks: [
        Plot.lineY(shown, { ...place, stroke: color, strokeWidth: 2 }),
        Plot.dot(shown, { ...place, r: 8, title: 'text', ...hits }),
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
