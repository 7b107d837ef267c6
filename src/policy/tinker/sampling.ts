/**
 * @file Sampling on a server of the Tinker API. One request draws all samples of a problem. Its seed is the first number of the
 * first rollout's generator, so completions do not depend on other requests, on the order of answers or on retries.
 */
import type { Completion, Rollout, SampleOptions } from '../../model/sampling/sample.js';
import { UserError } from '../../util/errors.js';
import type { TinkerClient } from './client.js';

/** Requests in flight. SkyRL tx has 15 connections to its database; with 16 requests in flight some failed. */
const concurrency = 12;

/** Rollouts below this temperature are greedy (policy/rollout.ts); the API expresses that as temperature 0. */
const greedyBelow = 1e-10;

export interface ServerWeights {
  readonly baseModel: string;
  /** Absent for the base model. */
  readonly modelPath?: string | undefined;
}

export async function sampleOnServer(
  client: TinkerClient,
  weights: ServerWeights,
  rollouts: readonly Rollout[],
  { temperature, endIds, onToken, onStep, onCompletion, signal }: SampleOptions,
): Promise<Completion[]> {
  const stop = [...endIds];
  const calls = callsOf(rollouts);
  /** Running completions, and their tokens not yet counted as decoding steps. A step adds one token to each completion. */
  let running = 0;
  let uncounted = 0;
  const answers = await pooled(calls, async ({ first, rollouts: { length: count }, seed }) => {
    const { promptIds, maxNewTokens } = rollouts[first]!;
    running += count;
    const drawn = await client.sample(
      {
        ...weights,
        promptIds,
        count,
        maxTokens: maxNewTokens,
        temperature: temperature < greedyBelow ? 0 : temperature,
        seed,
        stop,
      },
      signal,
    );
    const completions = drawn.map(({ tokens, logprobs }) =>
      completionOf(client, tokens, logprobs, { endIds, maxNewTokens }),
    );
    for (const [i, completion] of completions.entries()) {
      for (const id of completion.ids) onToken?.(first + i, id);
      onCompletion?.(first + i, completion);
      uncounted += completion.ids.length / running;
    }
    for (; uncounted >= 1; uncounted -= 1) onStep?.(running);
    running -= count;
    return completions;
  });
  return answers.flat();
}

interface SampleCall {
  /** Index of the first rollout. */
  readonly first: number;
  readonly rollouts: readonly Rollout[];
  readonly seed: number;
}

/** Consecutive rollouts of the same prompt share a call, up to this many: the server processes the prompt once for all. */
const perCall = 64;

/** The calls in order. Each draws its seed before any call starts: the first number of its first rollout's generator. */
function callsOf(rollouts: readonly Rollout[]): SampleCall[] {
  const groups: { first: number; rollouts: Rollout[] }[] = [];
  for (const [index, rollout] of rollouts.entries()) {
    const last = groups.at(-1);
    const [other] = last?.rollouts ?? [];
    const isAlike = other?.promptIds === rollout.promptIds && other.maxNewTokens === rollout.maxNewTokens;
    if (last !== undefined && isAlike && last.rollouts.length < perCall) last.rollouts.push(rollout);
    else groups.push({ first: index, rollouts: [rollout] });
  }
  return groups.map((group) => ({ ...group, seed: Math.floor(group.rollouts[0]!.uniform() * 2 ** 31) }));
}

function completionOf(
  { url }: TinkerClient,
  ids: number[],
  logProbs: number[],
  { endIds, maxNewTokens }: { readonly endIds: ReadonlySet<number>; readonly maxNewTokens: number },
): Completion {
  const last = ids.at(-1);
  if (last !== undefined && endIds.has(last)) return { ids, logProbs, finishReason: 'stop' };
  if (ids.length === maxNewTokens) return { ids, logProbs, finishReason: 'length' };
  throw new UserError({
    problem: `A completion of the Tinker server at ${url} has no end token. Its log-prob is part of the loss.`,
    expected: `one of ${[...endIds].slice(0, 8).join(', ')} at its end, or ${maxNewTokens} tokens`,
    found: `${ids.length} tokens, ${last === undefined ? 'none' : `${last} at the end`}`,
    fix: 'Check that the tokenizer of --model belongs to the model on the server.',
  });
}

/** Applies `work` to all items, at most {@link concurrency} at once. Results are in order. A failure stops new starts. */
async function pooled<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (next < items.length && !failed) {
      const index = next++;
      try {
        results[index] = await work(items[index]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
  return results;
}
