/**
 * @file The examples of supervised training, read without weights or an engine: tokenizes lines of `{prompt, completion}` or
 * `{messages}` as sampling does, and holds out a share of the lines.
 */
import { promptInput } from '../../data/prompt.js';
import type { Pretrained } from '../../model/checkpoint/pretrained.js';
import type { Tokenizer } from '../../model/checkpoint/tokenizer.js';
import { parameterCount } from '../../model/network/params.js';
import { type DescribedModel, usageError } from '../../model/open.js';
import { endToken, endTokens, readCompletionRow, type TokenRow } from '../../model/prompt-input.js';
import { heldOutSplitOf, requireNoAdapter } from '../../options/settings.js';
import { completeSftSettings, type SftOptions, type SftSettings } from '../../options/sft-settings.js';
import { UserError } from '../../util/errors.js';
import { describe, type JsonLine, parseJsonLines, readText } from '../../util/json.js';
import { keyedRandom } from '../../util/random.js';
import { check, list, object, oneOf, text } from '../../util/schema.js';

/** Shown in errors. */
const exampleLine = '{"prompt": "What is 7 × 12?", "completion": "7 × 12 = 84"}';

/** What determines the tokens of a line. */
export interface ExampleReader {
  readonly tokenizer: Tokenizer;
  readonly pretrained: Pick<Pretrained, 'config' | 'generation' | 'configRecord'>;
  readonly promptStyle: 'raw' | 'chat';
  /** The system message of every prompt, and of conversations that have none. */
  readonly system: string | undefined;
}

/** The content of one line. */
interface Example {
  /** Lines with the same key stay on the same side of the split. */
  readonly key: string;
  /** One row per turn of the assistant. */
  readonly rows: readonly TokenRow[];
}

export interface ExampleSet {
  readonly train: readonly TokenRow[];
  readonly heldOut: readonly TokenRow[];
  /** Number of lines on each side. */
  readonly lines: { readonly train: number; readonly heldOut: number };
}

/**
 * Reads the lines of `content` and splits them.
 *
 * @param source name of the file, for errors. @param share share of the lines to hold out. @param seed chooses them.
 * @throws UserError that names the first invalid line.
 */
export function readExamples(
  source: string,
  content: string,
  reader: ExampleReader,
  { share, seed }: { readonly share: number; readonly seed: number },
): ExampleSet {
  const examples = parseJsonLines(source, content, exampleLine).map((line) => readExample(line, reader));
  const held = heldOutKeys(examples, share, seed);
  const sides = [examples.filter(({ key }) => !held.has(key)), examples.filter(({ key }) => held.has(key))] as const;
  const rowsOf = (side: readonly Example[]) => side.flatMap(({ rows }) => rows);
  return {
    train: rowsOf(sides[0]),
    heldOut: rowsOf(sides[1]),
    lines: { train: sides[0].length, heldOut: sides[1].length },
  };
}

/** Keys that cover at least `share` of the lines, but at most half of the keys: none if there is only one. */
function heldOutKeys(examples: readonly Example[], share: number, seed: number): ReadonlySet<string> {
  const counts = new Map<string, number>();
  for (const { key } of examples) counts.set(key, (counts.get(key) ?? 0) + 1);
  const keys = keyedRandom(seed, 'held out lines').shuffle([...counts.keys()]);
  const wanted = share * examples.length;
  const held = new Set<string>();
  let lines = 0;
  for (const key of keys.slice(0, Math.floor(keys.length / 2))) {
    if (lines >= wanted) break;
    held.add(key);
    lines += counts.get(key)!;
  }
  return held;
}

/** @throws UserError that names the line. */
function readExample(line: JsonLine, reader: ExampleReader): Example {
  try {
    return readFields(line, reader);
  } catch (error) {
    const { where } = line;
    if (!(error instanceof UserError) || error.message.toLowerCase().includes(where.toLowerCase())) throw error;
    throw unusable(where, error.message.replace(/\.$/, ''));
  }
}

function readFields({ where, record }: JsonLine, reader: ExampleReader): Example {
  const { messages, prompt, completion } = record;
  if (messages !== undefined) {
    if (prompt !== undefined || completion !== undefined) {
      throw unusable(where, 'it has both `messages` and `prompt` or `completion`');
    }
    const conversation = check(conversationShape, messages, { path: where, what: 'a conversation' }, 'messages');
    return { key: keyOf(conversation), rows: conversationRows(conversation, where, reader) };
  }
  if (typeof prompt === 'string' && typeof completion === 'string' && reader.promptStyle === 'chat') {
    const conversation: Message[] = [
      { role: 'user', content: prompt },
      { role: 'assistant', content: completion },
    ];
    return { key: keyOf(conversation), rows: conversationRows(conversation, where, reader) };
  }
  return { key: JSON.stringify(prompt), rows: [textRow(prompt, completion, where, reader)] };
}

const conversationShape = list(object({ role: oneOf(['system', 'user', 'assistant']), content: text }));

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** The first message of the user. */
const keyOf = (conversation: readonly Message[]) =>
  JSON.stringify(conversation.find(({ role }) => role === 'user')?.content ?? '');

/** A row from a prompt, as text or token ids, and its completion up to the end token. */
function textRow(prompt: unknown, completion: unknown, where: string, reader: ExampleReader): TokenRow {
  if (completion === undefined) throw unusable(where, 'it has no `completion`');
  if (typeof completion === 'string' ? completion === '' : Array.isArray(completion) && completion.length === 0) {
    throw unusable(where, 'its `completion` is empty');
  }
  const row = readCompletionRow({ prompt: asked(prompt, reader), completion }, where, { ...reader, chat: false });
  return ended(row, where, reader);
}

/** Puts a text prompt into the chat template or after the system message; token ids stay as they are. */
function asked(prompt: unknown, { tokenizer, promptStyle, system }: ExampleReader): unknown {
  if (typeof prompt !== 'string' || (promptStyle === 'raw' && system === undefined)) return prompt;
  const input = promptInput(prompt, { style: promptStyle, system });
  return 'messages' in input ? tokenizer.encodeChat(input.messages) : input.text;
}

/** One row per turn of the assistant; everything before it is the prompt. */
function conversationRows(given: readonly Message[], where: string, reader: ExampleReader): TokenRow[] {
  const { system } = reader;
  const conversation: readonly Message[] =
    system === undefined || given[0]?.role === 'system' ? given : [{ role: 'system', content: system }, ...given];
  const turns = conversation.flatMap(({ role }, place) => (role === 'assistant' ? [place] : []));
  if (turns.length === 0) throw unusable(where, 'it has no assistant message');
  return turns.map((place) => turnRow(conversation.slice(0, place + 1), where, reader));
}

/** The last message as a completion of the messages before it, tokenized as part of the rendered conversation. */
function turnRow(conversation: readonly Message[], where: string, reader: ExampleReader): TokenRow {
  const { tokenizer } = reader;
  const before = tokenizer.renderChat(conversation.slice(0, -1));
  const whole = tokenizer.renderChat(conversation, { addGenerationPrompt: false });
  if (!whole.startsWith(before)) {
    throw new UserError({
      problem: `The chat template renders the assistant's turn of ${where} differently from the prompt that asks for one.`,
      expected: `it to begin with ${describe(before.slice(-60))}`,
      found: describe(whole.slice(0, before.length).slice(-60)),
      fix: "Write `prompt` and `completion` with the template's own markup, and add --prompt-style raw.",
    });
  }
  const encode = (written: string) => tokenizer.encode(written, { addSpecialTokens: false });
  const promptIds = encode(before);
  const wholeIds = encode(whole);
  // If a token spans the border, tokenize both sides separately: no sampled completion starts inside a token.
  const agree = promptIds.every((id, place) => wholeIds[place] === id);
  const completionIds = agree ? wholeIds.slice(promptIds.length) : encode(whole.slice(before.length));
  return ended({ promptIds, completionIds }, where, reader);
}

/** `row` up to its first end token, added if missing. Text that a template writes after a turn is not trained on. */
function ended({ promptIds, completionIds }: TokenRow, where: string, reader: ExampleReader): TokenRow {
  const { maxPositions } = reader.pretrained.config;
  const ends = endTokens(reader);
  const end = completionIds.findIndex((id) => ends.has(id));
  const ids = end < 0 ? [...completionIds, endToken(where, reader)] : completionIds.slice(0, end + 1);
  const tokens = promptIds.length + ids.length;
  if (tokens > maxPositions) throw unusable(where, `it has ${tokens} tokens, and the model's limit is ${maxPositions}`);
  return { promptIds, completionIds: ids };
}

function unusable(where: string, reason: string): UserError {
  return new UserError({
    problem: `${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be trained on: ${reason}.`,
    fix: `A line looks like ${exampleLine}, or {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}.`,
  });
}

/** @param content the training data. @throws UserError for invalid options or lines. */
export function openExamples(
  options: SftOptions,
  content: string,
  { pretrained, tokenizer }: DescribedModel,
): { readonly settings: SftSettings; readonly examples: ExampleSet } {
  const settings = completeSftSettings(options, {
    heldOut: heldOutSplitOf(pretrained.configRecord),
    hasChatTemplate: tokenizer.chatTemplate !== null,
    parameters: parameterCount(pretrained.config),
  });
  const { promptStyle, system, heldOut: share, seed } = settings;
  requireNoAdapter(settings, pretrained);
  const reader = { tokenizer, pretrained, promptStyle, system };
  const examples = readExamples(options.data ?? 'the data', content, reader, { share, seed });
  return { settings, examples };
}

/** The content of `--data`. @throws UserError when it is missing or cannot be read. */
export async function readData({ data }: SftOptions, signal: AbortSignal): Promise<string> {
  if (data !== undefined) return await readText(data, signal);
  throw usageError('--data is missing: a file of JSON lines to train on.', `A line looks like ${exampleLine}`);
}
