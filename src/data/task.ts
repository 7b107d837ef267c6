/**
 * @file The definition of a task: where its problems come from, how they are asked and how completions are rewarded; and the
 * scoring of completions. The built-in multiplication task and every `--task` file have this form. Independent of models and
 * tokens.
 */
import type { CompletionInfo, Score } from '../reward/score.js';
import { UserError } from '../util/errors.js';
import { quote } from '../util/json.js';
import type { Random } from '../util/random.js';
import type { ChatMessage, Question } from './prompt.js';

/**
 * A task over problems of type `P`, which must be plain data (they are written as JSON). All functions must be pure: the same
 * arguments give the same result, and `random` is the only source of randomness.
 */
export interface Task<P = unknown> {
  /** A short name, shown in reports. A V* file is valid only for tasks of the same name. */
  readonly name: string;
  /** Draws `n` training problems. Repeats are allowed and are sampled only once in stage 1. */
  problems(random: Random, n: number): readonly P[];
  /**
   * The question as text. It identifies the problem: two problems with the same prompt must be equal. A task has either this or
   * `messages`.
   */
  prompt?(problem: P): string;
  /** Instead of `prompt`: a conversation to continue, ending with a user message. Identifies the problem. */
  messages?(problem: P): readonly ChatMessage[];
  /**
   * Returns a number from 0 to 1, where 1 counts as exact, or a {@link Score}. An unfinished completion never counts as exact.
   * With `asyncReward`, it may return a promise.
   */
  reward(completion: string, problem: P, info: CompletionInfo): RewardResult | Promise<RewardResult>;
  /** If present, rewards are awaited, for example from a judge behind HTTP or in another process. */
  readonly asyncReward?: AsyncReward;
  /**
   * Returns up to `n` problems for testing, none of which `problems` ever draws. Without this function, some of the drawn
   * problems are set aside for testing.
   */
  heldOut?(random: Random, n: number): readonly P[];
  /** Problems of the same cluster are never on both sides of the split, and count as one observation in statistics.
   * Default: each prompt is its own cluster. */
  cluster?(problem: P): string;
  /** A correct completion; used to find the best constant answer. */
  solution?(problem: P): string;
}

export type RewardResult = number | Score;

/** Limits of asynchronous rewards. */
export interface AsyncReward {
  /** Time limit of one reward in seconds; 60 if absent. The run stops with an error when it is exceeded. */
  readonly timeLimitSeconds?: number;
  /** Rewards awaited concurrently; 8 if absent. */
  readonly concurrency?: number;
}

/** The question of a problem. */
export function questionOf<P>(task: Pick<Task<P>, 'prompt' | 'messages'>, problem: P): Question {
  return task.messages ? task.messages(problem) : task.prompt!(problem);
}

/** Returns `task` unchanged; gives it its type. */
export function defineTask<P>(task: Task<P>): Task<P> {
  return task;
}

/**
 * Scores a completion of a task with synchronous rewards.
 *
 * @throws UserError naming the problem and the completion when the reward throws, or returns neither a number from 0 to 1
 *   nor a valid Score.
 */
export function scoreCompletion<P>(task: Task<P>, completion: string, problem: P, info: CompletionInfo): Score {
  return checkedScore({ task, completion, problem, info }, callReward({ task, completion, problem, info }));
}

/** A completion to be scored. */
interface ScoredCall<P> {
  readonly task: Task<P>;
  readonly completion: string;
  readonly problem: P;
  readonly info: CompletionInfo;
}

/** @throws UserError when the reward throws. */
function callReward<P>(call: ScoredCall<P>): unknown {
  const { task, completion, problem, info } = call;
  try {
    return task.reward(completion, problem, info);
  } catch (error) {
    throw rewardFailed(call, error);
  }
}

function rewardFailed<P>(call: ScoredCall<P>, error: unknown): UserError {
  const reason = error instanceof Error ? error.message : String(error);
  return new UserError(
    {
      problem: `The reward of task "${call.task.name}" failed ${describeCall(call)}: ${reason}.`,
      fix: 'A reward must accept any text, including the empty one.',
    },
    { cause: error },
  );
}

function describeCall<P>({ problem, completion }: ScoredCall<P>): string {
  return `for problem ${quote(problem)} and completion ${quote(completion)}`;
}

/** Converts the value that a reward returned to a Score. @throws UserError when it is invalid. */
function checkedScore<P>(call: ScoredCall<P>, result: unknown): Score {
  const { task, info } = call;
  const refuse = (found: string) =>
    new UserError({
      problem: `The reward of task "${task.name}" returned an invalid value ${describeCall(call)}.`,
      expected: 'a number from 0 to 1, or { reward, exact, parsed, parts }',
      found: result instanceof Promise ? 'a promise, which is allowed only with `asyncReward: {}`' : found,
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

const defaultTimeLimitSeconds = 60;
const defaultConcurrency = 8;

/**
 * Scores `calls`. Returns the scores in order.
 *
 * @throws UserError as {@link scoreCompletion}, and when an asynchronous reward takes too long; the signal's reason when it is
 * aborted.
 */
export async function gradeCompletions<P>(
  task: Task<P>,
  calls: readonly Omit<ScoredCall<P>, 'task'>[],
  signal?: AbortSignal,
): Promise<Score[]> {
  const { asyncReward } = task;
  if (asyncReward === undefined) {
    return calls.map(({ completion, problem, info }) => scoreCompletion(task, completion, problem, info));
  }
  const { timeLimitSeconds = defaultTimeLimitSeconds, concurrency = defaultConcurrency } = asyncReward;
  const scores = new Array<Score>(calls.length);
  let next = 0;
  let failed = false;
  const work = async () => {
    while (next < calls.length && !failed) {
      signal?.throwIfAborted();
      const at = next++;
      try {
        scores[at] = await within({ task, ...calls[at]! }, timeLimitSeconds, signal);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, calls.length) }, work));
  return scores;
}

/** Awaits one score. */
async function within<P>(call: ScoredCall<P>, seconds: number, signal: AbortSignal | undefined): Promise<Score> {
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new UserError({
          problem: `The reward of task "${call.task.name}" took more than ${seconds} s ${describeCall(call)}.`,
          fix: 'Raise asyncReward.timeLimitSeconds, or give the reward its own time limit.',
        }),
      );
    }, seconds * 1000);
    stop = () => reject(signal!.reason);
    signal?.addEventListener('abort', stop, { once: true });
  });
  try {
    const answer = Promise.resolve(callReward(call)).catch((error) => {
      throw rewardFailed(call, error);
    });
    return checkedScore(call, await Promise.race([answer, limit]));
  } finally {
    clearTimeout(timer);
    if (stop !== undefined) signal?.removeEventListener('abort', stop);
  }
}
