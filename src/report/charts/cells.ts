/**
 * @file What each problem's accuracy was before and after, from whichever of a run's samples can tell: held-out problems from
 * the two evaluations, training problems from stage 1 and from the rollouts of the last epoch.
 */
import type { EvalSummary } from '../../policy/eval-summary.js';
import type { RunRecord, Tally } from '../read.js';

export interface ProblemCell {
  readonly id: string;
  readonly value: unknown;
  readonly heldOut: boolean;
  readonly before?: Tally;
  readonly after?: Tally;
}

/** Training problems first, each problem once; one on both sides of a leaking split counts as held out here. */
export function problemCells({ problems, before, after, stage1, rollouts }: RunRecord): ProblemCell[] {
  const test = new Set(problems.test.map(({ id }) => id));
  const [first, last] = [talliesOf(before), talliesOf(after)];
  const training = problems.train
    .filter(({ id }) => !test.has(id))
    .map(({ id, value }) => {
      const exact = stage1?.entries.get(id)?.exact ?? [];
      const sampled = exact.length > 0 && { right: exact.filter(Boolean).length, total: exact.length };
      return cell({ id, value, heldOut: false }, sampled || undefined, rollouts.lastEpoch?.tally.get(id));
    });
  const held = problems.test.map(({ id, value }) => cell({ id, value, heldOut: true }, first.get(id), last.get(id)));
  return [...training, ...held];
}

function cell(
  problem: Omit<ProblemCell, 'before' | 'after'>,
  before: Tally | undefined,
  after: Tally | undefined,
): ProblemCell {
  return { ...problem, ...(before && { before }), ...(after && { after }) };
}

/** By problem id: sampled answers, or the greedy one where nothing was sampled. */
function talliesOf(summary: EvalSummary | undefined): Map<string, Tally> {
  const tally = ({ greedy, sampled }: EvalSummary['perProblem'][number]): Tally =>
    sampled === undefined
      ? { right: Number(greedy.exact), total: 1 }
      : { right: sampled.exact, total: summary!.sampled!.samplesPerProblem };
  return new Map(summary?.perProblem.map((problem) => [problem.id, tally(problem)]));
}

export const rateOf = ({ right, total }: Tally) => right / total;

/** Accuracy after minus before; undefined where one of them is not known. */
export function changeOf({ before, after }: ProblemCell): number | undefined {
  return before && after && rateOf(after) - rateOf(before);
}
