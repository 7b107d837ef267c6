/**
 * @file How a multiplication problem is asked, and how a question becomes a prompt: as it is, or as a user's turn of the
 * model's own chat template (which the tokenizer renders, not this file).
 */
import type { Product } from './products.js';

/** The wordings, by the kind of model they are for. */
export const wordings = {
  /** The built-in models know this form and no other. */
  builtin: ({ a, b }: Product) => `What is ${a} × ${b}?\n`,
  /** Models that follow instructions are told the answer's form, since only that form is read. */
  instruct: ({ a, b }: Product) =>
    `What is ${a} × ${b}? Think step by step, then end your reply with "answer: N", where N is the number.`,
  /** The wording of the project this one began from; it asks for no form, and its reward reads the last integer. */
  seed: ({ a, b }: Product) => `What is ${a} × ${b}? Show your reasoning step by step.`,
} as const;

export type Wording = keyof typeof wordings;

/** `raw`: the question is the prompt. `chat`: it is a user's turn. */
export type PromptStyle = 'raw' | 'chat';

interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** What the tokenizer is given: text to encode, or messages for its chat template with a generation prompt. */
export type PromptInput = { readonly text: string } | { readonly messages: readonly ChatMessage[] };

export function promptInput(question: string, style: PromptStyle): PromptInput {
  return style === 'chat' ? { messages: [{ role: 'user', content: question }] } : { text: question };
}
