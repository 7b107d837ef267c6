/**
 * @file One completion of a prompt by an OpenAI-compatible server: its request and its answer (POST /v1/completions, as vLLM
 * and SGLang extend it). Each completion is a separate request with its own seed, so it does not depend on what
 * else is sampled; the server may batch requests in any way.
 */

import { UserError } from '../../util/errors.js';
import { check, integer, list, mapOf, number, object, optional, orNull, text } from '../../util/schema.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import type { Completion } from '../sampling/sample.js';

export interface CompletionRequest {
  /** Name of the model or adapter on the server. */
  readonly model: string;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** 0: greedy. */
  readonly temperature: number;
  readonly topP?: number | undefined;
  /** 0: all tokens. */
  readonly topK?: number | undefined;
  readonly seed: number;
  readonly endIds: ReadonlySet<number>;
  /** Number of the most likely tokens whose log-probs are asked for at each place, besides the drawn one. */
  readonly top?: number;
}

/**
 * The body of a request. Whatever a server would take from the model's generation_config.json is given, since penalties, top-k
 * and top-p would bias V* and the loss. Parameters beyond OpenAI's are vLLM's and SGLang's; servers without them ignore them.
 */
export function completionBody(request: CompletionRequest): Record<string, unknown> {
  const { model, promptIds, maxNewTokens, temperature, topP = 1, topK = 0, seed, endIds, top = 0 } = request;
  return {
    model,
    prompt: promptIds,
    n: 1,
    max_tokens: maxNewTokens,
    temperature,
    top_p: topP,
    top_k: topK > 0 ? topK : -1,
    min_p: 0,
    repetition_penalty: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    seed,
    logprobs: top,
    stop_token_ids: [...endIds].filter((id) => id >= 0),
    return_token_ids: true,
    return_tokens_as_token_ids: true,
    stream: false,
  };
}

const logProb = number({ max: 1e-3 });
const answerShape = object({
  choices: list(
    object({
      text,
      finish_reason: orNull(text),
      token_ids: optional(list(integer({ min: 0 }))),
      logprobs: optional(
        object({
          tokens: optional(list(text)),
          token_logprobs: optional(list(logProb)),
          top_logprobs: optional(list(optional(mapOf(logProb)))),
        }),
      ),
    }),
  ),
});

/** An answer as the server gave it. */
export interface ServerAnswer {
  readonly text: string;
  /** Absent if the server reports no token ids. */
  readonly ids: readonly number[] | undefined;
  /** As long as `ids`; absent if the server reports none. */
  readonly logProbs: readonly number[] | undefined;
  /** Log-prob of the most likely token at the first place, if it was asked for. */
  readonly best: number | undefined;
  readonly finishReason: 'stop' | 'length';
}

/** @throws UserError naming the field that is not as the protocol has it. */
export function readAnswer(value: unknown, url: string, vocabSize: number): ServerAnswer {
  const source = { path: `The answer of the server at ${url}`, what: 'a completion' };
  const { choices } = check(answerShape, value, source);
  const [choice] = choices;
  const fail = (expected: string, found: string) => {
    return new UserError({ problem: `${source.path} is not ${source.what}.`, expected, found });
  };
  if (choice === undefined || choices.length !== 1) throw fail('one choice', `${choices.length} choices`);
  const { token_ids, logprobs, finish_reason } = choice;
  if (finish_reason !== 'stop' && finish_reason !== 'length') {
    throw fail('a completion that ended by "stop" or "length"', `finish_reason ${JSON.stringify(finish_reason)}`);
  }
  const named = logprobs?.tokens?.map((token) => /^token_id:(\d{1,9})$/.exec(token)?.[1]);
  const ids = token_ids ?? (named?.every((id) => id !== undefined) ? named.map(Number) : undefined);
  const unknown = ids?.find((id) => id >= vocabSize);
  if (unknown !== undefined)
    throw fail(`token ids below ${vocabSize}, the size of --model's vocabulary`, `id ${unknown}`);
  const logProbs = logprobs?.token_logprobs;
  if (ids !== undefined && logProbs !== undefined && ids.length !== logProbs.length) {
    throw fail('as many log-probs as tokens', `${logProbs.length} for ${ids.length} tokens`);
  }
  const tops = [...(logprobs?.top_logprobs?.[0]?.values() ?? [])];
  const best = tops.length > 0 ? Math.max(...tops) : undefined;
  return { text: choice.text, ids, logProbs, best, finishReason: finish_reason };
}

/**
 * The completion in the form of this program's own sampler: it ends with the first end token.
 *
 * A server that reports no token ids is good enough for rewards, which depend on the text alone; its text is then encoded, and
 * an end token is added where the server stopped. Without log-probs of all tokens, there are none.
 */
export function asCompletion(
  { text, ids: reported, logProbs, finishReason }: ServerAnswer,
  endIds: ReadonlySet<number>,
  tokenizer: Tokenizer,
): Completion {
  const ids = [...(reported ?? tokenizer.encode(text, { addSpecialTokens: false }))];
  const end = ids.findIndex((id) => endIds.has(id));
  if (end >= 0) {
    return {
      ids: ids.slice(0, end + 1),
      logProbs: reported && logProbs ? logProbs.slice(0, end + 1) : [],
      finishReason: 'stop',
    };
  }
  if (finishReason === 'length') return { ids, logProbs: reported && logProbs ? [...logProbs] : [], finishReason };
  const [first] = endIds;
  return { ids: first === undefined || first < 0 ? ids : [...ids, first], logProbs: [], finishReason };
}
