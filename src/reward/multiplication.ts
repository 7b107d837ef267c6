/**
 * @file The reward for a multiplication: a pure function of the completion's text, the correct answer and whether the model
 * ended the completion. answer.ts reads the answer from the text.
 */
import { type AnswerReading, answerReaders } from './answer.js';
import type { CompletionInfo, Score } from './score.js';

export interface MultiplicationRewardOptions {
  /** `graded`: partial credit for near misses. `exact`: 1 or 0. */
  readonly kind: 'graded' | 'exact';
  /** Answers that are `stated` or `natural` earn 1 only if the completion ended, the `last-integer` in any case. */
  readonly read: AnswerReading;
}

/** Reward under `graded` for a positive answer within half of the correct one. */
const nearReward = 0.3;

/**
 * Scores `text` against the correct `answer` (a whole number >= 0). Under `graded`, as in the original project: 1 if correct,
 * 0.3 if the value is positive and |value - answer| < 0.5·answer, otherwise 0. `parts`, each 0 or 1: `exact`, `near` and
 * `stated`, whether the text gives an answer.
 */
export function multiplicationReward(
  text: string,
  answer: number,
  { finished }: CompletionInfo = { finished: true },
  { kind, read }: MultiplicationRewardOptions = { kind: 'graded', read: 'stated' },
): Score {
  const { value } = answerReaders[read](text);
  const right = value === answer;
  const exact = right && finished;
  const full = read === 'last-integer' ? right : exact;
  const near = !full && value !== undefined && value > 0 && Math.abs(value - answer) < 0.5 * answer;
  return {
    reward: full ? 1 : near && kind === 'graded' ? nearReward : 0,
    exact,
    parsed: value !== undefined,
    parts: { exact: Number(exact), near: Number(near), stated: Number(value !== undefined) },
  };
}
