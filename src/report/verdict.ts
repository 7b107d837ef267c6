/**
 * @file The verdict on a run in one sentence that claims no more than its tests show: learned, learned a little, mixed, not
 * proven, no change, worse, memory only, or not finished. Considers greedy and sampled accuracy.
 */
import {
  type Comparison,
  compareEvaluations,
  outcomeOf,
  significance,
  type TrainingOutcome,
} from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { counted, describeInterval, describePValue, formatPercent as percent } from '../util/format.js';
import type { RunRecord } from './read.js';

type VerdictKind = TrainingOutcome | 'memory' | 'placebo' | 'leak' | 'unfinished' | 'stopped';

export interface Verdict {
  readonly kind: VerdictKind;
  /** Two or three words. */
  readonly label: string;
  readonly sentence: string;
  /** Notes needed to interpret the sentence, most important first, in full sentences. */
  readonly notes: readonly string[];
}

/** The label, and the start of the sentence. */
export const words: Readonly<Record<TrainingOutcome, { readonly label: string; readonly opening: string }>> = {
  learned: { label: 'Learned', opening: 'It learned' },
  small: { label: 'Learned a little', opening: 'It learned a little' },
  mixed: { label: 'Mixed', opening: 'The result is mixed' },
  unproven: { label: 'Not proven', opening: 'No learning is proven' },
  none: { label: 'No change', opening: 'Nothing changed' },
  worse: { label: 'Got worse', opening: 'It got worse' },
};

/** The same for a placebo (`--control`), of one run or of several with different seeds. */
export function placeboWords(
  outcome: TrainingOutcome,
  runs: number,
): {
  readonly kind: 'placebo' | 'leak';
  readonly label: string;
  readonly opening: string;
  readonly notes: readonly string[];
} {
  const what =
    'Every rollout got the reward of another (--control shuffled-reward), so nothing could be learned from rewards. ' +
    'Compare the gain of the same run without that option; a loss is the harm of training on noise.';
  if (outcome !== 'learned' && outcome !== 'small') {
    const opening = 'The placebo shows no gain, as it must';
    return { kind: 'placebo', label: 'Placebo: no gain', opening, notes: [what] };
  }
  const label = 'Placebo: a gain';
  if (runs > 1) return { kind: 'leak', label, opening: 'Something is wrong: the placebo shows a gain', notes: [what] };
  const drift =
    'Training on noise moves the policy at random, and all problems with it, which p over problems does not cover: only the mean over ' +
    'several seeds (--seeds 1..5) must show no gain.';
  return { kind: 'leak', label, opening: 'The placebo shows a gain', notes: [drift, what] };
}

/** What the verdict depends on. */
export interface JudgedRun extends Pick<RunRecord, 'path' | 'before' | 'after' | 'stage1' | 'steps'> {
  readonly stored: { readonly options: Pick<RunRecord['stored']['options'], 'overlap' | 'control' | 'force'> };
  readonly problems: Readonly<Record<'train' | 'test', readonly { readonly cluster: string }[]>>;
}

/** @throws UserError when the two evaluations of the run are not of the same problems. */
export function judge(run: JudgedRun): Verdict {
  const { before, after } = run;
  if (before === undefined || after === undefined) return judgeUnfinished(run);
  const compare = compareEvaluations(after, before);
  const { rates, evidence, notes } =
    compare.sampled !== undefined ? sampledMeasure(before, after, compare) : greedyMeasure(before, after, compare);
  if (run.stored.options.overlap === 'seed') {
    const shared = trainedOn(run);
    const problems = `${before.problems} problems, ${shared === before.problems ? 'all' : shared} of them also training problems`;
    return {
      kind: 'memory',
      label: 'Memory only',
      sentence: `This shows memorisation, not learning: accuracy ${rates} over ${problems} (${evidence}).`,
      notes: [
        'The test problems were drawn from the training problems (--overlap seed); a run without that option tests on unseen ones.',
        ...notes,
      ],
    };
  }
  const kind = outcomeOf(compare);
  const { label, opening } = words[kind];
  const over = `over ${counted(before.problems, 'unseen problem')}`;
  if (run.stored.options.control !== 'none') {
    const placebo = placeboWords(kind, 1);
    return {
      kind: placebo.kind,
      label: placebo.label,
      sentence: `${placebo.opening}: held-out accuracy ${rates} ${over} (${evidence}).`,
      notes: [...placebo.notes, ...notes],
    };
  }
  if (kind === 'mixed') {
    const accuracies = `held-out accuracy sampled ${rates}, greedy ${greedyRates(before, after)}`;
    const sentence = `${opening}: ${accuracies}, ${over} (sampled ${evidence}; greedy ${describePValue(compare.greedy)}).`;
    return { kind, label, sentence, notes };
  }
  const unclear = `p is the probability of a difference at least this large by chance alone; below ${significance} it would count as evidence.`;
  return {
    kind,
    label,
    sentence: `${opening}: held-out accuracy ${rates} ${over} (${evidence}).`,
    notes: [
      ...(kind === 'unproven' || kind === 'none' ? [unclear] : []),
      ...(compare.sampled !== undefined && compare.greedy.difference !== 0 ? [greedyNote(before, after, compare)] : []),
      ...notes,
    ],
  };
}

const greedyRates = (before: EvalSummary, after: EvalSummary) =>
  `${percent(before.greedy.exact.rate)} → ${percent(after.greedy.exact.rate)}`;

/** A note on the greedy answers, if the sentence is about samples. */
function greedyNote(before: EvalSummary, after: EvalSummary, { greedy }: Comparison): string {
  const { gained, lost } = greedy;
  return (
    `Greedy accuracy: ${greedyRates(before, after)}, ` +
    `${counted(gained, 'problem')} gained, ${lost} lost, ${describePValue(greedy)} by McNemar's exact test.`
  );
}

/** A measured change and its evidence. */
interface Measure {
  /** `38.8 % → 72.4 %`. */
  readonly rates: string;
  /** `95 % interval …, p = …`. */
  readonly evidence: string;
  readonly notes: readonly string[];
}

function sampledMeasure(before: EvalSummary, after: EvalSummary, { sampled }: Comparison): Measure {
  const { exact, samplesPerProblem, temperature } = after.sampled!;
  return {
    rates: `${percent(before.sampled!.exact.rate)} → ${percent(exact.rate)}`,
    evidence: `${describeInterval(exact.ci95)}, ${describePValue(sampled!)}`,
    notes: [
      `Accuracy is the share of exact answers among ${samplesPerProblem} samples of each problem at temperature ${temperature}. ` +
        `The interval is for the accuracy after training, by a bootstrap over ${groups(after)}; p is from ` +
        'a sign-flip test over the same groups.',
      ...tooFew(after.clusters),
    ],
  };
}

function greedyMeasure(before: EvalSummary, after: EvalSummary, { greedy }: Comparison): Measure {
  const { exact } = after.greedy;
  return {
    rates: greedyRates(before, after),
    evidence: `greedy answers only, ${describeInterval(exact.ci95)}, ${describePValue(greedy)}`,
    notes: [
      `Accuracy is the share of exact greedy answers, one per problem, since nothing was sampled (--eval-samples 0). The interval is ` +
        "Wilson's for the accuracy after training; p is that of McNemar's exact test, which treats problems as independent.",
      ...tooFew(after.problems),
    ],
  };
}

/** The independent units of an evaluation, in words. */
export function groups({ clusters, problems }: EvalSummary): string {
  return clusters === problems
    ? `the ${counted(problems, 'problem')}`
    : `${counted(clusters, 'cluster')} of related problems`;
}

/** The smallest p-value that n independent units can give is 2 / 2^n. */
function tooFew(units: number): string[] {
  const smallest = 2 / 2 ** units;
  if (smallest < significance) return [];
  return [
    `With ${counted(units, 'independent group')} of problems no change, however clear, could reach p < ${significance}: ` +
      'evaluate on more (--num-test).',
  ];
}

function judgeUnfinished({ path, stored, before, stage1, steps }: JudgedRun): Verdict {
  const last = steps.at(-1);
  if (last === undefined && stage1?.preflight?.verdict === 'stop' && !stored.options.force) {
    return {
      kind: 'stopped',
      label: 'Stopped',
      sentence: 'Nothing was trained: stage 1 found nothing to learn from.',
      notes: stage1.preflight.advice,
    };
  }
  const where =
    last !== undefined
      ? `it stopped, or is still running, after update ${last.step} (epoch ${last.epoch + 1})`
      : stage1 !== undefined
        ? `stage 1 has sampled ${stage1.done} of ${stage1.total} problems, and training has not begun`
        : before !== undefined
          ? 'the model was evaluated, and training has not begun'
          : 'nothing has been measured yet';
  const first = before?.sampled?.exact.rate ?? before?.greedy.exact.rate;
  const look = steps.findLast(({ heldOutGreedy }) => heldOutGreedy !== undefined);
  return {
    kind: 'unfinished',
    label: 'Unfinished',
    sentence: `This run is not finished: ${where}.`,
    notes: [
      ...(first === undefined
        ? []
        : [`Held-out accuracy before training was ${percent(first)}${before!.sampled ? '' : ' (greedy)'}.`]),
      ...(look === undefined
        ? []
        : [
            `After update ${look.step}, ${percent(look.heldOutGreedy!)} of the greedy answers to the held-out problems were correct; the decisive evaluation comes at the end.`,
          ]),
      `Resume it with \`tinyzero train --resume ${path}\`.`,
    ],
  };
}

/** Number of test problems that are also trained on, directly or as mirrors. */
function trainedOn({ problems }: JudgedRun): number {
  const trained = new Set(problems.train.map(({ cluster }) => cluster));
  return problems.test.filter(({ cluster }) => trained.has(cluster)).length;
}
