/**
 * @file The section about stage 1: the reference's samples and the verdict before training.
 */
import type { Preflight } from '../../stage1/preflight.js';
import { algorithms } from '../../stage2/algorithm.js';
import { counted, formatPercent as percent } from '../../util/format.js';
import { chart, figure, hits, Plot, section, short } from '../charts/chart.js';
import { type Html, html } from '../html.js';
import type { RunRecord, Stage1Record } from '../read.js';

export function preflightSection({ stage1, stored }: RunRecord): Html | undefined {
  if (stage1 === undefined) {
    const { title, hasStage1 } = algorithms[stored.options.algo];
    if (hasStage1) return undefined;
    return section({
      id: 'stage-1',
      title: 'Could training learn anything?',
      lead: `${title} has no stage 1, so nothing was measured on the training problems before training.`,
      body: html``,
    });
  }
  return stage1Section(stage1);
}

/** @param stage1 its `total` is undefined if it is unknown. */
export function stage1Section(stage1: Omit<Stage1Record, 'total'> & { readonly total: number | undefined }): Html {
  const { samplesPerProblem: n, done, total, preflight } = stage1;
  const title = 'Could training learn anything?';
  if (preflight === undefined) {
    const count =
      total === undefined ? counted(done, 'training problem') : `${done} of ${counted(total, 'training problem')}`;
    const lead = `Stage 1 has sampled ${count}, ${n} times each; the verdict needs all of them.`;
    return section({ id: 'stage-1', title, lead, body: done > 0 ? histogramFigure(stage1) : html`` });
  }
  return section({
    id: 'stage-1',
    title,
    lead: `Before training, stage 1 sampled each of ${counted(preflight.problems, 'distinct training problem')} ${n} times from the reference. Reinforcement learning moves probability between samples, so it needs problems with both correct and wrong samples.`,
    body: html`<div class="split">${histogramFigure(stage1)}<div>${verdict(preflight)}${figures(preflight)}</div></div>`,
  });
}

function histogramFigure({
  histogram: counts,
  samplesPerProblem: n,
  done: problems,
}: Omit<Stage1Record, 'total'>): Html {
  const kind = (k: number): keyof typeof fills => (k === 0 ? 'none correct' : k === n ? 'all correct' : 'some correct');
  const data = counts.map((count, k) => ({
    k,
    count,
    kind: kind(k),
    text: `${k} of ${n} samples correct\n${counted(count, 'problem')} (${percent(count / problems)})`,
  }));
  const few = n <= 16;
  const svg = chart({
    description: `Problems by correct samples of ${n}: ${counts.map((count, k) => `${k}: ${count}`).join(', ')}`,
    height: 230,
    marginTop: 20,
    x: {
      label: `correct samples of ${n}`,
      type: 'band',
      domain: data.map(({ k }) => k),
      padding: few ? 0.12 : 0,
      ...(!few && { ticks: data.map(({ k }) => k).filter((k) => k % Math.ceil(n / 8) === 0) }),
    },
    y: { label: null, grid: true, ticks: 4, tickFormat: 'd', nice: true },
    marks: [
      Plot.barY(data, { x: 'k', y: 'count', fill: ({ kind }: (typeof data)[number]) => fills[kind] }),
      ...(few
        ? [
            Plot.text(
              data.filter(({ count }) => count > 0),
              { x: 'k', y: 'count', text: ({ count }) => `${count}`, dy: -7 },
            ),
          ]
        : []),
      Plot.ruleY([0], { stroke: 'var(--rule)' }),
      Plot.barY(data, { x: 'k', y1: 0, y2: Math.max(...counts), title: 'text', ...hits }),
    ],
    color: { type: 'identity' },
  });
  return figure({
    title: 'Correct samples per problem',
    unit: 'problems by number of correct samples',
    chart: svg,
    note: html`<span class="swatch" style="background:var(--none)"></span>none correct, <span class="swatch" style="background:var(--accent)"></span>some correct (these teach most), <span class="swatch" style="background:var(--muted)"></span>all correct`,
  });
}

const fills = {
  'none correct': 'var(--none)',
  'some correct': 'var(--accent)',
  'all correct': 'var(--muted)',
} as const;

const words = { go: 'Go', warn: 'Go, with a warning', stop: 'Stop' } as const;

function verdict({ verdict, advice }: Preflight): Html {
  const shown =
    advice.length > 0
      ? advice
      : ['Enough problems have both correct and wrong samples, and few answers are cut off or unreadable.'];
  return html`<p class="said"><strong>${words[verdict]}.</strong> ${shown.join(' ')}</p>`;
}

const ifKnown = (value: number | null, text: (value: number) => string) => (value === null ? 'unknown' : text(value));

function figures(preflight: Preflight): Html {
  const { samplesPerProblem: n, passAt1, ceiling, allWrong, mixed, allRight } = preflight;
  const { truncatedRate, parseFailRate, meanTokens, meanAbsAdvantage, signalShare, trainable, problems } = preflight;
  const rows: [string, string][] = [
    ['One sample correct (pass@1)', percent(passAt1)],
    [`Ceiling: one of ${n} correct (pass@${n})`, percent(ceiling)],
    ['Problems with none, some, all correct', `${percent(allWrong)}, ${percent(mixed)}, ${percent(allRight)}`],
    ['Problems to train on', `${trainable} of ${problems}`],
    ['Mean |advantage|, for rewards from 0 to 1', short(meanAbsAdvantage)],
    ['Rollouts of the first updates that carry a signal', percent(signalShare)],
    ['Cut off; no readable answer', `${ifKnown(truncatedRate, percent)}; ${ifKnown(parseFailRate, percent)}`],
    ['Length, mean', ifKnown(meanTokens, (tokens) => `${short(tokens)} tokens`)],
  ];
  return html`<table class="numbers"><tbody>${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`)}</tbody></table>
<p class="note">The ceiling is the most that sharpening alone can reach on these problems; learning that generalises can exceed it.</p>`;
}
