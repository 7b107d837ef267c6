/**
 * @file Text to token ids and back, and chat templates, from a model folder's tokenizer files. The work is done by the
 * two pure-JavaScript packages that `AutoTokenizer` of @huggingface/transformers is made of (a test holds them equal);
 * importing that whole package instead costs 0.2 s and 42 MB and loads the native onnxruntime and sharp, which a
 * platform may lack. Here it is 15 ms, and nothing is ever fetched.
 *
 * Rules taken from transformers 5: special tokens are added as `tokenizer.json`'s post-processor says (`add_bos_token`
 * in tokenizer_config.json is not consulted), BPE text is never "cleaned up", and `chat_template.jinja` wins over a
 * template in tokenizer_config.json.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { UserError } from '../../util/errors.js';
import { readRegularFile } from '../../util/file.js';
import { describe, isRecord, type JsonRecord } from '../../util/json.js';
import { withinTime } from '../../util/time-limit.js';
import type { ModelConfig } from '../network/config.js';
import { maxTemplateBytes, renderTemplate } from './chat-template.js';
import { readTokenizerFiles, type TokenizerFiles, type TokenizerModel, withAllNumerals } from './tokenizer-file.js';

interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface Tokenizer {
  /** One more than the highest id. The model's vocabulary may be larger; ids beyond this decode to nothing. */
  readonly length: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Ids that decoding leaves out unless asked to keep them. */
  readonly specialIds: readonly number[];
  readonly chatTemplate: string | null;
  /** SHA-256 of all that decides ids and text. */
  readonly fingerprint: string;
  /**
   * Ids of `text`, with the special tokens around it that the tokenizer's files ask for unless told otherwise.
   * Text is NFC-normalized when the tokenizer says so. Throws a UserError that names a character without tokens.
   */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** Text of `ids`; special tokens are left out unless `keepSpecialTokens`. Broken UTF-8 becomes U+FFFD. */
  decode(ids: readonly number[], options?: { keepSpecialTokens?: boolean }): string;
  /**
   * The conversation in the model's own format. `variables` are passed to the template (`enable_thinking`, ...).
   * Throws a UserError when there is no template or the template fails.
   */
  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string;
  /** Ids of the rendered conversation. The template writes the begin token itself, so none is added. */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[];
}

interface ChatOptions {
  /** End with the opening of the assistant's turn; true unless told otherwise. */
  readonly addGenerationPrompt?: boolean;
  readonly variables?: JsonRecord;
}

/** Reads the tokenizer files of `folder`. @throws UserError for whatever is wrong with them. */
export function loadTokenizer(folder: string): Tokenizer {
  const files = readTokenizerFiles(folder);
  const { path, json, config, model, length } = files;
  const engine = makeEngine(files);
  const chatTemplate = readChatTemplate(folder, config);
  // The engine cleans spaces up by default and for BPE too; transformers 5 never does for BPE.
  const isBpe = model.type === 'BPE';
  const cleanUp = !isBpe && config.clean_up_tokenization_spaces === true;
  const mayDrop = isBpe && !spellsEveryByte(model);

  const idOf = (name: string) => {
    const token = tokenText(config, name);
    return token === null ? null : (engine.token_to_id(token) ?? null);
  };
  const encode: Tokenizer['encode'] = (text, { addSpecialTokens = true } = {}) =>
    running(files, 'encoding', text.length, () => {
      // Without an unknown token the engine drops what its vocabulary cannot spell, or yields undefined.
      const ids: (number | undefined)[] = engine.encode(text, { add_special_tokens: addSpecialTokens }).ids;
      if (!isWhole(ids, length) || mayDrop) refuseUnspellable(engine, text, path);
      if (isWhole(ids, length)) return ids;
      throw new Error(`it gives the id ${describe(ids.find((id) => !isWhole([id], length)))}`);
    });
  const renderChat: Tokenizer['renderChat'] = (messages, { addGenerationPrompt = true, variables = {} } = {}) => {
    if (chatTemplate === null) {
      throw new UserError({ problem: `The model in ${folder} has no chat template.`, fix: 'Use plain prompts.' });
    }
    const context = { messages, add_generation_prompt: addGenerationPrompt, tools: null, documents: null };
    return render(chatTemplate, { ...specialTokenVariables(config), ...context, ...variables }, folder);
  };
  return {
    length,
    bosTokenId: idOf('bos_token'),
    eosTokenId: idOf('eos_token'),
    specialIds: [...engine.get_added_tokens_decoder()].filter(([, token]) => token.special).map(([id]) => id),
    chatTemplate,
    fingerprint: createHash('sha256')
      .update(JSON.stringify([json, config, chatTemplate]))
      .digest('hex'),
    encode,
    decode(ids, { keepSpecialTokens = false } = {}) {
      const known = ids.filter((id) => engine.id_to_token(id) !== undefined);
      if (known.length === 0) return '';
      const options = { skip_special_tokens: !keepSpecialTokens, clean_up_tokenization_spaces: cleanUp };
      return running(files, 'decoding', known.length, () => engine.decode(known, options));
    },
    renderChat,
    encodeChat: (messages, options) => encode(renderChat(messages, options), { addSpecialTokens: false }),
  };
}

/** Runs the engine on `size` characters or ids; the time of regular expressions is limited. */
function running<T>({ path, regex }: TokenizerFiles, step: 'encoding' | 'decoding', size: number, work: () => T): T {
  try {
    return regex[step] ? withinTime(2000 + size / 50, work) : work();
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError({ problem: `The tokenizer ${path} cannot be run: ${reason}.` }, { cause: error });
  }
}

/** @throws UserError when the tokenizer knows ids that the model has no embedding for. */
export function checkVocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: string): void {
  if (tokenizer.length <= config.vocabSize) return;
  throw new UserError({
    problem: `The tokenizer in ${folder} does not fit its model.`,
    expected: `token ids below \`vocab_size\` (${config.vocabSize})`,
    found: `ids up to ${tokenizer.length - 1}`,
    fix: 'Are the tokenizer files and config.json from the same model?',
  });
}

/**
 * Turns ids that arrive one by one into text that arrives piece by piece: a character whose bytes are spread over
 * several tokens is held back until it is whole. The pieces add up to `decode` of all ids.
 */
export function textStream(tokenizer: Tokenizer): { push(id: number): string; end(): string } {
  // The last id already told stays in front as context: some decoders treat the start of a text differently.
  let context: number[] = [];
  let pending: number[] = [];
  let told = '';
  const newText = () => {
    return tokenizer.decode([...context, ...pending]).slice(tokenizer.decode(context).length);
  };
  return {
    push(id) {
      pending.push(id);
      const text = newText();
      const whole = text.replace(/\uFFFD+$/, '');
      const piece = whole.slice(told.length);
      told = whole;
      if (whole === text) {
        context = [id];
        pending = [];
        told = '';
      }
      return piece;
    },
    end: () => newText().slice(told.length),
  };
}

/** The package's tokenizer. Building it runs the normalizer on every added token, and takes seconds for 250,000 tokens. */
function makeEngine(files: TokenizerFiles): Engine {
  const { json, config, length } = files;
  const filled = { normalizer: null, post_processor: null, decoder: null, added_tokens: [], ...json };
  const pre_tokenizer = withAllNumerals(json.pre_tokenizer ?? null);
  return running(files, 'encoding', 50_000 + 3 * length, () => new Engine({ ...filled, pre_tokenizer }, config));
}

/** A special token's text; the files give it as a string or as an object with `content`. */
function tokenText(config: JsonRecord, name: string): string | null {
  const token = config[name];
  const text = isRecord(token) ? token.content : token;
  return typeof text === 'string' && text !== '' ? text : null;
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
  // Several named templates: transformers uses the one called "default" when none is asked for.
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

function isWhole(ids: readonly (number | undefined)[], length: number): ids is number[] {
  return ids.every((id) => Number.isInteger(id) && id! >= 0 && id! < length);
}

/** Whether a BPE model has a token for whatever it is given: for all 256 bytes, or one for the unknown. */
function spellsEveryByte({ unk_token: unknown, byte_fallback: fallback, ids }: TokenizerModel): boolean {
  if (unknown !== undefined || fallback === true) return true;
  // GPT-2's alphabet: printable bytes stand for themselves, the other 68 for the characters from U+0100 on.
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 0x100;
  for (let byte = 0; byte < 256; byte += 1) {
    if (!ids.has(String.fromCharCode(printable(byte) ? byte : others++))) return false;
  }
  return true;
}

/** Throws if `text` does not come back from its tokens, naming the first character that is lost. */
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
