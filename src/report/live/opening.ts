/**
 * @file The top of the live page: what the run is doing, its progress, the time left and its latest numbers. Once the run is
 * finished, the verdict of its report replaces it.
 */
import type { EvalSummary } from '../../policy/eval-summary.js';
import { counted, formatPercent, formatSeconds } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import { runStyle, short } from '../charts/chart.js';
import { shellWord } from '../command.js';
import { type Html, html } from '../html.js';
import type { StepRecord } from '../log-records.js';
import { opening, subject } from '../page.js';
import type { RunRecord } from '../read.js';
import { secondsOf } from '../sections/facts.js';
import { sftOpening, sftSubject } from '../sft-page.js';
import { type Followed, headline, type Phase } from './followed.js';
import type { Watched } from './state.js';

export const badges = {
  waiting: ['…', 'Waiting'],
  running: ['●', 'Running'],
  stopped: ['■', 'Stopped'],
  finished: ['▲', 'Finished'],
  gone: ['■', 'Removed'],
} as const satisfies Record<Watched['state'], readonly [sign: string, label: string]>;

/** A pause of at least this length is mentioned. */
export const quietWorthMs = 60_000;

/** The opening of the first run, and a line for each if there are several. `accuracy`: the figure of the first. */
export function liveOpening(all: readonly [Followed, ...Followed[]], accuracy: Html | undefined): Html {
  const [first] = all;
  const several = all.length > 1 && runsList(all);
  const { watched } = first;
  const isOver = all.every(({ watched: { state } }) => state === 'finished');
  if (isOver) return reportOpening(first);
  const { run, state } = watched;
  const [sign, label] = badges[state];
  const title = headline(first);
  return html`<section class="verdict live ${state}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${several ? `${watched.name}: ${title.charAt(0).toLowerCase()}${title.slice(1)}` : title}${timeLeft(first)}</h1>
${run !== undefined && html`<p class="lead">${run.command === 'sft' ? sftSubject(run.record.stored) : subject(run.record)}</p>`}
${phaseList(first.progress.phases)}
${run?.command === 'train' && tiles(run.record)}
<ul class="key-facts">${factsOf(watched).map((fact) => html`<li>${fact}</li>`)}</ul>
${adviceOn(first).map((note) => html`<p class="note">${note}</p>`)}
</div>
<div>${several || accuracy}</div>
</section>`;
}

function reportOpening({ watched: { run }, verdict }: Followed): Html {
  if (run?.command === 'sft') return sftOpening(run.record);
  return run === undefined || verdict === undefined ? html`` : opening(run.record, verdict);
}

function timeLeft({ watched, progress: { secondsLeft, leftOf } }: Followed): Html | undefined {
  if (watched.state !== 'running' || secondsLeft === undefined) return undefined;
  return html`<small>${leftText(secondsLeft, leftOf)}</small>`;
}

function phaseList(phases: readonly Phase[]): Html | undefined {
  if (phases.length === 0) return undefined;
  return html`<ol class="phases" aria-label="Parts of the run">${phases.map(phaseItem)}</ol>`;
}

function phaseItem({ name, state, text, done, total }: Phase): Html {
  const sign = { done: '✓', now: '●', next: '○' }[state];
  const said = { done: 'done', now: 'under way', next: 'to come' }[state];
  const bar =
    state === 'now' &&
    html`<progress aria-label="${name}" max="${total ?? 1}"${total !== undefined && html` value="${done ?? 0}"`}></progress>`;
  return html`<li class="${state}"${state === 'now' && html` aria-current="step"`}><span class="sign" aria-hidden="true">${sign}</span><b>${name}</b><span class="unseen">, ${said}</span> <span>${text}</span>${bar}</li>`;
}

function factsOf({ run, holder, quietMs, state }: Watched): string[] {
  const seconds = run?.command === 'train' ? secondsOf(run.record.timings) : 0;
  return [
    ...(seconds < 1 ? [] : [`${formatSeconds(seconds)} of work so far`]),
    ...(holder === undefined ? [] : [holder]),
    ...(state === 'running' && quietMs >= quietWorthMs ? [`nothing written for ${formatSeconds(quietMs / 1000)}`] : []),
  ];
}

function adviceOn({ watched: { state, run, path, damage, holder }, verdict }: Followed): readonly string[] {
  const command = run?.command ?? 'train';
  if (state === 'waiting' && holder === undefined) {
    return [
      `The page fills in as soon as a run starts in ${path}, as with \`tinyzero train --out ${shellWord(path)}\`.`,
      ...damage,
    ];
  }
  if (state === 'gone') return ['The page shows the last state.', ...damage];
  if (state !== 'stopped') return damage;
  if (verdict?.kind === 'stopped') return [verdict.sentence, ...verdict.notes, ...damage];
  return [`Resume it with \`tinyzero ${command} --resume ${shellWord(path)}\`.`, ...damage];
}

/** Number of updates over which a figure is averaged, since single ones are noisy. */
const smoothed = 5;

interface Tile {
  readonly name: string;
  readonly now: string;
  /** The same figure at the start. */
  readonly first: string;
}

/** The latest numbers of stage 2 next to the first ones. */
function tiles({ steps, before }: RunRecord): Html | undefined {
  if (steps.length === 0) return undefined;
  const tile = (name: string, of: (step: StepRecord) => number, show: (value: number) => string): Tile => ({
    name,
    now: show(mean(steps.slice(-smoothed).map(of))),
    first: `from ${show(mean(steps.slice(0, smoothed).map(of)))}`,
  });
  const shown = [
    tile('Reward', ({ reward }) => reward, short),
    tile('Exact answers', ({ exactRate }) => exactRate, formatPercent),
    ...heldOutTile(steps, before),
    tile(
      'KL to the reference',
      ({ kl }) => kl,
      (nats) => `${short(nats)} nats`,
    ),
  ];
  return html`<dl class="tiles">${shown.map(({ name, now, first }) => html`<div><dt>${name}</dt><dd><b>${now}</b> <span>${first}</span></dd></div>`)}</dl>`;
}

function heldOutTile(steps: readonly StepRecord[], before: EvalSummary | undefined): Tile[] {
  const latest = steps.findLast(({ heldOutGreedy }) => heldOutGreedy !== undefined);
  if (latest === undefined) return [];
  const first = before === undefined ? `at update ${latest.step}` : `from ${formatPercent(before.greedy.exact.rate)}`;
  return [{ name: 'Held out, greedy', now: formatPercent(latest.heldOutGreedy!), first }];
}

/** All runs, the first of which the page is about, with their colours in the charts. */
function runsList(all: readonly Followed[]): Html {
  // The runs that are in the charts come first, in the order of their colours.
  const isDrawn = ({ watched: { run } }: Followed) => run !== undefined && run.command === all[0]?.watched.run?.command;
  return html`<ul class="watched" aria-label="Runs">${all.map((followed, i) => runItem(followed, isDrawn(followed) ? i : 'none'))}</ul>`;
}

/**
 * The progress of a run. `line`: the index of its line in the charts, if lines have different colours; `none` if it has no
 * line.
 */
export function runItem(followed: Followed, line?: number | 'none'): Html {
  const { watched, progress } = followed;
  const [sign, label] = badges[watched.state];
  const current = progress.phases.find(({ state }) => state === 'now');
  const where = watched.state === 'running' && current ? `${current.name}, ${current.text}` : label;
  const bar =
    watched.state === 'running' &&
    current?.total !== undefined &&
    html`<progress aria-label="${watched.name}" max="${current.total}" value="${current.done ?? 0}"></progress>`;
  return html`<li>${line !== undefined && swatch(line)}<b>${watched.name}</b> <span><span aria-hidden="true">${sign}</span> ${where}${timeText(followed)}</span>${bar}</li>`;
}

function swatch(line: number | 'none'): Html {
  const { color, dash } = runStyle(line === 'none' ? 0 : line);
  return html`<svg width="28" height="10" aria-hidden="true"><line x1="1" x2="27" y1="5" y2="5" stroke="${line === 'none' ? 'none' : color}" stroke-width="2.5" stroke-dasharray="${dash ?? 'none'}"/></svg>`;
}

function timeText({ watched, progress: { secondsLeft, leftOf } }: Followed): string {
  if (watched.state !== 'running' || secondsLeft === undefined) return '';
  return `, ${leftText(secondsLeft, leftOf)}`;
}

export function leftText(seconds: number, leftOf: string | undefined): string {
  const left = seconds < 1 ? 'a few seconds left' : `about ${formatSeconds(seconds)} left`;
  return leftOf === undefined ? left : `${left} in ${leftOf}`;
}

/** Progress is announced in steps of this share. */
const announcedShare = 0.1;

/** For screen readers: changes with the phases of the run and at each tenth of a phase, not with every update. */
export function announcement(all: readonly Followed[]): string {
  const name = (watched: Watched) => (all.length > 1 ? `${watched.name}: ` : '');
  return all
    .map((followed) => {
      const { watched, progress } = followed;
      const current = progress.phases.find(({ state }) => state === 'now');
      if (watched.state !== 'running' || current === undefined) {
        return `${name(watched)}${badges[watched.state][1]}. ${watched.state === 'finished' ? headline(followed) : ''}`;
      }
      const { done = 0, total = 0 } = current;
      const tenth = total > 0 ? Math.floor(done / total / announcedShare) : 0;
      return `${name(watched)}${current.name}${tenth > 0 ? `, ${tenth * 10} % done` : ''}.`;
    })
    .join(' ');
}

/** For the browser's tab: `26 % · mine`. */
export function titleOf([{ watched, progress }]: readonly [Followed, ...Followed[]]): string {
  const current = progress.phases.find(({ state }) => state === 'now');
  const share = current?.total ? Math.floor((100 * (current.done ?? 0)) / current.total) : undefined;
  const state =
    watched.state === 'running' && current
      ? share === undefined
        ? current.name
        : `${current.name} ${share} %`
      : badges[watched.state][1];
  return titleFor(state, watched.name);
}

export const titleFor = (state: string, name: string) => `${state} · ${name} · tinyzero watch`;

/** `3 runs` or the path of the only one, for the page's header. */
export function pathsOf(all: readonly Followed[]): string {
  return all.length === 1 ? all[0]!.watched.path : counted(all.length, 'run');
}
