/**
 * @file Samples on an OpenAI-compatible server (POST /v1/completions, as extended by vLLM and SGLang), with the interface of
 * sampling/sample.ts: one request per rollout, many at a time, which the server may batch in any way. A rollout's seed is
 * the first number of its own generator, so its completion does not depend on other requests, their order or their number.
 */
import { setMaxListeners } from 'node:events';
import { UserError } from '../../util/errors.js';
import { check, integer, list, mapOf, number, object, optional, orNull, text } from '../../util/schema.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import type { Completion, Rollout, SampleOptions } from '../sampling/sample.js';
import { ask, type ServerConnection, ServerRefusal } from './http.js';

/** A server that passed the tests of open.ts. */
export interface SamplingServer {
  readonly connection: ServerConnection;
  /** Name of the model on the server. */
  readonly model: string;
  /** The server's program and version, and its name of the model: `vllm 0.32.0 serving pol`. */
  readonly description: string;
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  /** Largest number of concurrent requests. */
  readonly concurrency: number;
  /** Whether equal seeds give equal completions. */
  readonly seeded: boolean;
  /** Why completions have no log-probs at the sampling temperature; absent if they have. */
  readonly withoutLogProbs?: string | undefined;
}

/** Sampling options in addition to those of the local sampler. */
interface ServerSampleOptions extends SampleOptions {
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
}

/** Lower temperatures mean greedy decoding (policy/rollout.ts). */
const greedyBelow = 1e-6;
/** Seeds that every server accepts. */
const seeds = 2 ** 31;

/**
 * Completes every rollout with the model or adapter `model`.
 *
 * @param again called if the server does not know `model`, for example after a restart; the request is then repeated once.
 * @throws UserError when the server refuses a request, sends an invalid answer or stops answering; the signal's reason.
 */
export async function sampleOnServer(
  server: SamplingServer,
  model: string,
  rollouts: readonly Rollout[],
  options: ServerSampleOptions,
  again?: () => Promise<void>,
): Promise<Completion[]> {
  const { temperature, endIds, topP, topK, onToken, onStep, onCompletion, signal } = options;
  const completions: Completion[] = new Array(rollouts.length);
  const rest = rollouts.entries();
  // The first failure stops the other requests.
  const stop = new AbortController();
  const signals = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]);
  setMaxListeners(0, signals);
  let running = 0;
  let tokens = 0;
  const work = async () => {
    for (const [index, { promptIds, maxNewTokens, uniform }] of rest) {
      running += 1;
      const request = {
        ...{ model, promptIds, maxNewTokens, endIds, topP, topK },
        temperature: temperature < greedyBelow ? 0 : temperature,
        seed: Math.floor(uniform() * seeds),
      };
      const answer = await requestCompletion(server, request, signals).catch(async (error) => {
        if (again === undefined || !(error instanceof ServerRefusal) || error.status !== 404) throw error;
        await again();
        return await requestCompletion(server, request, signals);
      });
      const reported = server.withoutLogProbs === undefined ? answer : { ...answer, logProbs: undefined };
      const completion = asCompletion(reported, endIds, server.tokenizer);
      completions[index] = completion;
      for (const id of completion.ids) onToken?.(index, id);
      onCompletion?.(index, completion);
      // A step adds one token to every running rollout, as in the local sampler.
      for (tokens += completion.ids.length; tokens >= running; tokens -= running) onStep?.(running);
      running -= 1;
    }
  };
  const workers = Array.from({ length: Math.min(server.concurrency, rollouts.length) }, work);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(workers);
    signal?.throwIfAborted();
    throw error;
  }
  onStep?.(1);
  return completions;
}

export async function requestCompletion(
  { connection, vocabSize }: Pick<SamplingServer, 'connection' | 'vocabSize'>,
  request: Parameters<typeof completionBody>[0],
  signal?: AbortSignal,
): Promise<ServerAnswer> {
  const value = await ask(connection, 'completions', completionBody(request), signal);
  return readAnswer(value, connection.url, vocabSize);
}

interface CompletionRequest {
  /** Name of the model or adapter on the server. */
  readonly model: string;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP?: number | undefined;
  /** 0 for all tokens. */
  readonly topK?: number | undefined;
  readonly seed: number;
  readonly endIds: ReadonlySet<number>;
  /** How many of the most likely tokens to report at each position, besides the sampled one. */
  readonly top?: number;
}

/**
 * The body of a request. It sets everything that a server would otherwise take from the model's generation_config.json, since
 * penalties, top-k and top-p would bias V* and the loss. Parameters beyond OpenAI's are those of vLLM and SGLang; other servers
 * ignore them.
 */
function completionBody(request: CompletionRequest): Record<string, unknown> {
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

/** A server's answer. */
export interface ServerAnswer {
  readonly text: string;
  /** Absent if the server does not report token ids. */
  readonly ids: readonly number[] | undefined;
  /** One per token of `ids`; absent if the server does not report them. */
  readonly logProbs: readonly number[] | undefined;
  /** Log-prob of the most likely first token, if requested. */
  readonly best: number | undefined;
  readonly finishReason: 'stop' | 'length';
}

/** @throws UserError that names the invalid field. */
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
 * The completion in the form of tinyzero's own sampler: it ends with the first end token.
 *
 * A server without token ids suffices for rewards, which depend only on the text: the text is encoded, and an end token is added
 * if the server stopped at one. Log-probs are returned only if the server reports those of all tokens.
 */
function asCompletion(
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
