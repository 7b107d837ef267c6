/**
 * @file The views of the live page: of runs, the report of the first one with the others overlaid, and its newest rollouts;
 * of a set of runs, the progress of each, their overlaid curves, and the summary so far; of V* files, their progress and the
 * samples so far.
 */
import { resumeCommand } from '../../run/many/plan.js';
import { preflightOf } from '../../stage1/preflight.js';
import { counted, formatSeconds } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import { section, short } from '../charts/chart.js';
import { shellWord } from '../command.js';
import type { SectionSpec } from '../document.js';
import { remembered } from '../follow.js';
import { type Html, html } from '../html.js';
import type { Rollout } from '../log-records.js';
import { setAccuracies, setOpening, setSections, setSubject } from '../many/page.js';
import { judgeSet } from '../many/verdict.js';
import { creatorOf, sections } from '../page.js';
import { type RunRecord, stage1Record } from '../read.js';
import { accuracyFigure } from '../sections/evaluations.js';
import { visible } from '../sections/examples.js';
import { secondsOf } from '../sections/facts.js';
import { stage1Section } from '../sections/preflight.js';
import { sftSections } from '../sft-page.js';
import type { Followed } from './followed.js';
import {
  announcement,
  badges,
  leftText,
  liveOpening,
  pathsOf,
  quietWorthMs,
  runItem,
  titleFor,
  titleOf,
} from './opening.js';
import type { Drawable, View } from './page.js';
import { type FollowedSet, setHeadline } from './set.js';
import { type FollowedFile, type FollowedFiles, fileHeadline } from './v-star.js';

/** Returns a function that makes the view of runs. It draws the figure at the top again only after an evaluation. */
export function runsView(): (all: readonly [Followed, ...Followed[]]) => View {
  const accuracyOf = remembered((before: RunRecord['before'], after: RunRecord['after']) =>
    accuracyFigure({ ...(before && { before }), ...(after && { after }) }),
  );
  return (all) => {
    const isOver = all.every(({ watched: { state } }) => state === 'finished');
    const { run } = all[0].watched;
    const record = run?.command === 'train' ? run.record : undefined;
    const shown = [...newestOf(all, isOver), ...reportOf(all)];
    return {
      title: titleOf(all),
      announcement: announcement(all),
      path: pathsOf(all),
      createdBy: run && creatorOf(run.record.stored),
      opening: liveOpening(all, accuracyOf(record?.before, record?.after)),
      sections: isOver ? shown : shown.sort((a, b) => livePlace(a) - livePlace(b)),
    };
  };
}

/** While a run is active, sections that change come first. */
const liveOrder = ['compared', 'training', 'rollouts', 'stage-1', 'problems', 'before-after', 'examples', 'repeat'];
const livePlace = ({ id }: Drawable) => liveOrder.indexOf(id);

/** The sections of the first run's report, with the runs of the same command overlaid. */
function reportOf(all: readonly [Followed, ...Followed[]]): Drawable[] {
  const runs = all.flatMap(({ watched }) => watched.run ?? []);
  const command = all[0].watched.run?.command;
  if (command === 'sft')
    return drawables(
      sftSections,
      runs.flatMap((run) => (run.command === 'sft' ? [run.record] : [])),
    );
  if (command === undefined) return [];
  return drawables(
    sections,
    runs.flatMap((run) => (run.command === 'train' ? [run.record] : [])),
  );
}

function drawables<Run>(specs: readonly SectionSpec<Run>[], [first, ...others]: readonly Run[]): Drawable[] {
  if (first === undefined) return [];
  return specs.map(({ id, name, body, shows }) => ({
    id,
    name,
    shows: [first, ...others].flatMap(shows),
    body: () => body([first, ...others]),
  }));
}

/** The newest rollouts of the first run, unless all runs are finished. */
function newestOf(all: readonly [Followed, ...Followed[]], isOver: boolean): Drawable[] {
  const { run } = all[0].watched;
  if (run?.command !== 'train' || isOver) return [];
  const { record } = run;
  const body = () => rolloutsSection(record, all.length > 1);
  return [{ id: 'rollouts', name: 'Rollouts', shows: [record.rollouts.newest], body }];
}

/** Longer completions scroll within their box; the text itself is truncated only if it would slow the page down. */
const maxShown = 4000;

/** The newest rollouts of an active run: the completion, its reward, and the direction in which it moves the model. */
function rolloutsSection({ rollouts, name }: RunRecord, named: boolean): Html | undefined {
  const { newest, count } = rollouts;
  const last = newest.at(-1);
  if (last === undefined) return undefined;
  return section({
    id: 'rollouts',
    title: 'Newest rollouts',
    lead: `${named ? `${name}: the` : 'The'} last ${newest.length} of ${counted(count, 'rollout')}, the newest first. A rollout whose reward is above what the reference achieves on its problem becomes more likely, one below it less likely.`,
    body: html`<ul class="rollouts">${[...newest].reverse().map(card)}</ul>`,
  });
}

function card({ step, problem, completion, exact, finished, tokens, reward, advantage }: Rollout): Html {
  const outcome = exact ? '✓ exact' : finished ? '✗ not exact' : '✗ cut off';
  const direction =
    advantage > 0
      ? (['up', '▲', 'more likely'] as const)
      : advantage < 0
        ? (['down', '▼', 'less likely'] as const)
        : (['even', '◆', 'unchanged'] as const);
  const [kind, sign, effect] = direction;
  const share = Math.max(0, Math.min(1, reward));
  const text = completion.length <= maxShown ? completion : `${completion.slice(0, maxShown)}…`;
  return html`<li class="${kind}">
<p class="asked"><b>${problem.trim()}</b> <span>update ${step}</span></p>
<p class="completion"${scrolls(text) && html` tabindex="0"`}>${visible(text)}</p>
<p class="facts"><span class="${exact ? 'right' : 'wrong'}">${outcome}</span> <span class="reward" style="--reward:${Math.round(100 * share)}%">reward ${short(reward)}</span> <span class="effect">${sign} ${effect}</span> <span>advantage ${short(advantage).replace('-', '−')}</span> <span>${counted(tokens, 'token')}</span></p>
</li>`;
}

/** Whether a text may be higher than its box, which must then be reached by keyboard. */
function scrolls(text: string): boolean {
  return text.length > 250 || text.split('\n').length > 5;
}

export function setView(set: FollowedSet): View {
  const { state, members, record, path, name } = set;
  const isOver = state === 'finished';
  const shown = [...drawables(setSections(record.plan), [record]), ...(isOver ? [] : newestOfSet(members))];
  const first = members.find(({ watched }) => watched.run)?.watched.run?.record.stored;
  const { finished, planned } = record.summary;
  return {
    title: titleFor(state === 'running' ? `${finished} of ${planned}` : badges[state][1], name),
    announcement: `${badges[state][1]}. ${setHeadline(set)}.`,
    path,
    createdBy: first && creatorOf(first),
    opening: isOver ? setOpening(record, judgeSet(record.summary, record.plan)) : setViewOpening(set),
    sections: isOver ? shown : shown.sort((a, b) => setPlace(a) - setPlace(b)),
  };
}

/** While runs are active, sections that change come first. */
const setOrder = ['training', 'runs', 'coordinates', 'rollouts', 'problems', 'repeat'];
const setPlace = ({ id }: Drawable) => setOrder.indexOf(id);

/** Most runs in the list at the top; if there are more, only active and stopped ones are listed. */
const maxListed = 12;

function setViewOpening(set: FollowedSet) {
  const { state, members, record, damage } = set;
  const [sign, label] = badges[state];
  const isListed = ({ watched }: Followed) => !['waiting', 'finished'].includes(watched.state);
  const listed = members.length <= maxListed ? members : members.filter(isListed).slice(0, maxListed);
  const left = secondsLeft(set);
  return html`<section class="verdict live ${state}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${setHeadline(set)}${left !== undefined && html`<small>${leftText(left, undefined)}</small>`}</h1>
<p class="lead">${setSubject(record.plan)}</p>
${[...adviceOn(set), ...damage].map((note) => html`<p class="note">${note}</p>`)}
${setAccuracies(record.summary)}
</div>
<div><ul class="watched" aria-label="Runs">${listed.map((followed) => runItem(followed))}</ul>
${listed.length < members.length && html`<p class="note">${counted(members.length - listed.length, 'other run')}: in the table below.</p>`}</div>
</section>`;
}

function adviceOn({ state, path, record: { plan } }: FollowedSet): string[] {
  if (state === 'gone') return ['The page shows the last state.'];
  return state === 'stopped' ? [`Resume with \`tinyzero ${resumeCommand(plan)} ${shellWord(path)}\`.`] : [];
}

/**
 * Estimated from the time that finished runs took, if as many runs continue side by side. Undefined before the first run is
 * finished.
 */
function secondsLeft({ state, members }: FollowedSet): number | undefined {
  const spent = ({ watched: { run } }: Followed) => (run === undefined ? 0 : secondsOf(run.record.timings));
  const whole = members.filter(({ watched }) => watched.state === 'finished').map(spent);
  const running = members.filter(({ watched }) => watched.state === 'running');
  if (state !== 'running' || whole.length === 0 || running.length === 0) return undefined;
  const usual = mean(whole);
  const leftOf = (each: Followed) => {
    const { secondsLeft: own, leftOf: part } = each.progress;
    return own !== undefined && part === undefined ? own : Math.max(0, usual - spent(each));
  };
  const unfinished = members.filter(({ watched }) => watched.state !== 'finished');
  return unfinished.reduce((sum, each) => sum + leftOf(each), 0) / running.length;
}

/** The newest rollouts of the first active run. */
function newestOfSet(members: readonly Followed[]): Drawable[] {
  const { run } = members.find(({ watched }) => watched.state === 'running')?.watched ?? {};
  if (run?.command !== 'train') return [];
  const { record } = run;
  const body = () => rolloutsSection(record, true);
  return [{ id: 'rollouts', name: 'Rollouts', shows: [record.rollouts.newest], body }];
}

export function vStarView(found: FollowedFiles): View {
  const { files, samples } = found;
  const state = stateOf(files);
  const { done, total } = sums(files);
  const share = total === undefined ? '' : ` ${Math.floor((100 * done) / total)} %`;
  const name = files.length === 1 ? files[0].name : counted(files.length, 'file');
  return {
    title: titleFor(state === 'running' ? `Stage 1${share}` : badges[state][1], name),
    announcement: files.map((file) => `${files.length > 1 ? `${file.name}: ` : ''}${said(file)}`).join(' '),
    path: files.length === 1 ? files[0].path : counted(files.length, 'file'),
    createdBy: samples?.createdBy,
    opening: samplesOpening(found, state),
    sections: [
      { id: 'stage-1', name: 'Stage 1', shows: [samples, total], body: () => samples && samplesSection(found) },
    ],
  };
}

const tenths = 10;

/** Changes at each tenth. */
function said({ state, done, total }: FollowedFile): string {
  const tenth = total === undefined ? 0 : Math.floor((tenths * done) / total);
  return `${badges[state][1]}${state === 'running' && tenth > 0 ? `, ${tenth * tenths} % done` : ''}.`;
}

function sums(files: readonly FollowedFile[]): { readonly done: number; readonly total: number | undefined } {
  const done = files.reduce((sum, file) => sum + file.done, 0);
  const isKnown = files.every(({ total }) => total !== undefined);
  return { done, total: isKnown ? files.reduce((sum, file) => sum + file.total!, 0) : undefined };
}

function stateOf(files: readonly FollowedFile[]): FollowedFile['state'] {
  if (files.every(({ state }) => state === 'finished')) return 'finished';
  return files.some(({ state }) => state === 'running' || state === 'finished') ? 'running' : files[0]!.state;
}

function samplesSection({ files, samples }: FollowedFiles): Html {
  const { total } = sums(files);
  const ids = [...samples!.entries.keys()];
  const record = stage1Record(samples!, ids);
  if (total === undefined || record.done < total) return stage1Section({ ...record, total });
  return stage1Section({ ...record, preflight: preflightOf(samples!) });
}

function samplesOpening({ files, samples, damage }: FollowedFiles, state: FollowedFile['state']): Html {
  const [sign, label] = badges[state];
  const { done, total } = sums(files);
  const count = total === undefined ? `${counted(done, 'problem')} so far` : `${done} of ${counted(total, 'problem')}`;
  const left = sampleSecondsLeft(files);
  const [first] = files;
  return html`<section class="verdict live ${state}">
<div>
<p class="badge"><span aria-hidden="true">${sign}</span> ${label}</p>
<h1>${samples === undefined ? fileHeadline(first) : `Stage 1: ${count}`}${left !== undefined && html`<small>${leftText(left, undefined)}</small>`}</h1>
${samples && html`<p class="lead">${counted(samples.samples, 'sample')} of each problem from the reference.</p>`}
${state === 'waiting' && html`<p class="note">The page fills as soon as the file is written, as by \`tinyzero estimate-vstar --out ${shellWord(first.path)}\`.</p>`}
${damage.map((note) => html`<p class="note">${note}</p>`)}
</div>
<div><ul class="watched" aria-label="Files">${files.map(item)}</ul></div>
</section>`;
}

/** A file does not say whether a process is working on it, so a pause is only mentioned. */
function item(file: FollowedFile): Html {
  const { name, state, done, total, quietMs } = file;
  const [sign] = badges[state];
  const quiet =
    state === 'running' && quietMs >= quietWorthMs ? `, nothing written for ${formatSeconds(quietMs / 1000)}` : '';
  const bar =
    state === 'running' &&
    html`<progress aria-label="${name}"${total !== undefined && html` max="${total}" value="${done}"`}></progress>`;
  return html`<li><b>${name}</b> <span><span aria-hidden="true">${sign}</span> ${fileHeadline(file)}${quiet}</span>${bar}</li>`;
}

/** Until the last file is finished, if all are being written; undefined while unknown. */
function sampleSecondsLeft(files: readonly FollowedFile[]): number | undefined {
  const unfinished = files.filter(({ state }) => state !== 'finished');
  const left = unfinished.map(({ done, total, secondsEach, quietMs }) =>
    total === undefined || secondsEach === undefined ? undefined : (total - done) * secondsEach - quietMs / 1000,
  );
  if (left.length === 0 || left.includes(undefined)) return undefined;
  return Math.max(0, ...left.map((seconds) => seconds!));
}
