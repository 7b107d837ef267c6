/**
 * @file Sampling on a server, with the interface of sampling/sample.ts: one request per rollout, many at a time. A rollout's seed is
 * the first number of its own generator, so its completion does not depend on other requests, their order or their number.
 */
import { setMaxListeners } from 'node:events';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import type { Completion, Rollout, SampleOptions } from '../sampling/sample.js';
import { asCompletion, completionBody, readAnswer, type ServerAnswer } from './completion.js';
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
export interface ServerSampleOptions extends SampleOptions {
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
