/** @file The newest rollouts of a run under way: what the model wrote, its reward, and which way that moves the model. */
import { counted } from '../../util/format.js';
import { section, short } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { Rollout } from '../log-records.js';
import type { RunRecord } from '../read.js';
import { visible } from '../sections/examples.js';

/** Longer completions scroll within their box; the text itself is cut only where it would slow the page down. */
const maxShown = 4000;

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
