/**
 * @file The section for repeating a run: the command, what it cost, every resolved option, versions and hashes.
 */
import { flag, trainingOptionNames } from '../../options/table.js';
import { counted, formatSeconds } from '../../util/format.js';
import { isRecord } from '../../util/json.js';
import { quantile } from '../../util/statistics.js';
import { section, short } from '../charts/figure.js';
import { repeatCommand } from '../command.js';
import { type Html, html } from '../html.js';
import type { RunRecord } from '../read.js';

export function factsSection(run: RunRecord): Html {
  const { stored } = run;
  return section({
    id: 'repeat',
    title: 'How to repeat it',
    lead: 'The same command gives the same bytes on the same engine: everything that is drawn follows from the seed.',
    body: html`<pre class="command">${repeatCommand(stored).map((piece, i) => html`${i > 0 && ' '}<span>${piece}</span>`)}</pre>
<div class="columns">
<div><h3>Cost</h3>${table(costs(run))}<h3>Versions and hashes</h3>${table(versions(stored.record))}</div>
<div><h3>Options, as resolved</h3>${table(optionRows(run))}</div>
</div>`,
  });
}

type Rows = readonly (readonly [name: string, value: string])[];

function table(rows: Rows): Html {
  return html`<table class="options"><tbody>${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>`;
}

function costs({ timings, before, after, stage1, steps, rollouts }: RunRecord): Rows {
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
    if (updates.length > 0) rows.push(['An update, median', formatDuration(quantile(updates, 0.5))]);
    if (updates.length > last.step)
      rows.push(['Updates made again', `${updates.length - last.step}, after an interruption`]);
  }
  evaluation('Evaluation after', after, 'eval-after');
  const parts = ['eval-before', 'stage1', 'eval-after'].reduce((sum, phase) => sum + (seconds(phase) ?? 0), stage2);
  rows.push(['Together', formatDuration(parts)]);
  return rows;
}

/** Short times to three digits, long ones as everywhere. */
function formatDuration(seconds: number): string {
  return seconds < 60 ? `${short(seconds)} s` : formatSeconds(seconds);
}

function optionRows({ stored }: RunRecord): Rows {
  const given = trainingOptionNames.map((name) => [flag(name), valueText(stored.options[name])] as const);
  const { derived } = stored.record;
  return [...given, ...(isRecord(derived) ? flat(derived, '') : [])];
}

function versions(record: RunRecord['stored']['record']): Rows {
  const { options: _, derived: __, ...rest } = record;
  return flat(rest, '');
}

/** Nested fields with their path: `optimizer.beta1`. */
function flat(record: Readonly<Record<string, unknown>>, prefix: string): (readonly [string, string])[] {
  return Object.entries(record).flatMap(([name, value]) =>
    isRecord(value) ? flat(value, `${prefix}${name}.`) : [[`${prefix}${name}`, valueText(value)] as const],
  );
}

function valueText(value: unknown): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' ? value.trim() : JSON.stringify(value);
}
