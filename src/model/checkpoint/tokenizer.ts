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
import { UserError } from '../../util/errors.js';
import { readRegularFile } from '../../util/file.js';
import type { JsonRecord } from '../../util/json.js';
import { withinTime } from '../../util/time-limit.js';
import type { ModelConfig } from '../network/config.js';
import { maxTemplateBytes, renderTemplate } from './chat-template.js';
import { type TextTokenizer, textTokenizer, tokenText } from './text-tokenizer.js';
import { readTokenizerFiles } from './tokenizer-file.js';

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
      throw new UserError({ problem: `The model in ${folder} has no chat template.`, fix: 'Use plain prompts.' });
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
    fix: 'Are the tokenizer files and config.json from the same model?',
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
