/**
 * @file A model of a web export: prompts to token ids, and greedy answers. Copied into the page's folder, so it imports only files there.
 */
import { argMax, createDecoder, type DecoderConfig, readTensors } from './decoder.js';

/** `model.json` of one model of the page. */
export interface PageModel {
  /** Shown above its answers. */
  readonly name: string;
  readonly decoder: DecoderConfig;
  readonly endIds: readonly number[];
  readonly maxNewTokens: number;
  /** The text of a multiplication, with `{a}` and `{b}` for its factors. */
  readonly wording: string;
  /** The texts before and after a question: the chat template's, or empty. */
  readonly around: readonly [before: string, after: string];
  /** Whether the tokenizer adds its special tokens; a chat template writes them itself. */
  readonly addSpecialTokens: boolean;
}

/** The parts of @huggingface/tokenizers that are used. */
export interface PageTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: readonly number[], options: object): string;
}

interface PageAnswer {
  readonly promptIds: readonly number[];
  /** Includes the end token, if there is one. */
  readonly ids: readonly number[];
  readonly text: string;
  /** The model ended the answer itself. */
  readonly finished: boolean;
}

export interface PageSession {
  readonly model: PageModel;
  /** The prompt of a multiplication. */
  product(a: number, b: number): string;
  /** The prompt of any other text. */
  prompt(question: string): string;
  /** @param onText receives the text so far after every token. */
  answer(prompt: string, onText?: (text: string) => void | Promise<void>): Promise<PageAnswer>;
}

/** @param kernel the code of `kernel.wasm`. */
export function createSession(
  model: PageModel,
  weights: ArrayBuffer,
  tokenizer: PageTokenizer,
  kernel: ArrayBuffer,
): PageSession {
  const decoder = createDecoder(model.decoder, readTensors(weights), kernel);
  /** The tokens in the decoder's cache: a prompt that begins with the same tokens does not read them again. */
  let cached: number[] = [];
  const decode = (ids: readonly number[]) =>
    ids.length === 0 ? '' : tokenizer.decode(ids, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  const surround = (question: string) => model.around.join(question);
  return {
    model,
    product: (a, b) => surround(model.wording.replace('{a}', String(a)).replace('{b}', String(b))),
    prompt: surround,
    async answer(prompt, onText) {
      const promptIds = tokenizer.encode(prompt, { add_special_tokens: model.addSpecialTokens }).ids;
      if (promptIds.length === 0) throw new Error('the prompt has no tokens');
      if (promptIds.some((id) => id === undefined)) throw new Error('the model cannot spell this');
      const different = promptIds.findIndex((id, i) => id !== cached[i]);
      // The last token has to be read for the logits after it.
      decoder.keep(Math.min(different === -1 ? promptIds.length : different, promptIds.length - 1));
      const ids: number[] = [];
      cached = [];
      let logits = decoder.take(promptIds.slice(decoder.length));
      const room = Math.min(model.maxNewTokens, model.decoder.maxPositions - promptIds.length);
      let finished = false;
      while (!finished && ids.length < room) {
        const id = argMax(logits);
        ids.push(id);
        finished = model.endIds.includes(id);
        await onText?.(decode(ids));
        if (!finished && ids.length < room) logits = decoder.take([id]);
      }
      cached = [...promptIds, ...ids].slice(0, decoder.length);
      return { promptIds, ids, text: decode(ids), finished };
    },
  };
}
