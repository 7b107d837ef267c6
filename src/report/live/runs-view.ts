/** @file The live page of runs: the report of the first one with the others overlaid, and its newest rollouts. */
import { counted } from '../../util/format.js';
import { section, short } from '../charts/chart.js';
import type { SectionSpec } from '../document.js';
import { remembered } from '../follow.js';
import { type Html, html } from '../html.js';
import type { Rollout } from '../log-records.js';
import { creatorOf, sections } from '../page.js';
import type { RunRecord } from '../read.js';
import { accuracyFigure } from '../sections/evaluations.js';
import { visible } from '../sections/examples.js';
import { sftSections } from '../sft-page.js';
import type { Followed } from './followed.js';
import { announcement, liveOpening, pathsOf, titleOf } from './opening.js';
import type { Drawable, View } from './page.js';

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

export function drawables<Run>(specs: readonly SectionSpec<Run>[], [first, ...others]: readonly Run[]): Drawable[] {
  if (first === undefined) return [];
  return specs.map(({ id, name, body, shows }) => ({
    id,
    name,
    shows: [first, ...others].flatMap(shows),
    body: () => body([first, ...others]),
  }));
}

/** The newest rollouts of the first run, unless all is over. */
function newestOf(all: readonly [Followed, ...Followed[]], isOver: boolean): Drawable[] {
  const { run } = all[0].watched;
  if (run?.command !== 'train' || isOver) return [];
  const { record } = run;
  const body = () => rolloutsSection(record, all.length > 1);
  return [{ id: 'rollouts', name: 'Rollouts', shows: [record.rollouts.newest], body }];
}

/** Longer completions scroll within their box; the text itself is cut only where it would slow the page down. */
const maxShown = 4000;

/** The newest rollouts of a run under way: what the model wrote, its reward, and which way that moves the model. */
export function rolloutsSection({ rollouts, name }: RunRecord, named: boolean): Html | undefined {
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
