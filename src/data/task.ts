/**
 * @file What a task is: where problems come from, how they are asked and how a completion is rewarded. The built-in
 * multiplication and every `--task` file have this form. Knows nothing of models or tokens.
 */
import type { CompletionInfo, Score } from '../reward/score.js';
import { UserError } from '../util/errors.js';
import { quote } from '../util/json.js';
import type { Random } from '../util/random.js';
import type { ChatMessage, Question } from './prompt.js';

/**
 * A task over problems of type `P`, which must be plain data (they are written to JSON).
 * All functions are pure: the same arguments give the same result, randomness comes from `random` alone.
 */
export interface Task<P = unknown> {
  /** Short; shown in reports, and binds a V* file to the problems it was made for. */
  readonly name: string;
  /** Draws `n` training problems; repeats are welcome and are sampled only once in stage 1. */
  problems(random: Random, n: number): readonly P[];
  /**
   * The question as text. It identifies the problem: two problems with one prompt must be equal. A task has either this or
   * `messages`.
   */
  prompt?(problem: P): string;
  /** Instead of `prompt`: a conversation that the model continues, the last message being a user's. Identifies the problem. */
  messages?(problem: P): readonly ChatMessage[];
  /**
   * A number from 0 to 1, of which 1 counts as exact, or a whole {@link Score}. A completion that did not finish never
   * counts as exact, whatever is returned. With `asyncReward` it may return a promise.
   */
  reward(completion: string, problem: P, info: CompletionInfo): RewardResult | Promise<RewardResult>;
  /** Present: rewards are awaited, for a judge behind HTTP or another process. */
  readonly asyncReward?: AsyncReward;
  /**
   * Up to `n` problems for testing, none of which `problems` ever draws. Without this function, test problems are set
   * aside from those drawn.
   */
  heldOut?(random: Random, n: number): readonly P[];
  /** Problems with the same cluster are never on both sides of the split, and stand or fall together in statistics.
   * Default: each prompt is its own cluster. */
  cluster?(problem: P): string;
  /** A completion that is right; from these the best constant answer is found. */
  solution?(problem: P): string;
}

export type RewardResult = number | Score;

/** Limits of rewards that take time. */
export interface AsyncReward {
  /** Seconds that one reward may take; 60 if absent. The run stops with an error when one takes longer. */
  readonly timeLimitSeconds?: number;
  /** Rewards that are awaited at once; 8 if absent. */
  readonly concurrency?: number;
}

/** The question of a problem. */
export function questionOf<P>(task: Pick<Task<P>, 'prompt' | 'messages'>, problem: P): Question {
  return task.messages ? task.messages(problem) : task.prompt!(problem);
}

/** Gives a task its type; nothing else happens here, so that a task file stays plain data and functions. */
export function defineTask<P>(task: Task<P>): Task<P> {
  return task;
}

/**
 * The checked score of a completion, of a task whose rewards are computed at once.
 *
 * @throws UserError with the problem and the completion when the task's reward throws or returns anything but a number
 * from 0 to 1 or a whole Score.
 */
export function scoreCompletion<P>(task: Task<P>, completion: string, problem: P, info: CompletionInfo): Score {
  return checkedScore({ task, completion, problem, info }, callReward({ task, completion, problem, info }));
}

/** One completion to be scored. */
export interface ScoredCall<P> {
  readonly task: Task<P>;
  readonly completion: string;
  readonly problem: P;
  readonly info: CompletionInfo;
}

/** @throws UserError when the reward throws. */
export function callReward<P>(call: ScoredCall<P>): unknown {
  const { task, completion, problem, info } = call;
  try {
    return task.reward(completion, problem, info);
  } catch (error) {
    throw rewardFailed(call, error);
  }
}

export function rewardFailed<P>(call: ScoredCall<P>, error: unknown): UserError {
  const reason = error instanceof Error ? error.message : String(error);
  return new UserError(
    {
      problem: `The reward of task "${call.task.name}" failed ${describeCall(call)}: ${reason}.`,
      fix: 'A reward must accept any text, the empty one too.',
    },
    { cause: error },
  );
}

export function describeCall<P>({ problem, completion }: ScoredCall<P>): string {
  return `for problem ${quote(problem)} and completion ${quote(completion)}`;
}

/** What a reward returned, as a Score. @throws UserError when it is none. */
export function checkedScore<P>(call: ScoredCall<P>, result: unknown): Score {
  const { task, info } = call;
  const refuse = (found: string) =>
    new UserError({
      problem: `The reward of task "${task.name}" is not usable ${describeCall(call)}.`,
      expected: 'a number from 0 to 1, or { reward, exact, parsed, parts }',
      found: result instanceof Promise ? 'a promise, which a task with `asyncReward: {}` may return' : found,
    });
  const inRange = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 1;
  if (typeof result === 'number') {
    if (!inRange(result)) throw refuse(String(result));
    return { reward: result, exact: result === 1 && info.finished, parsed: true, parts: {} };
  }
  if (typeof result !== 'object' || result === null) throw refuse(quote(result));
  const { reward, exact, parsed, parts } = result as Partial<Record<keyof Score, unknown>>;
  if (!inRange(reward)) throw refuse(`reward ${quote(reward)}`);
  if (typeof exact !== 'boolean' || typeof parsed !== 'boolean') {
    throw refuse(`exact ${quote(exact)}, parsed ${quote(parsed)}`);
  }
  if (typeof parts !== 'object' || parts === null || !Object.values(parts).every(Number.isFinite)) {
    throw refuse(`parts ${quote(parts)}`);
  }
  return { reward, exact: exact && info.finished, parsed, parts: parts as Score['parts'] };
}
