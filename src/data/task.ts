/**
 * @file What a task is: where problems come from, how they are asked and how a completion is rewarded. The built-in
 * multiplication and every `--task` file have this form. Knows nothing of models or tokens.
 */
import type { CompletionInfo, Score } from '../reward/score.js';
import { UserError } from '../util/errors.js';
import { quote } from '../util/json.js';
import type { Random } from '../util/random.js';

/**
 * A task over problems of type `P`, which must be plain data (they are written to JSON).
 * All functions are pure: the same arguments give the same result, randomness comes from `random` alone.
 */
export interface Task<P = unknown> {
  /** Short; shown in reports, and binds a V* file to the problems it was made for. */
  readonly name: string;
  /** Draws `n` training problems; repeats are welcome and are sampled only once in stage 1. */
  problems(random: Random, n: number): readonly P[];
  /** The question as text. It identifies the problem: two problems with one prompt must be equal. */
  prompt(problem: P): string;
  /**
   * A number from 0 to 1, of which 1 counts as exact, or a whole {@link Score}. A completion that did not finish never
   * counts as exact, whatever is returned.
   */
  reward(completion: string, problem: P, info: CompletionInfo): number | Score;
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

/** Gives a task its type; nothing else happens here, so that a task file stays plain data and functions. */
export function defineTask<P>(task: Task<P>): Task<P> {
  return task;
}

/**
 * The checked score of a completion.
 *
 * @throws UserError with the problem and the completion when the task's reward throws or returns anything but a number
 * from 0 to 1 or a whole Score.
 */
export function scoreCompletion<P>(task: Task<P>, completion: string, problem: P, info: CompletionInfo): Score {
  const where = () => `for problem ${quote(problem)} and completion ${quote(completion)}`;
  let result: unknown;
  try {
    result = task.reward(completion, problem, info);
  } catch (error) {
    throw new UserError(
      {
        problem: `The reward of task "${task.name}" failed ${where()}: ${error instanceof Error ? error.message : error}.`,
        fix: 'A reward must accept any text, the empty one too.',
      },
      { cause: error },
    );
  }
  const refuse = (found: string) =>
    new UserError({
      problem: `The reward of task "${task.name}" is not usable ${where()}.`,
      expected: 'a number from 0 to 1, or { reward, exact, parsed, parts }',
      found: result instanceof Promise ? 'a promise; rewards are computed at once, without await' : found,
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
