/**
 * @file The section about repeating a run: its command, cost, resolved options, versions and hashes.
 */
import { trainingOptionNames } from '../../options/names.js';
import { flag, type OptionName } from '../../options/table.js';
import { bestOf, isFlat } from '../../stage2/step-metrics.js';
import { counted, formatSeconds } from '../../util/format.js';
import { isRecord, type JsonRecord } from '../../util/json.js';
import { quantile } from '../../util/statistics.js';
import { section, short } from '../charts/chart.js';
import { repeatCommand } from '../command.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';

export function factsSection(run: RunRecord): Html {
  const { stored } = run;
  return section({
    id: 'repeat',
    title: 'How to repeat it',
    lead: 'The same command gives the same bytes on the same engine: all random numbers follow from the seed.',
    body: html`${commandBox(repeatCommand('train', trainingOptionNames, stored))}
<div class="columns">
<div><h3>Cost</h3>${table(costs(run))}<h3>Versions and hashes</h3>${table(versions(stored.record))}</div>
<div><h3>Options, as resolved</h3>${optionTables(trainingOptionNames, stored)}</div>
</div>`,
  });
}

/** The command with a button that copies it. */
export function commandBox(pieces: readonly string[]): Html {
  return html`<div class="copied"><pre class="command" id="command" tabindex="0" aria-label="The command">${pieces.map((piece, i) => html`${i > 0 && ' '}<span>${piece}</span>`)}</pre><button type="button" class="to-clipboard" data-source="command" hidden>Copy</button></div>`;
}

export type Rows = readonly (readonly [name: string, value: string])[];

export function table(rows: Rows): Html {
  return html`<table class="options"><tbody>${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>`;
}

/** Total seconds of the run, over all its processes. */
export function secondsOf({ phases, updates }: RunRecord['timings']): number {
  const stage2 = updates.reduce((sum, each) => sum + each, 0);
  return ['eval-before', 'stage1', 'eval-after'].reduce((sum, phase) => sum + (phases.get(phase) ?? 0), stage2);
}

function costs({ stored, timings, before, after, stage1, steps, rollouts }: RunRecord): Rows {
  const { phases, updates } = timings;
  const rows: [string, string][] = [];
  const seconds = (phase: string) => phases.get(phase);
  const time = (phase: string) => (seconds(phase) === undefined ? '' : `, ${formatDuration(seconds(phase)!)}`);
  const evaluation = (name: string, summary: typeof before, phase: string) => {
    if (summary)
      rows.push([
        name,
        `${counted(summary.problems * (1 + (summary.sampled?.samplesPerProblem ?? 0)), 'completion')}${time(phase)}`,
      ]);
  };
  evaluation('Evaluation before', before, 'eval-before');
  if (stage1) {
    const lengths = [...stage1.entries.values()].flatMap((entry) => entry.lengths);
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    rows.push(['Stage 1', `${counted(lengths.length, 'sample')}, ${counted(tokens, 'token')}${time('stage1')}`]);
  }
  const last = steps.at(-1);
  const stage2 = updates.reduce((sum, each) => sum + each, 0);
  if (last) {
    rows.push([
      'Stage 2',
      `${counted(last.step, 'update')}, ${counted(rollouts.count, 'rollout')}, ${counted(last.sampledTokens, 'token')}, ${formatDuration(stage2)}`,
    ]);
    if (updates.length > 0) rows.push(['Median update', formatDuration(quantile(updates, 0.5))]);
    const { stopWhenFlat, keep } = stored.options;
    if (stopWhenFlat !== undefined && after !== undefined && isFlat(steps, { window: stopWhenFlat, after: 0 })) {
      rows.push(['Stopped', `after update ${last.step}: the training reward no longer rose`]);
    }
    const best = keep === 'best' ? bestOf(steps) : undefined;
    if (best) rows.push(['Kept', `the model after update ${best.step}, the best on the validation problems`]);
    if (updates.length > last.step)
      rows.push(['Repeated updates', `${updates.length - last.step}, after an interruption`]);
  }
  evaluation('Evaluation after', after, 'eval-after');
  rows.push(['Total', formatDuration(secondsOf(timings))]);
  return rows;
}

/** Short times with three digits, long ones as {@link formatSeconds}. */
export function formatDuration(seconds: number): string {
  return seconds < 60 ? `${short(seconds)} s` : formatSeconds(seconds);
}

/** Options in use; those that were off or absent are folded below them. */
export function optionTables<Name extends OptionName>(
  names: readonly Name[],
  { options, record }: { readonly options: Readonly<Record<Name, unknown>>; readonly record: JsonRecord },
): Html {
  const { derived } = record;
  const all = names.map((name) => [flag(name), valueText(options[name])] as const);
  const isUnused = ([, value]: readonly [string, string]) => value === '–' || value === 'no';
  const unused = all.filter(isUnused);
  const used = [...all.filter((row) => !isUnused(row)), ...(isRecord(derived) ? flat(derived, '') : [])];
  return html`${table(used)}${
    unused.length > 0 &&
    html`<details><summary>${counted(unused.length, 'option')} that this run did not use</summary>${table(unused)}</details>`
  }`;
}

export function versions(record: JsonRecord): Rows {
  const { options: _, derived: __, ...rest } = record;
  return flat(rest, '');
}

/** Nested fields with their path in words: `optimizer, weight decay` for `optimizer.weightDecay`. */
function flat(record: Readonly<Record<string, unknown>>, prefix: string): (readonly [string, string])[] {
  return Object.entries(record).flatMap(([name, value]) =>
    isRecord(value)
      ? flat(value, `${prefix}${inWords(name)}, `)
      : [[`${prefix}${inWords(name)}`, valueText(value)] as const],
  );
}

/** `weight decay` for `weightDecay`; some names are kept. */
function inWords(name: string): string {
  return name
    .replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .replace('problems checksum', 'checksum of the problems');
}

function valueText(value: unknown): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' ? value.trim() : JSON.stringify(value);
}
