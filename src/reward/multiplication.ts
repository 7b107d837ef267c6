/**
 * @file The reward of a multiplication: a pure function of the completion's text, the right answer and whether the model
 * ended the completion itself.
 */

import { type ParsedAnswer, parseAnswer, parseLastInteger, parseNaturalAnswer } from './answer.js';
import type { CompletionInfo, Score } from './score.js';

/**
 * `stated`: the answer must be in one of the strict forms. `natural`: or as models give it when nobody asked for a form. Both
 * earn 1 only when the completion ended. `last-integer`: as the project that this one began from (`--preset seed`): the last
 * integer of the text, ended or not.
 */
export type AnswerReading = 'stated' | 'natural' | 'last-integer';

export interface MultiplicationRewardOptions {
  /** `graded`: also something for a near miss. `exact`: 1 or 0. */
  readonly kind: 'graded' | 'exact';
  readonly read: AnswerReading;
}

/** What an answer earns under `graded` that is positive and less than half the right answer away from it. */
const nearReward = 0.3;

const readers: Readonly<Record<AnswerReading, (text: string) => ParsedAnswer>> = {
  stated: parseAnswer,
  natural: parseNaturalAnswer,
  'last-integer': parseLastInteger,
};

/**
 * Scores `text` as the answer `answer` (a whole number >= 0). Under `graded`: 1 when right, else 0.3 when the value is
 * positive and |value - answer| < 0.5·answer, else 0: the reward of the project that this one began from. `parts`: `exact`,
 * `near`, `stated`, and `last`, whether the last integer of the text is right, ended or not; each 0 or 1.
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
