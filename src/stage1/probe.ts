/**
 * @file A look at what the reference does with a few training problems before stage 1 samples them all: it chooses between
 * wordings, and gives the verdict completions to show. Never sees a held-out problem.
 */
import type { Problem } from '../data/problem.js';
import { type GradedRollout, type RolloutKit, rollOut, rollOutGreedy } from '../policy/rollout.js';
import { parseLastInteger } from '../reward/answer.js';
import { mean } from '../util/statistics.js';

/** What a probe saw; kept in the run. */
export interface Probe {
  readonly problems: number;
  readonly samplesPerProblem: number;
  /** Shares of exact completions. */
  readonly greedyExact: number;
  readonly sampledExact: number;
  /** Share of samples whose last integer is that of the solution, read or not, cut off or not; null where there is none. */
  readonly lastNumberRight: number | null;
  readonly truncatedRate: number;
  readonly parseFailRate: number;
  readonly meanTokens: number;
  /** The first samples of the first problems. */
  readonly examples: readonly ProbeExample[];
}

interface ProbeExample {
  readonly problem: string;
  readonly completion: string;
  readonly exact: boolean;
  readonly parsed: boolean;
  readonly truncated: boolean;
}

/** Problems and samples of each: 48 completions of a wording, the greedy ones included. */
export const probeSize = { problems: 16, samples: 2 } as const;

const shownExamples = 3;

/** Completes each problem once greedily and `samples` times by sampling, with random numbers of its own. */
export async function probe<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  samples: number,
  signal?: AbortSignal,
): Promise<Probe> {
  const requests = problems.flatMap((problem) =>
    Array.from({ length: samples }, (_, sample) => ({ problem, stage: 'probe', sample })),
  );
  const greedy = await rollOutGreedy(kit, problems, { signal });
  const sampled = await rollOut(kit, requests, { signal });
  const share = (of: readonly GradedRollout<P>[], is: (rollout: GradedRollout<P>) => boolean) =>
    mean(of.map((rollout) => Number(is(rollout))));
  const right = sampled.map((rollout) => lastNumberIsRight(kit, rollout));
  return {
    problems: problems.length,
    samplesPerProblem: samples,
    greedyExact: share(greedy, ({ score }) => score.exact),
    sampledExact: share(sampled, ({ score }) => score.exact),
    lastNumberRight: right.includes(undefined) ? null : mean(right.map(Number)),
    truncatedRate: share(sampled, ({ finished }) => !finished),
    parseFailRate: share(sampled, ({ score }) => !score.parsed),
    meanTokens: mean(sampled.map(({ completionIds }) => completionIds.length)),
    examples: problems.slice(0, shownExamples).map((problem, i) => {
      const { text, score, finished } = sampled[i * samples]!;
      return { problem: problem.id, completion: text, exact: score.exact, parsed: score.parsed, truncated: !finished };
    }),
  };
}

/** Undefined where the task gives no solution with a number in it. */
function lastNumberIsRight<P>({ task }: RolloutKit<P>, { text, problem }: GradedRollout<P>): boolean | undefined {
  const { value } = parseLastInteger(task.solution?.(problem.value) ?? '');
  return value === undefined ? undefined : parseLastInteger(text).value === value;
}

/** Share of exact greedy answers from which on a wording is taken without trying the ones after it, which cost more tokens. */
const enoughExact = 0.5;

/**
 * What a wording promises: the greedy accuracy, since training makes samples as sure as greedy answers are, and the accuracy of
 * samples, from which it starts.
 */
const promise = ({ greedyExact, sampledExact }: Probe) => greedyExact + sampledExact;

/** Tries wordings in order until one has enough exact answers; of none with enough, the one that promises most. */
export async function chooseWording<Name>(
  names: readonly Name[],
  probeOne: (name: Name) => Promise<Probe>,
): Promise<{ readonly chosen: Name; readonly probes: ReadonlyMap<Name, Probe> }> {
  const probes = new Map<Name, Probe>();
  for (const name of names) {
    const seen = await probeOne(name);
    probes.set(name, seen);
    if (seen.greedyExact >= enoughExact && seen.sampledExact > 0) return { chosen: name, probes };
  }
  const best = [...probes].reduce((leader, next) => (promise(next[1]) > promise(leader[1]) ? next : leader));
  return { chosen: best[0], probes };
}
