/**
 * @file Tokenizers and chat templates of model folders: text to token ids and back. Uses the two pure-JavaScript packages
 * behind `AutoTokenizer` of @huggingface/transformers (a test checks that the results agree). Importing that package itself
 * would cost 0.2 s and 42 MB and load the native onnxruntime and sharp, which some platforms lack; this takes 15 ms and
 * never downloads anything.
 *
 * Rules of transformers 5: special tokens are added by the post-processor of `tokenizer.json` (`add_bos_token` in
 * tokenizer_config.json is ignored), BPE text is never "cleaned up", and `chat_template.jinja` takes precedence over a
 * template in tokenizer_config.json.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { UserError } from '../../util/errors.js';
import { readRegularFile } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import { describe, isRecord } from '../../util/json.js';
import { withinTime } from '../../util/time-limit.js';
import type { ModelConfig } from '../network/config.js';
import { maxTemplateBytes, renderTemplate } from './chat-template.js';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerModel, withAllNumerals } from './tokenizer-file.js';

/** The part of a tokenizer that needs no chat template. */
export interface TextTokenizer {
  /** One more than the highest id. The model's vocabulary may be larger; higher ids decode to nothing. */
  readonly length: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Ids that decoding omits unless `keepSpecialTokens` is set. */
  readonly specialIds: readonly number[];
  /**
   * Ids of `text`, with the special tokens that the tokenizer's files add unless `addSpecialTokens` is false. Text is
   * normalised as the files say.
   *
   * @throws UserError naming a character that the vocabulary cannot spell.
   */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** Text of `ids`; special tokens are omitted unless `keepSpecialTokens`. Invalid UTF-8 becomes U+FFFD. */
  decode(ids: readonly number[], options?: { keepSpecialTokens?: boolean }): string;
}

/** Calls `work`, in which the package handles `size` characters or ids; may limit the time of its regular expressions. */
type RunStep = <T>(step: 'encoding' | 'decoding', size: number, work: () => T) => T;

/** @param run runs each use of the package. @throws UserError when the package rejects the files. */
export function textTokenizer(files: Omit<TokenizerFiles, 'regex'>, run: RunStep): TextTokenizer {
  const { path, config, model, length } = files;
  const running: RunStep = (step, size, work) => explained(path, () => run(step, size, work));
  const engine = makeEngine(files, running);
  // The package cleans up spaces by default, even for BPE; transformers 5 never does for BPE.
  const isBpe = model.type === 'BPE';
  const cleanUp = !isBpe && config.clean_up_tokenization_spaces === true;
  const mayDrop = isBpe && !spellsEveryByte(model);
  const idOf = (name: string) => {
    const token = tokenText(config, name);
    return token === null ? null : (engine.token_to_id(token) ?? null);
  };
  return {
    length,
    bosTokenId: idOf('bos_token'),
    eosTokenId: idOf('eos_token'),
    specialIds: [...engine.get_added_tokens_decoder()].filter(([, token]) => token.special).map(([id]) => id),
    encode: (text, { addSpecialTokens = true } = {}) =>
      running('encoding', text.length, () => {
        // Without an unknown token, the package drops what its vocabulary cannot spell, or returns undefined.
        const ids: (number | undefined)[] = engine.encode(text, { add_special_tokens: addSpecialTokens }).ids;
        if (!isWhole(ids, length) || mayDrop) refuseUnspellable(engine, text, path);
        if (isWhole(ids, length)) return ids;
        throw new Error(`it gives the id ${describe(ids.find((id) => !isWhole([id], length)))}`);
      }),
    decode(ids, { keepSpecialTokens = false } = {}) {
      const known = ids.filter((id) => engine.id_to_token(id) !== undefined);
      if (known.length === 0) return '';
      const options = { skip_special_tokens: !keepSpecialTokens, clean_up_tokenization_spaces: cleanUp };
      return running('decoding', known.length, () => engine.decode(known, options));
    },
  };
}

/** @throws UserError with the reason when `work` fails. */
function explained<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError({ problem: `The tokenizer ${path} cannot be used: ${reason}.` }, { cause: error });
  }
}

/** The package's tokenizer. Building one takes seconds for 250,000 tokens. */
function makeEngine(files: Omit<TokenizerFiles, 'regex'>, running: RunStep): Engine {
  const { json, config, length } = files;
  const filled = { normalizer: null, post_processor: null, decoder: null, added_tokens: [], ...json };
  const pre_tokenizer = withAllNumerals(json.pre_tokenizer ?? null);
  return running('encoding', 50_000 + 3 * length, () => new Engine({ ...filled, pre_tokenizer }, config));
}

/** A special token's text, given as a string or as an object with `content`. */
function tokenText(config: JsonRecord, name: string): string | null {
  const token = config[name];
  const text = isRecord(token) ? token.content : token;
  return typeof text === 'string' && text !== '' ? text : null;
}

function isWhole(ids: readonly (number | undefined)[], length: number): ids is number[] {
  return ids.every((id) => Number.isInteger(id) && id! >= 0 && id! < length);
}

/** Whether a BPE model can encode any text: it has tokens for all 256 bytes, or an unknown token. */
function spellsEveryByte({ unk_token: unknown, byte_fallback: fallback, ids }: TokenizerModel): boolean {
  if (unknown !== undefined || fallback === true) return true;
  // GPT-2's alphabet: printable bytes represent themselves; the other 68 are represented by U+0100 and following.
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 0x100;
  for (let byte = 0; byte < 256; byte += 1) {
    if (!ids.has(String.fromCharCode(printable(byte) ? byte : others++))) return false;
  }
  return true;
}

/** @throws UserError naming the first character of `text` that is lost in its tokens. */
function refuseUnspellable(engine: Engine, text: string, path: string): void {
  const normalize = engine.normalizer as ((text: string) => string) | null;
  const wanted = [...(normalize?.(text) ?? text)];
  const ids: (number | undefined)[] = engine.encode(text, { add_special_tokens: false }).ids;
  const known = ids.filter((id) => id !== undefined);
  const got = known.length === 0 ? [] : [...engine.decode(known, { clean_up_tokenization_spaces: false })];
  const lost = wanted.find((char, i) => char !== got[i]);
  if (lost === undefined) return;
  throw new UserError({
    problem: `The vocabulary of ${path} cannot spell ${JSON.stringify(lost)}.`,
    found: JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text),
  });
}

interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface Tokenizer extends TextTokenizer {
  readonly chatTemplate: string | null;
  /** SHA-256 of everything that determines ids and text. */
  readonly fingerprint: string;
  /**
   * The conversation in the model's chat format. `variables` are passed to the template (`enable_thinking`, ...).
   *
   * @throws UserError when there is no template or the template fails.
   */
  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string;
  /** Ids of the rendered conversation. No begin token is added, since templates write it themselves. */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[];
}

interface ChatOptions {
  /** Whether to end with the start of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  readonly variables?: JsonRecord;
}

/** Loads the tokenizer of a model folder. @throws UserError when its files are missing or invalid. */
export function loadTokenizer(folder: string): Tokenizer {
  const files = readTokenizerFiles(folder);
  const { json, config, regex } = files;
  const chatTemplate = readChatTemplate(folder, config);
  const text = textTokenizer(files, (step, size, work) => (regex[step] ? withinTime(2000 + size / 50, work) : work()));
  const renderChat: Tokenizer['renderChat'] = (messages, { addGenerationPrompt = true, variables = {} } = {}) => {
    if (chatTemplate === null) {
      throw new UserError({
        problem: `The model in ${folder} has no chat template.`,
        fix: 'Use plain prompts (--prompt-style raw).',
      });
    }
    const context = { messages, add_generation_prompt: addGenerationPrompt, tools: null, documents: null };
    return render(chatTemplate, { ...specialTokenVariables(config), ...context, ...variables }, folder);
  };
  return {
    ...text,
    chatTemplate,
    fingerprint: createHash('sha256')
      .update(JSON.stringify([json, config, chatTemplate]))
      .digest('hex'),
    renderChat,
    encodeChat: (messages, options) => text.encode(renderChat(messages, options), { addSpecialTokens: false }),
  };
}

/** @throws UserError when the tokenizer has ids without an embedding in the model. */
export function checkVocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: string): void {
  if (tokenizer.length <= config.vocabSize) return;
  throw new UserError({
    problem: `The tokenizer in ${folder} does not fit its model.`,
    expected: `token ids below \`vocab_size\` (${config.vocabSize})`,
    found: `ids up to ${tokenizer.length - 1}`,
    fix: 'Check that the tokenizer files and config.json are from the same model.',
  });
}

/**
 * Decodes ids incrementally: a character whose bytes span several tokens is held back until it is complete. The pieces
 * joined equal `decode` of all ids.
 */
export function textStream(tokenizer: Pick<Tokenizer, 'decode'>): { push(id: number): string; end(): string } {
  // The last id already emitted is kept as context, since some decoders treat the start of a text differently.
  let context: number[] = [];
  let pending: number[] = [];
  let emitted = '';
  const newText = () => {
    return tokenizer.decode([...context, ...pending]).slice(tokenizer.decode(context).length);
  };
  return {
    push(id) {
      pending.push(id);
      const text = newText();
      const whole = text.replace(/\uFFFD+$/, '');
      const piece = whole.slice(emitted.length);
      emitted = whole;
      if (whole === text) {
        context = [id];
        pending = [];
        emitted = '';
      }
      return piece;
    },
    end: () => newText().slice(emitted.length),
  };
}

function specialTokenVariables(config: JsonRecord): JsonRecord {
  const names = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
  const pairs = names.map((name) => [name, tokenText(config, name)] as const);
  return Object.fromEntries(pairs.filter(([, text]) => text !== null));
}

function readChatTemplate(folder: string, config: JsonRecord): string | null {
  const file = join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readRegularFile(file, maxTemplateBytes).toString();
  const template = config.chat_template;
  if (typeof template === 'string') return template;
  // Of several named templates, transformers uses "default" unless another is requested.
  if (Array.isArray(template)) return template.find((entry) => entry.name === 'default')?.template ?? null;
  return null;
}

function render(template: string, variables: Record<string, unknown>, folder: string): string {
  try {
    return renderTemplate(template, variables);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`The chat template in ${folder} failed: ${reason}.`, { cause: error });
  }
}
