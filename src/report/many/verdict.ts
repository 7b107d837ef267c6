/**
 * @file The verdict on a set of runs, in sentences that claim no more than the data shows; for the terminal and the report.
 */
import { outcomeOf, significance, type TrainingOutcome } from '../../policy/eval-compare.js';
import type { SeedsComparison, SeedsMeasure, Spread } from '../../policy/eval-seeds.js';
import type { RunPlan } from '../../run/many/plan.js';
import type { RankedSetting, SetSummary } from '../../run/many/summary.js';
import {
  counted,
  describePointsInterval,
  describePValue,
  formatPoints,
  formatPercent as percent,
} from '../../util/format.js';
import { placeboWords, words } from '../verdict.js';

export interface SetVerdict {
  readonly kind: TrainingOutcome | 'memory' | 'placebo' | 'leak' | 'unfinished' | 'ranked';
  readonly label: string;
  readonly sentence: string;
  /** Notes needed to interpret the sentence, most important first. */
  readonly notes: readonly string[];
}

export function judgeSet(summary: SetSummary, plan: RunPlan): SetVerdict {
  const { kind, finished, planned } = summary;
  const rest = finished < planned ? [`${finished} of ${planned} runs are finished; the others do not count yet.`] : [];
  if (finished === 0) {
    return { kind: 'unfinished', label: 'Unfinished', sentence: 'No run of this set is finished.', notes: [] };
  }
  const verdict = kind === 'sweep' ? judgeSweep(summary, plan) : judgeSeeds(summary, plan);
  return { ...verdict, notes: [...rest, ...verdict.notes] };
}

function judgeSeeds({ overSeeds, losses, finished }: SetSummary, plan: RunPlan): SetVerdict {
  if (overSeeds === undefined) return judgeLosses(losses, finished);
  const { greedy, sampled } = overSeeds;
  const main = sampled ?? greedy;
  const name = sampled === undefined ? 'greedy' : 'sampled';
  const isMemory = plan.runs[0]?.flags.overlap === 'seed';
  const tested = ({ gain, pValue }: SeedsMeasure) => ({ difference: gain.mean, pValue });
  const outcome = outcomeOf({ greedy: tested(greedy), ...(sampled && { sampled: tested(sampled) }) });
  const control = plan.runs[0]?.flags.control;
  const isControl = control !== undefined && control !== 'none';
  const { kind, label, opening, ...more } = isMemory
    ? { kind: 'memory' as const, label: 'Memory only', opening: 'This shows memorisation, not learning' }
    : isControl
      ? placeboWords(outcome, overSeeds.runs)
      : { kind: outcome, ...words[outcome] };
  return {
    kind,
    label,
    sentence: `${opening}, over ${counted(overSeeds.runs, 'seed')}: held-out ${name} accuracy ${gainText(main)} (${describePValue(main)} over ${problemsText(overSeeds, main)}).`,
    notes: [
      ...(isMemory ? ['The test problems were drawn from the training problems (--overlap seed).'] : []),
      ...('notes' in more ? more.notes : []),
      `Between seeds: ${spreadText(main)}.`,
      ...(sampled === undefined ? [] : [`Greedy accuracy ${gainText(greedy)}; between seeds: ${spreadText(greedy)}.`]),
      testNote(overSeeds, main),
    ],
  };
}

function judgeLosses(losses: SetSummary['losses'], finished: number): SetVerdict {
  if (losses === undefined) {
    const sentence = `${counted(finished, 'run')} finished. No lines were held out, so the gain was not measured.`;
    return { kind: 'unproven', label: 'Trained, nothing held out', sentence, notes: [] };
  }
  const { before, after, change, fell } = losses;
  const isDown = change.mean < 0;
  return {
    kind: isDown ? 'learned' : 'worse',
    label: isDown ? 'The held-out loss fell' : 'The held-out loss did not fall',
    sentence: `Over ${counted(finished, 'seed')}, the held-out loss went from ${before.mean.toFixed(3)} to ${after.mean.toFixed(3)} nats per token on average; it fell in ${fell} of ${finished} runs.`,
    notes: [
      `Between seeds: the loss after training is ${range(after, (value) => value.toFixed(3))}.`,
      'Each seed holds out different lines of the same file, so training and held-out lines overlap between runs; no test treats the runs as independent.',
    ],
  };
}

/** `39.2 % → 90.9 %, +51.6 points on average`. */
function gainText({ before, after, gain }: SeedsMeasure): string {
  return `${percent(before.mean)} → ${percent(after.mean)}, ${formatPoints(gain.mean)} on average`;
}

function spreadText({ gain, gained, lost }: SeedsMeasure): string {
  const runs = gained === 0 && lost === 0 ? 'no run gained or lost' : `${counted(gained, 'run')} gained, ${lost} lost`;
  return `gains ${range(gain, (value) => formatPoints(value).replace(' points', ''))} points; ${runs}`;
}

/** `from 50.3 to 53.2 with a standard deviation of 1.1`. */
function range({ min, max, sd }: Spread, show: (value: number) => string): string {
  if (sd === null) return show(min);
  return `from ${show(min)} to ${show(max)} with a standard deviation of ${show(sd).replace('+', '')}`;
}

function problemsText({ clusters, problems }: SeedsComparison, { clusters: telling }: SeedsMeasure): string {
  const units = clusters === problems ? counted(telling, 'problem') : counted(telling, 'cluster');
  return `${units} of held-out problems`.replace('problems of held-out problems', 'held-out problems');
}

/** What the test treats as independent, and what it does not. */
function testNote({ runs, problems, clusters, sameProblems }: SeedsComparison, measure: SeedsMeasure): string {
  const units = clusters === problems ? `the ${problems} problems` : `the ${clusters} clusters of related problems`;
  const smallest = 2 / 2 ** clusters;
  const limit =
    smallest >= significance
      ? ` With ${clusters} of them, no gain could reach p < ${significance}: evaluate on more (--num-test).`
      : '';
  const shared = sameProblems
    ? `All runs are measured on the same ${counted(problems, 'problem')}, so more seeds show how much runs differ, but add no evidence about problems.`
    : `The runs hold out different problems, ${problems} in total; a problem counts once, however many runs held it out.`;
  return (
    `p is that of a sign-flip test over ${units}, of the gain averaged over the ${counted(runs, 'seed')} ` +
    `(${describePointsInterval(measure.ci95)}, a bootstrap over the same). ${shared}${limit}`
  );
}

const measureNames = {
  'train-reward': 'mean training reward',
  'train-exact': 'share of exact training answers',
  'held-out': 'held-out result',
} as const;

/** What ranks a sweep, in words. */
export function rankingName({ command, rankBy = 'train-reward' }: Pick<SetSummary, 'command' | 'rankBy'>): string {
  if (command === 'sft' && rankBy === 'train-reward') return 'training loss';
  return measureNames[rankBy];
}

/** Options that change what a training reward measures. Rewards under different values are not comparable. */
const changesReward = new Set([
  'preset',
  'task',
  'problems',
  'min',
  'max',
  'overlap',
  'reward',
  'temperature',
  'trainOn',
  'curriculum',
  'heldOut',
  'data',
]);

function judgeSweep(summary: SetSummary, { swept }: RunPlan): SetVerdict {
  const { ranking = [], rankBy, command, finished, planned } = summary;
  const scored = ranking.filter(({ score }) => score !== null);
  const [best] = scored;
  const equals = scored.filter(({ score }) => score!.mean === best?.score?.mean).length - 1;
  const second = scored[equals + 1];
  const name = rankingName(summary);
  if (best?.score == null) {
    return { kind: 'unfinished', label: 'Unfinished', sentence: 'No setting has a figure to rank it by.', notes: [] };
  }
  const odd = swept.filter((option) => changesReward.has(option));
  const isHeldOut = rankBy === 'held-out';
  return {
    kind: 'ranked',
    label: `${finished} of ${planned} runs`,
    sentence: `Best by ${name}${equals > 0 ? `, with ${counted(equals, 'other')} that did as well` : ''}: ${describeSetting(best)} (${best.score.mean.toFixed(3)}).`,
    notes: [
      isHeldOut
        ? `Settings are ranked by their held-out result. That is selection: the best of ${ranking.length} is partly the luckiest, so its held-out figure is too optimistic. Measure it again on problems that no setting was compared on.`
        : `Settings are ranked by their ${name} over the last quarter of the updates; nothing was chosen by held-out results. Choosing a row by its held-out figure would be selection, and that figure would be too optimistic.`,
      ...(second?.score == null ? [] : [closeness(best, second)]),
      ...(odd.length > 0 && !isHeldOut
        ? [
            `${odd.join(', ')} ${odd.length === 1 ? 'changes' : 'change'} what ${command === 'sft' ? 'the training loss' : 'a training reward'} measures, so rows that differ in ${odd.length === 1 ? 'it' : 'them'} cannot be compared by it.`,
          ]
        : []),
    ],
  };
}

function closeness(best: RankedSetting, second: RankedSetting): string {
  const gap = Math.abs(best.score!.mean - second.score!.mean);
  const spread = best.score!.sd;
  const start = `The next, ${describeSetting(second)}, is ${gap.toFixed(3)} away`;
  if (spread === null)
    return `${start}; with one seed for each setting, how much of that is chance is unknown (seeds = "1..3" in the file).`;
  return `${start}; the standard deviation between seeds of the best is ${spread.toFixed(3)}.`;
}

/** `trial-2: lr 1e-4, beta2 0.001`. */
export function describeSetting({ name, values }: RankedSetting): string {
  const given = Object.entries(values).map(([option, value]) => `${option} ${value}`);
  return `${name}: ${given.join(', ')}`;
}
