/**
 * @file What is typed at the prompt of `play` becomes what a model is asked: a multiplication in the model's own wording,
 * any other text as it stands.
 */
import type { Product } from '../../data/products.js';
import { type PromptStyle, type Wording, wordings } from '../../data/prompt.js';

export interface Question {
  readonly text: string;
  /** What was asked, where it is a multiplication: only then is there a right answer. */
  readonly product?: Product;
}

/** `7 x 8`, `7*8`, `What is 7 × 8?`: factors of up to four digits. */
const multiplication = /^(?:what\s+is\s+)?(\d{1,4})\s*[x×*·⋅]\s*(\d{1,4})\s*[=?]*$/iu;

export function readProduct(line: string): Product | undefined {
  const [, a, b] = multiplication.exec(line.trim()) ?? [];
  return a === undefined || b === undefined ? undefined : { a: Number(a), b: Number(b) };
}

/** The question that `line` stands for, as a model with this wording is asked it. */
export function readQuestion(line: string, wording: Wording, promptStyle: PromptStyle): Question {
  const product = readProduct(line);
  if (product !== undefined) return { text: wordings[wording](product), product };
  // A line cannot hold its own end, and a question that is to be continued as plain text ends with one.
  return { text: promptStyle === 'raw' && line.endsWith('?') ? `${line}\n` : line };
}
