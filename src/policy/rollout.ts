/**
 * @file Rollouts: a problem becomes a prompt, the policy completes it, and the completion is graded. Each rollout has its
 * own random generator, so it depends only on its key and the weights, not on what else is sampled.
 */
import { type Problem, questionOfProblem } from '../data/problem.js';
import { type PromptForm, promptInput } from '../data/prompt.js';
import { gradeCompletions, type Task } from '../data/task.js';
import type { Tokenizer } from '../model/checkpoint/tokenizer.js';
import type { OpenModel } from '../model/open.js';
import { endTokens } from '../model/prompt-input.js';
import type { SampleOptions } from '../model/sampling/sample.js';
import type { Score } from '../reward/score.js';
import { rolloutRandom } from '../util/random.js';
import type { Policy } from './policy.js';

/** Everything needed to turn problems into graded completions. */
export interface RolloutKit<P = unknown> {
  readonly policy: Pick<Policy, 'sample'>;
  readonly tokenizer: Pick<Tokenizer, 'encode' | 'encodeChat' | 'decode'>;
  readonly task: Task<P>;
  readonly form: PromptForm;
  readonly endIds: ReadonlySet<number>;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Sample number `sample` of a problem in a stage such as `stage1`; problem, stage and number select the random numbers. */
export interface RolloutRequest<P = unknown> {
  readonly problem: Problem<P>;
  readonly stage: string;
  readonly sample: number;
}

export interface GradedRollout<P = unknown> {
  readonly problem: Problem<P>;
  readonly promptIds: readonly number[];
  /** Token ids, including the end token if there is one. */
  readonly completionIds: readonly number[];
  /** Log-prob of each token at the temperature, as computed by the sampler. */
  readonly logProbs: readonly number[];
  /** The completion without special tokens. */
  readonly text: string;
  /** Whether the model ended the completion; false if it was cut off. */
  readonly finished: boolean;
  readonly score: Score;
}

/** Token ids of a problem's prompt. */
export function promptIds<P>(kit: Pick<RolloutKit<P>, 'tokenizer' | 'form'>, problem: Problem<P>): number[] {
  const input = promptInput(questionOfProblem(problem), kit.form);
  return 'messages' in input ? kit.tokenizer.encodeChat(input.messages) : kit.tokenizer.encode(input.text);
}

/** Tokens that end a completion. */
export function endIdsOf({
  tokenizer,
  pretrained,
  form,
}: Pick<RolloutKit, 'form'> & Pick<OpenModel, 'pretrained' | 'tokenizer'>): Set<number> {
  return new Set([...endTokens({ tokenizer, pretrained }), ...lineEnds(tokenizer, form)]);
}

/**
 * Tokens that end an answer in addition to the model's end tokens: with solved examples as plain text, one answer per line,
 * every token that contains a line break. A base model would otherwise continue with another question.
 */
function lineEnds(tokenizer: Tokenizer, { style, examples = [] }: PromptForm): number[] {
  const isOneLine = examples.length > 0 && examples.every(({ solution }) => !solution.includes('\n'));
  if (style !== 'raw' || !isOneLine) return [];
  return Array.from({ length: tokenizer.length }, (_, id) => id).filter((id) => tokenizer.decode([id]).includes('\n'));
}

/** Callbacks during sampling. */
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
 * A temperature at which only the most likely token has any weight, however small its lead: the scaled difference of two
 * unequal float32 logits is far beyond the range of exp. With the uniform number 0 the first of equal tokens is drawn, as
 * argmax would. Greedy decoding therefore needs no separate compiled functions.
 */
const greedyTemperature = 1e-20;

/** The greedy completion of each problem, graded. Its log-probs are not the policy's. */
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

/** Calls `onFirst` when the first token is drawn. Nothing visible happens before. */
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
