/**
 * @file The reward for a multiplication: a pure function of the completion's text, the correct answer and whether the model
 * ended the completion.
 */

import type { CompletionInfo, Score } from './answer.js';
import { type ParsedAnswer, parseAnswer, parseLastInteger, parseNaturalAnswer } from './answer.js';

/**
 * `stated`: the answer must have a strict form. `natural`: forms that models use unprompted are accepted too. Both earn 1
 * only if the completion ended. `last-integer`: the last integer of the text, ended or not, as in the original project
 * (`--preset seed`).
 */
export type AnswerReading = 'stated' | 'natural' | 'last-integer';

export interface MultiplicationRewardOptions {
  /** `graded`: partial credit for near misses. `exact`: 1 or 0. */
  readonly kind: 'graded' | 'exact';
  readonly read: AnswerReading;
}

/** Reward under `graded` for a positive answer within half of the correct one. */
const nearReward = 0.3;

const readers: Readonly<Record<AnswerReading, (text: string) => ParsedAnswer>> = {
  stated: parseAnswer,
  natural: parseNaturalAnswer,
  'last-integer': parseLastInteger,
};

/**
 * Scores `text` against the correct `answer` (a whole number >= 0). Under `graded`, as in the original project: 1 if correct,
 * 0.3 if the value is positive and |value - answer| < 0.5·answer, otherwise 0. `parts`, each 0 or 1: `exact`, `near`, `stated`,
 * and `last`, whether the last integer of the text is correct, ended or not.
 */
export function multiplicationReward(
  text: string,
  answer: number,
  { finished }: CompletionInfo = { finished: true },
  { kind, read }: MultiplicationRewardOptions = { kind: 'graded', read: 'stated' },
): Score {
  const { value } = readers[read](text);
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
