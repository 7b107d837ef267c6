/**
 * @file Text to token ids and back, from the content of a tokenizer's files. No files and no Node, since a page trains with it too.
 * BPE text is never "cleaned up", as in transformers 5.
 */
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { UserError } from '../../util/errors.js';
import { describe, isRecord, type JsonRecord } from '../../util/json.js';
import { type TokenizerFiles, type TokenizerModel, withAllNumerals } from './tokenizer-file.js';

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

/** Calls `work`, in which the package handles `size` characters or ids, perhaps with a time limit for its regular expressions. */
export type RunStep = <T>(step: 'encoding' | 'decoding', size: number, work: () => T) => T;

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
    throw new UserError({ problem: `The tokenizer ${path} cannot be run: ${reason}.` }, { cause: error });
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
export function tokenText(config: JsonRecord, name: string): string | null {
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
