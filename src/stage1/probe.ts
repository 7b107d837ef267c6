/**
 * @file The probe: the reference answers a few training problems before stage 1 samples them all. Used to choose between
 * wordings and to show example completions. Never sees a held-out problem.
 */
import type { Problem } from '../data/problem.js';
import { type GradedRollout, type RolloutKit, rollOut, rollOutGreedy } from '../policy/rollout.js';
import { parseLastInteger } from '../reward/answer.js';
import { mean } from '../util/statistics.js';
import type { Probe } from './probe-file.js';

/** Problems, and samples per problem: 48 completions per wording, greedy ones included. */
export const probeSize = { problems: 16, samples: 2 } as const;

const shownExamples = 3;

/** Completes each problem once greedily and `samples` times by sampling. Its random numbers are independent of stage 1's. */
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

/** Undefined when the task has no solution with a number in it. */
function lastNumberIsRight<P>({ task }: RolloutKit<P>, { text, problem }: GradedRollout<P>): boolean | undefined {
  const { value } = parseLastInteger(task.solution?.(problem.value) ?? '');
  return value === undefined ? undefined : parseLastInteger(text).value === value;
}

/** A wording with this share of exact greedy answers is chosen without trying those after it, which cost more tokens. */
const enoughExact = 0.5;

/**
 * Ranks a wording: its greedy accuracy, which training brings samples close to, plus its sampled accuracy, where training
 * starts.
 */
const promise = ({ greedyExact, sampledExact }: Probe) => greedyExact + sampledExact;

/** Tries wordings in order until one has enough exact answers; if none has, chooses the one with the highest rank. */
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
