/**
 * @file Reads prompts and completions, given as text or token ids, and turns them into ids that the model accepts. Every
 * error names the place in the input.
 */
import { UserError } from '../util/errors.js';
import { counted } from '../util/format.js';
import { describe } from '../util/json.js';
import { rolloutRandom } from '../util/random.js';
import type { Pretrained } from './checkpoint/pretrained.js';
import type { Tokenizer } from './checkpoint/tokenizer.js';
import type { CompletionRow } from './network/log-probs.js';
import type { Rollout } from './sampling/sample.js';
import { isBuiltin } from './shipped.js';

export interface PromptReader {
  readonly tokenizer: Tokenizer;
  readonly pretrained: Pick<Pretrained, 'config' | 'generation' | 'configRecord'>;
  /** Whether texts are user messages, to be put into the model's chat template. */
  readonly chat: boolean;
}

/** A prompt and its completion, in new arrays. */
export interface TokenRow extends CompletionRow {
  readonly promptIds: readonly number[];
  readonly completionIds: readonly number[];
}

/**
 * Ids of a prompt, given as text, to which the tokenizer adds its special tokens, or as ids. For a built-in model, a missing
 * line break is added to the end of a text.
 *
 * @param where `line 3 of prompts.jsonl`.
 * @throws UserError for any other value, an empty prompt, unknown ids, or more tokens than the model has positions.
 */
export function readPrompt(value: unknown, where: string, { tokenizer, pretrained, chat }: PromptReader): number[] {
  const { config } = pretrained;
  if (typeof value === 'string') {
    if (value === '') throw refused(where, 'the prompt is empty');
    const text = value.endsWith('?') && isBuiltin(pretrained.configRecord) ? `${value}\n` : value;
    const ids = chat ? tokenizer.encodeChat([{ role: 'user', content: value }]) : tokenizer.encode(text);
    if (ids.length === 0) throw refused(where, `the prompt ${describe(value)} has no tokens`);
    checkLength(ids.length, where, 'the prompt', config);
    return ids;
  }
  const ids = readIds(value, where, 'prompt', config);
  if (ids.length === 0) throw refused(where, 'the prompt is empty');
  checkLength(ids.length, where, 'the prompt', config);
  return ids;
}

/** Ids of a completion, given as text, to which no special tokens are added, or as ids. May be empty. */
function readCompletion(value: unknown, where: string, { tokenizer, pretrained }: PromptReader): number[] {
  if (typeof value !== 'string') return readIds(value, where, 'completion', pretrained.config);
  return value === '' ? [] : tokenizer.encode(value, { addSpecialTokens: false });
}

/**
 * Reads a prompt with its completion, each text or ids; `eos: true` appends the end token.
 *
 * @throws UserError as {@link readPrompt}, and when `eos` is set for a model without an end token.
 */
export function readCompletionRow(
  { prompt, completion, eos = false }: { prompt?: unknown; completion?: unknown; eos?: unknown },
  where: string,
  reader: PromptReader,
): TokenRow {
  const promptIds = readPrompt(prompt, where, reader);
  const completionIds = readCompletion(completion, where, reader);
  if (typeof eos !== 'boolean') {
    throw new UserError(`The \`eos\` of ${where} must be true or false, not ${describe(eos)}.`);
  }
  if (eos) completionIds.push(endToken(where, reader));
  checkLength(promptIds.length + completionIds.length, where, 'prompt and completion', reader.pretrained.config);
  return { promptIds, completionIds };
}

/**
 * The end token. Of several end ids, the tokenizer's own is the one that training texts ended with.
 *
 * @throws UserError that names `where`, for a model without one.
 */
export function endToken(where: string, { tokenizer, pretrained }: Omit<PromptReader, 'chat'>): number {
  const { eosTokenIds } = pretrained.generation;
  const own = tokenizer.eosTokenId;
  const id = own !== null && (eosTokenIds.length === 0 || eosTokenIds.includes(own)) ? own : eosTokenIds[0];
  if (id === undefined) throw new UserError(`No end token can be added to ${where}: the model names none.`);
  return id;
}

/** The ids that end a completion: the model's, or its tokenizer's if the model names none. */
export function endTokens({ tokenizer, pretrained }: Omit<PromptReader, 'chat'>): ReadonlySet<number> {
  const { eosTokenIds } = pretrained.generation;
  return new Set(eosTokenIds.length > 0 ? eosTokenIds : [tokenizer.eosTokenId ?? -1]);
}

export interface RolloutPlan {
  readonly samples: number;
  readonly maxNewTokens: number;
  readonly seed: number;
  /** Index of each prompt's first sample. */
  readonly firstSample: number;
  readonly maxPositions: number;
}

/** Limit per call, since ids and log-probs stay in memory until all completions are finished. */
const maxCompletions = 100_000;

/**
 * `samples` rollouts of each prompt. Random numbers are keyed by the prompt itself, not by its position, so that a completion
 * does not depend on other prompts. A repeated prompt continues with the next sample numbers.
 *
 * @throws UserError when there are too many completions for one call.
 */
export function planRollouts(
  prompts: readonly (readonly number[])[],
  { samples, maxNewTokens, seed, firstSample, maxPositions }: RolloutPlan,
): Rollout[] {
  if (prompts.length * samples > maxCompletions) {
    throw new UserError({
      problem: `${samples} samples of ${counted(prompts.length, 'prompt')} make ${prompts.length * samples} completions.`,
      expected: `at most ${maxCompletions} at once`,
      fix: 'Use fewer samples, or fewer prompts at once.',
    });
  }
  const given = new Map<string, number>();
  return prompts.flatMap((ids) => {
    const problem = ids.join(',');
    const first = given.get(problem) ?? firstSample;
    given.set(problem, first + samples);
    return Array.from({ length: samples }, (_, number): Rollout => {
      const { uniform } = rolloutRandom({ seed, stage: 'generate', problem, sample: first + number });
      // The last token needs no position, since nothing follows it.
      return { promptIds: ids, uniform, maxNewTokens: Math.min(maxNewTokens, maxPositions - ids.length + 1) };
    });
  });
}

function checkLength(count: number, where: string, what: string, { maxPositions }: Pretrained['config']): void {
  if (count > maxPositions) {
    const limit = `the model's limit is ${maxPositions} (\`max_position_embeddings\`)`;
    throw refused(where, `${what} has ${count} tokens, and ${limit}`);
  }
}

function readIds(value: unknown, where: string, name: string, { vocabSize }: Pretrained['config']): number[] {
  if (!Array.isArray(value)) {
    throw refused(where, `\`${name}\` must be a string or a list of token ids, not ${describe(value)}`);
  }
  const wrong = value.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (wrong !== undefined) {
    throw refused(where, `\`${name}\` contains ${describe(wrong)}, which is not a token id below ${vocabSize}`);
  }
  return value;
}

function refused(where: string, reason: string): UserError {
  return new UserError(`${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be used: ${reason}.`);
}
