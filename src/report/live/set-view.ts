/**
 * @file The live page of a set of runs: the progress of each, their overlaid curves, and the summary so far. Its sections are those
 * of the set's report.
 */
import { resumeCommand } from '../../run/many/plan.js';
import { counted } from '../../util/format.js';
import { mean } from '../../util/statistics.js';
import { shellWord } from '../command.js';
import { html } from '../html.js';
import { setAccuracies, setOpening, setSections, setSubject } from '../many/page.js';
import { judgeSet } from '../many/verdict.js';
import { creatorOf } from '../page.js';
import { secondsOf } from '../sections/facts.js';
import type { Followed } from './followed.js';
import { badges, leftText, runItem, titleFor } from './opening.js';
import type { Drawable, View } from './page.js';
import { drawables, rolloutsSection } from './runs-view.js';
import { type FollowedSet, setHeadline } from './set.js';

export function setView(set: FollowedSet): View {
  const { state, members, record, path, name } = set;
  const isOver = state === 'finished';
  const shown = [...drawables(setSections(record.plan), [record]), ...(isOver ? [] : newestOf(members))];
  const first = members.find(({ watched }) => watched.run)?.watched.run?.record.stored;
  const { finished, planned } = record.summary;
  return {
    title: titleFor(state === 'running' ? `${finished} of ${planned}` : badges[state][1], name),
    announcement: `${badges[state][1]}. ${setHeadline(set)}.`,
    path,
    createdBy: first && creatorOf(first),
    opening: isOver ? setOpening(record, judgeSet(record.summary, record.plan)) : opening(set),
    sections: isOver ? shown : shown.sort((a, b) => livePlace(a) - livePlace(b)),
  };
}

/** While runs are active, sections that change come first. */
const liveOrder = ['training', 'runs', 'coordinates', 'rollouts', 'problems', 'repeat'];
const livePlace = ({ id }: Drawable) => liveOrder.indexOf(id);

/** Most runs in the list at the top; if there are more, only active and stopped ones are listed. */
const maxListed = 12;

function opening(set: FollowedSet) {
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
  if (state === 'gone') return ['The page shows what was there last.'];
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
function newestOf(members: readonly Followed[]): Drawable[] {
  const { run } = members.find(({ watched }) => watched.state === 'running')?.watched ?? {};
  if (run?.command !== 'train') return [];
  const { record } = run;
  const body = () => rolloutsSection(record, true);
  return [{ id: 'rollouts', name: 'Rollouts', shows: [record.rollouts.newest], body }];
}
