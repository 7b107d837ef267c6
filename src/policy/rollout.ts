/**
 * @file Rollouts: a problem becomes a prompt, the policy completes it, the completion's text is graded. One generator
 * per rollout, so a rollout depends on its key and the weights, not on what is sampled beside it.
 */
import { gradeCompletions } from '../data/grading.js';
import { type Problem, questionOfProblem } from '../data/problem.js';
import { type PromptForm, promptInput } from '../data/prompt.js';
import type { Task } from '../data/task.js';
import type { Tokenizer } from '../model/checkpoint/tokenizer.js';
import type { SampleOptions } from '../model/sampling/sample.js';
import type { Score } from '../reward/score.js';
import { rolloutRandom } from '../util/random.js';
import type { Policy } from './policy.js';

/** All that turns problems into graded completions. */
export interface RolloutKit<P = unknown> {
  readonly policy: Pick<Policy, 'sample'>;
  readonly tokenizer: Tokenizer;
  readonly task: Task<P>;
  readonly form: PromptForm;
  readonly endIds: ReadonlySet<number>;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Sample number `sample` of a problem in a part of the job, such as `stage1`; the two name its random numbers. */
export interface RolloutRequest<P = unknown> {
  readonly problem: Problem<P>;
  readonly stage: string;
  readonly sample: number;
}

export interface GradedRollout<P = unknown> {
  readonly problem: Problem<P>;
  readonly promptIds: readonly number[];
  /** The end token included when there is one. */
  readonly completionIds: readonly number[];
  /** Of each token, at the temperature, as the sampler computed them. */
  readonly logProbs: readonly number[];
  /** The completion without special tokens. */
  readonly text: string;
  /** The model ended it; false when it was cut off. */
  readonly finished: boolean;
  readonly score: Score;
}

/** Token ids of a problem's prompt, ready to be completed. */
export function promptIds<P>(kit: Pick<RolloutKit<P>, 'tokenizer' | 'form'>, problem: Problem<P>): number[] {
  const input = promptInput(questionOfProblem(problem), kit.form);
  return 'messages' in input ? kit.tokenizer.encodeChat(input.messages) : kit.tokenizer.encode(input.text);
}

/** What may be seen of the sampling while it goes on. */
export interface RolloutWatch extends Pick<SampleOptions, 'onToken' | 'onStep' | 'onCompletion'> {
  readonly signal?: AbortSignal | undefined;
}

/** Samples and grades every request, in order. */
export function rollOut<P>(
  kit: RolloutKit<P>,
  requests: readonly RolloutRequest<P>[],
  watch: RolloutWatch = {},
): Promise<GradedRollout<P>[]> {
  const randoms = requests.map(({ problem, stage, sample }) =>
    rolloutRandom({ seed: kit.seed, stage, problem: problem.id, sample }),
  );
  return complete(
    kit,
    requests.map(({ problem }) => problem),
    kit.temperature,
    (index) => randoms[index]!.uniform,
    watch,
  );
}

/**
 * A temperature at which only the most likely token has any weight, however little it leads: the scaled difference of
 * two unequal float32 logits is then far beyond the range of exp. With the uniform number 0 the first of equals is drawn, as
 * argmax would. So greedy decoding needs no compiled functions of its own.
 */
const greedyTemperature = 1e-20;

/** The greedy completion of each problem, graded. Its log-probs are not those of the policy. */
export function rollOutGreedy<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  watch: RolloutWatch = {},
): Promise<GradedRollout<P>[]> {
  return complete(kit, problems, greedyTemperature, () => () => 0, watch);
}

async function complete<P>(
  kit: RolloutKit<P>,
  problems: readonly Problem<P>[],
  temperature: number,
  uniformOf: (index: number) => () => number,
  { signal, ...watch }: RolloutWatch,
): Promise<GradedRollout<P>[]> {
  const { policy, tokenizer, task, endIds, maxNewTokens } = kit;
  const idsOf = new Map<string, number[]>();
  for (const problem of problems) if (!idsOf.has(problem.id)) idsOf.set(problem.id, promptIds(kit, problem));
  const completions = await policy.sample(
    problems.map((problem, index) => ({
      promptIds: idsOf.get(problem.id)!,
      uniform: uniformOf(index),
      maxNewTokens,
    })),
    { temperature, endIds, ...watch, ...(signal && { signal }) },
  );
  const texts = completions.map(({ ids }) => tokenizer.decode(ids));
  const finished = completions.map(({ finishReason }) => finishReason === 'stop');
  const calls = problems.map(({ value }, index) => ({
    completion: texts[index]!,
    problem: value,
    info: { finished: finished[index]! },
  }));
  const scores = await gradeCompletions(task, calls, signal);
  return problems.map((problem, index) => ({
    problem,
    promptIds: idsOf.get(problem.id)!,
    completionIds: completions[index]!.ids,
    logProbs: completions[index]!.logProbs,
    text: texts[index]!,
    finished: finished[index]!,
    score: scores[index]!,
  }));
}

/** Calls `onFirst` when the first token is drawn: what a user waits for before anything is seen to happen. */
export function noteFirstToken(policy: Pick<Policy, 'sample'>, onFirst: () => void): Pick<Policy, 'sample'> {
  let drawn = false;
  return {
    sample(rollouts, options) {
      if (drawn) return policy.sample(rollouts, options);
      const onToken: typeof options.onToken = (rollout, id) => {
        if (!drawn) onFirst();
        drawn = true;
        options.onToken?.(rollout, id);
      };
      return policy.sample(rollouts, { ...options, onToken });
    },
  };
}
