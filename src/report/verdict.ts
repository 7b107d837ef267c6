/**
 * @file What a run shows, in one sentence that claims no more than its tests do: learned, not proven, worse, memory only, or
 * not finished. Knows nothing of HTML.
 */
import { type Comparison, compareEvaluations } from '../policy/eval-compare.js';
import type { EvalSummary } from '../policy/eval-summary.js';
import { counted, formatPValue, formatPercent as percent, formatInterval as range } from '../util/format.js';
import type { RunRecord } from './read.js';

type VerdictKind = 'learned' | 'unproven' | 'worse' | 'memory' | 'unfinished' | 'stopped';

export interface Verdict {
  readonly kind: VerdictKind;
  /** Two or three words. */
  readonly label: string;
  readonly sentence: string;
  /** What must be known to read the sentence right, most important first; whole sentences. */
  readonly notes: readonly string[];
}

/** A p-value below this counts as evidence: the usual level, said beside every use. */
const significance = 0.05;

/** @throws UserError when the two evaluations of the run are not of the same problems. */
export function judge(run: RunRecord): Verdict {
  const { before, after } = run;
  if (before === undefined || after === undefined) return judgeUnfinished(run);
  const compare = compareEvaluations(after, before);
  const measured =
    compare.sampled !== undefined ? sampledMeasure(before, after, compare) : greedyMeasure(before, after, compare);
  const { text, difference, pValue, notes } = measured;
  if (run.stored.options.overlap === 'seed') {
    const shared = trainedOn(run);
    return {
      kind: 'memory',
      label: 'Memory only',
      sentence: `This shows memory, not learning: accuracy ${text(`${before.problems} problems, ${shared === before.problems ? 'all' : shared} of them also training problems`)}.`,
      notes: [
        'The test problems were drawn from the training problems (--overlap seed); a run without that option tests on unseen ones.',
        ...notes,
      ],
    };
  }
  const unseen = `held-out accuracy ${text(`${before.problems} unseen problems`)}`;
  const clear = pValue < significance;
  if (clear && difference > 0) return { kind: 'learned', label: 'Learned', sentence: `It learned: ${unseen}.`, notes };
  if (clear) return { kind: 'worse', label: 'Got worse', sentence: `It got worse: ${unseen}.`, notes };
  return {
    kind: 'unproven',
    label: 'Not proven',
    sentence: `No learning is proven: ${unseen}.`,
    notes: [
      `Chance alone makes a difference of this size or more with probability p; below ${significance} it would count as evidence.`,
      ...notes,
    ],
  };
}

/** A measured change: `38.8 % → 72.4 % over {problems} (95 % interval …)`, and what it rests on. */
interface Measure {
  readonly text: (problems: string) => string;
  readonly difference: number;
  readonly pValue: number;
  readonly notes: readonly string[];
}

function sampledMeasure(before: EvalSummary, after: EvalSummary, { sampled }: Comparison): Measure {
  const { exact, samplesPerProblem, temperature } = after.sampled!;
  const { difference, pValue } = sampled!;
  return {
    text: (problems) =>
      `${percent(before.sampled!.exact.rate)} → ${percent(exact.rate)} over ${problems} ` +
      `(95 % interval ${range(exact.ci95)}, p = ${formatPValue(pValue)})`,
    difference,
    pValue,
    notes: [
      `Accuracy is the share of exact answers among ${samplesPerProblem} samples of each problem at temperature ${temperature}. ` +
        `The interval is that of the accuracy after training, a bootstrap over ${groups(after)}; p is that of ` +
        'a sign-flip test over the same groups.',
      ...tooFew(after.clusters),
    ],
  };
}

function greedyMeasure(before: EvalSummary, after: EvalSummary, { greedy }: Comparison): Measure {
  const { exact } = after.greedy;
  return {
    text: (problems) =>
      `${percent(before.greedy.exact.rate)} → ${percent(exact.rate)} over ${problems} ` +
      `(greedy answers only, 95 % interval ${range(exact.ci95)}, p = ${formatPValue(greedy.pValue)})`,
    difference: greedy.difference,
    pValue: greedy.pValue,
    notes: [
      `Accuracy is the share of exact greedy answers, one a problem, since nothing was sampled (--eval-samples 0). The interval is ` +
        "Wilson's for the accuracy after training; p is that of McNemar's exact test, which takes problems for independent.",
      ...tooFew(after.problems),
    ],
  };
}

/** What stands or falls together. */
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

function judgeUnfinished({ path, stored, before, stage1, steps }: RunRecord): Verdict {
  const last = steps.at(-1);
  if (last === undefined && stage1?.preflight?.verdict === 'stop' && !stored.options.force) {
    return {
      kind: 'stopped',
      label: 'Stopped',
      sentence: 'Nothing was trained: stage 1 found that there is nothing to learn from here.',
      notes: stage1.preflight.advice,
    };
  }
  const where =
    last !== undefined
      ? `it stopped or still runs after update ${last.step} (epoch ${last.epoch + 1})`
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
            `The last look at the held-out problems, after update ${look.step}, saw ${percent(look.heldOutGreedy!)} of the greedy answers right; the measurement that counts comes at the end.`,
          ]),
      `Continue it with \`tinyzero train --resume ${path}\`.`,
    ],
  };
}

/** Test problems that are trained on, themselves or their mirrors. */
function trainedOn({ problems }: RunRecord): number {
  const trained = new Set(problems.train.map(({ cluster }) => cluster));
  return problems.test.filter(({ cluster }) => trained.has(cluster)).length;
}
