/**
 * @file Scores completions: directly, or for a task with `asyncReward` several concurrently, each within a time limit.
 */
import type { Score } from '../reward/answer.js';
import { UserError } from '../util/errors.js';
import {
  callReward,
  checkedScore,
  describeCall,
  rewardFailed,
  type ScoredCall,
  scoreCompletion,
  type Task,
} from './task.js';

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
