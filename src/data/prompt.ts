/**
 * @file How a multiplication problem is worded, and how a question becomes a prompt: as it is, or as a user's message in
 * the model's own chat template (which the tokenizer renders, not this file), behind a system message and solved examples.
 */
import { createHash } from 'node:crypto';
import type { Product } from './products.js';

/** The wordings of a multiplication, by name. */
export const wordings = {
  /** The form that the built-in models were trained on; they know no other. */
  builtin: ({ a, b }: Product) => `What is ${a} × ${b}?\n`,
  /** For chat models that know the product by heart. */
  number: ({ a, b }: Product) => `What is ${a} times ${b}? Reply with only the number.`,
  /** For chat models that find the product by working in steps. */
  steps: ({ a, b }: Product) =>
    `What is ${a} × ${b}? Think step by step, then end your reply with "answer: N", where N is the number.`,
  /** For base models, which continue a text: solved examples show the form. */
  question: ({ a, b }: Product) => `Question: What is ${a} times ${b}?\nAnswer:`,
  /** The wording of the project that this one began from. It asks for no form, and its reward reads the last integer. */
  seed: ({ a, b }: Product) => `What is ${a} × ${b}? Show your reasoning step by step.`,
} as const;

export type Wording = keyof typeof wordings;

/** `raw`: the question is the prompt. `chat`: it is a user's message. */
export type PromptStyle = 'raw' | 'chat';

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A question, or a whole conversation that the model is to continue. */
export type Question = string | readonly ChatMessage[];

/** A solved problem that is shown before the question. */
interface SolvedExample {
  readonly question: string;
  readonly solution: string;
}

/** All that is put around a question. */
export interface PromptForm {
  readonly style: PromptStyle;
  /** A system message. Undefined leaves it to the chat template, which may have one of its own. */
  readonly system?: string | undefined;
  readonly examples?: readonly SolvedExample[];
}

/** Input of the tokenizer: text to encode, or messages for its chat template with a generation prompt. */
export type PromptInput = { readonly text: string } | { readonly messages: readonly ChatMessage[] };

/**
 * The prompt of a question. In raw style a system message and examples are paragraphs before the question; in chat style they
 * are messages. A conversation in raw style is its messages' contents as paragraphs.
 */
export function promptInput(question: Question, { style, system, examples = [] }: PromptForm): PromptInput {
  if (style === 'raw') {
    const paragraphs = [
      ...(system === undefined ? [] : [system]),
      ...examples.map((example) => `${example.question}${spaced(example)}`),
    ];
    return { text: [...paragraphs, contentOf(question)].join('\n\n') };
  }
  const own: readonly ChatMessage[] = typeof question === 'string' ? [{ role: 'user', content: question }] : question;
  // A conversation that brings a system message keeps it.
  const first: ChatMessage[] =
    system === undefined || own[0]?.role === 'system' ? [] : [{ role: 'system', content: system }];
  const shown = examples.flatMap((example): ChatMessage[] => [
    { role: 'user', content: example.question },
    { role: 'assistant', content: example.solution },
  ]);
  const rest = own[0]?.role === 'system' ? [own[0], ...shown, ...own.slice(1)] : [...shown, ...own];
  return { messages: [...first, ...rest] };
}

/** The text of a question: of a conversation all that was said, one paragraph a message. */
export function contentOf(question: Question): string {
  return typeof question === 'string' ? question : question.map(({ content }) => content).join('\n\n');
}

/** A question that ends in its own white space needs none before the solution. */
function spaced({ question, solution }: SolvedExample): string {
  return /\s$/.test(question) ? solution : ` ${solution}`;
}

/** Names a form in a fingerprint. Without system message and examples it is the style alone. */
export function describeForm({ style, system, examples = [] }: PromptForm): string {
  if (system === undefined && examples.length === 0) return style;
  const hash = createHash('sha256').update(JSON.stringify([system ?? null, examples]));
  return `${style}, with ${hash.digest('hex').slice(0, 16)}`;
}
