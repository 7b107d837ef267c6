/**
 * @file Answers on the screen: a column for each player, which grows while the answer comes and ends with what it earned.
 */
import { harmless } from '../terminal/columns.js';
import type { Paint } from '../terminal/paint.js';
import type { Answer } from './player.js';
import type { Question } from './question.js';

/** What a player has said so far; `answer` when it is done. */
export interface Turn {
  readonly name: string;
  readonly question: Question;
  readonly text: string;
  readonly answer?: Answer;
}

/** The texts of one column, from top to bottom. */
export function turnTexts({ name, question, text, answer }: Turn, maxNewTokens: number, paint: Paint): string[] {
  return [
    paint.strong(name),
    paint.faint(harmless(question.text.trim())),
    harmless(text),
    answer === undefined ? '' : verdict(answer, maxNewTokens, paint),
  ];
}

/** `exact, reward 1; 25 tokens in 40 ms`. */
function verdict(answer: Answer, maxNewTokens: number, paint: Paint): string {
  const { score, finished, stopped, tokens, seconds } = answer;
  const time = seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
  const cost = paint.faint(`${tokens} ${tokens === 1 ? 'token' : 'tokens'} in ${time}`);
  const cut = tokens < maxNewTokens ? 'cut off at the longest sequence of the model' : `cut off at ${tokens} tokens`;
  const end = stopped ? paint.warn('stopped') : finished ? '' : paint.warn(cut);
  if (score === undefined) return [end, cost].filter(Boolean).join('; ');
  const grade = score.exact ? paint.good('exact') : paint.bad(score.parsed ? 'wrong' : 'no readable answer');
  return [`${grade}, reward ${score.reward}`, end, cost].filter(Boolean).join('; ');
}
