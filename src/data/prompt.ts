/**
 * @file The wordings of multiplication problems, and how a question becomes a prompt: as plain text or as a user message for
 * the model's chat template (rendered by the tokenizer), after an optional system message and solved examples.
 */
import { createHash } from 'node:crypto';
import type { Product } from './multiplication.js';

/** The wordings of a multiplication, by name. */
export const wordings = {
  /** The only form that the built-in models know. */
  builtin: ({ a, b }: Product) => `What is ${a} × ${b}?\n`,
  /** For chat models that know products by heart. */
  number: ({ a, b }: Product) => `What is ${a} times ${b}? Reply with only the number.`,
  /** For chat models that know products as sentences; two solved training problems before it show the form. */
  sentence: ({ a, b }: Product) => `What is ${a} times ${b}?`,
  /** For chat models that compute products in steps. */
  steps: ({ a, b }: Product) =>
    `What is ${a} × ${b}? Think step by step, then end your reply with "answer: N", where N is the number.`,
  /** For base models, which continue a text: solved examples show the form. */
  question: ({ a, b }: Product) => `Question: What is ${a} times ${b}?\nAnswer:`,
  /** The wording of the original project. It requests no answer format; its reward reads the last integer. */
  seed: ({ a, b }: Product) => `What is ${a} × ${b}? Show your reasoning step by step.`,
} as const;

export type Wording = keyof typeof wordings;

/** `raw`: the question is the prompt. `chat`: it is a user message. */
export type PromptStyle = 'raw' | 'chat';

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A question, or a whole conversation for the model to continue. */
export type Question = string | readonly ChatMessage[];

/** A solved problem shown before the question. */
interface SolvedExample {
  readonly question: string;
  readonly solution: string;
}

/** Everything in a prompt besides the question. */
export interface PromptForm {
  readonly style: PromptStyle;
  /** A system message. If undefined, the chat template may add its own. */
  readonly system?: string | undefined;
  readonly examples?: readonly SolvedExample[];
}

/** Input of the tokenizer: text to encode, or messages for its chat template with a generation prompt. */
export type PromptInput = { readonly text: string } | { readonly messages: readonly ChatMessage[] };

/**
 * The prompt of a question. In raw style, the system message and the examples are paragraphs before the question, and a
 * conversation is its messages' contents as paragraphs. In chat style, they are messages.
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
  // A conversation keeps its own system message.
  const first: ChatMessage[] =
    system === undefined || own[0]?.role === 'system' ? [] : [{ role: 'system', content: system }];
  const shown = examples.flatMap((example): ChatMessage[] => [
    { role: 'user', content: example.question },
    { role: 'assistant', content: example.solution },
  ]);
  const rest = own[0]?.role === 'system' ? [own[0], ...shown, ...own.slice(1)] : [...shown, ...own];
  return { messages: [...first, ...rest] };
}

/** The text of a question; for a conversation, one paragraph per message. */
export function contentOf(question: Question): string {
  return typeof question === 'string' ? question : question.map(({ content }) => content).join('\n\n');
}

/** Joins question and solution with a space, unless the question ends in white space. */
function spaced({ question, solution }: SolvedExample): string {
  return /\s$/.test(question) ? solution : ` ${solution}`;
}

/** Describes a form for a fingerprint: the style, plus a hash of system message and examples if there are any. */
export function describeForm({ style, system, examples = [] }: PromptForm): string {
  if (system === undefined && examples.length === 0) return style;
  const hash = createHash('sha256').update(JSON.stringify([system ?? null, examples]));
  return `${style}, with ${hash.digest('hex').slice(0, 16)}`;
}
