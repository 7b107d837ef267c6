/**
 * @file Prompts and completions as commands are given them, text or token ids, turned into ids that the model can take.
 * Every error names the place in the input.
 */
import { UserError } from './errors.js';
import type { ModelConfig } from './model/config.js';
import type { Tokenizer } from './model/tokenizer.js';
import { describe } from './util/json.js';

export interface PromptReader {
  readonly tokenizer: Tokenizer;
  readonly config: ModelConfig;
  /** Texts are messages of a user, put into the model's chat template. */
  readonly chat: boolean;
}

/**
 * Ids of a prompt: text, with the special tokens that its tokenizer adds, or ids as they are.
 *
 * @param where `line 3 of prompts.jsonl`.
 * @throws UserError for anything else, nothing at all, unknown ids, or more tokens than the model has positions.
 */
export function readPrompt(value: unknown, where: string, { tokenizer, config, chat }: PromptReader): number[] {
  if (typeof value === 'string') {
    if (value === '') throw refused(where, 'the prompt is empty');
    const ids = chat ? tokenizer.encodeChat([{ role: 'user', content: value }]) : tokenizer.encode(value);
    if (ids.length === 0) throw refused(where, `the prompt ${describe(value)} has no tokens`);
    checkLength(ids.length, where, 'the prompt', config);
    return ids;
  }
  const ids = readIds(value, where, 'prompt', config);
  if (ids.length === 0) throw refused(where, 'the prompt is empty');
  checkLength(ids.length, where, 'the prompt', config);
  return ids;
}

/** Ids of a completion that follows a prompt: text without special tokens of its own, or ids; none is allowed. */
export function readCompletion(value: unknown, where: string, { tokenizer, config }: PromptReader): number[] {
  if (typeof value !== 'string') return readIds(value, where, 'completion', config);
  return value === '' ? [] : tokenizer.encode(value, { addSpecialTokens: false });
}

/** @throws UserError when `count` tokens are more than the model has positions. */
export function checkLength(count: number, where: string, what: string, { maxPositions }: ModelConfig): void {
  if (count > maxPositions) {
    const limit = `the model's limit is ${maxPositions} (\`max_position_embeddings\`)`;
    throw refused(where, `${what} has ${count} tokens, and ${limit}`);
  }
}

function readIds(value: unknown, where: string, name: string, { vocabSize }: ModelConfig): number[] {
  if (!Array.isArray(value)) {
    throw refused(where, `\`${name}\` must be a text or a list of token ids, not ${describe(value)}`);
  }
  const wrong = value.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (wrong !== undefined) {
    throw refused(where, `\`${name}\` holds ${describe(wrong)}, which is no token id below ${vocabSize}`);
  }
  return value as number[];
}

function refused(where: string, reason: string): UserError {
  return new UserError(`${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be used: ${reason}.`);
}
