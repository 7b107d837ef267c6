/**
 * @file Opens a sampling server: finds its model, checks that the tokenizers agree and that prompts fit, probes what the
 * server supports, and compares its log-probs with those of the local weights. Nothing is inferred from the name of the
 * program; every ability is tested.
 */

import type { Engine } from '../../engine/backend.js';
import { UserError } from '../../util/errors.js';
import { isRecord, quote } from '../../util/json.js';
import { memoryLimit } from '../../util/machine.js';
import { check, integer, list, object, optional, text } from '../../util/schema.js';
import { mean } from '../../util/statistics.js';
import type { Pretrained } from '../checkpoint/pretrained.js';
import type { Tokenizer } from '../checkpoint/tokenizer.js';
import { createModelProgram, parameterState, stateBytes } from '../load.js';
import { planScoring, score, scoreFunctions } from '../score.js';
import { ask, outsideV1, type ServerConnection, ServerRefusal } from './http.js';
import type { ServerAnswer } from './sampler.js';
import { requestCompletion, type SamplingServer } from './sampler.js';

export interface OpenServer {
  readonly connection: ServerConnection;
  /** Name of the model on the server; absent if it has only one. */
  readonly model: string | undefined;
  readonly concurrency: number;
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  /** A few of the job's prompts, as token ids, longest first. */
  readonly prompts: readonly (readonly number[])[];
  readonly maxNewTokens: number;
  /** Of the job's samples. */
  readonly temperature: number;
  readonly endIds: ReadonlySet<number>;
  readonly signal: AbortSignal;
}

const modelsShape = object({
  data: list(
    object({
      id: text,
      owned_by: optional(text),
      parent: optional(text),
      max_model_len: optional(integer({ min: 1 })),
    }),
  ),
});

/** @throws UserError when the server does not answer, or is unusable for this model. */
export async function openServer(request: OpenServer): Promise<SamplingServer> {
  const { connection, concurrency, tokenizer, vocabSize, signal } = request;
  const served = await findModel(request);
  requireRoom(request, served);
  await requireTokenizer(request, served.id);
  const abilities = await tryCompletions(request, served.id);
  const version = await versionOf(connection, signal);
  const program = [served.owned_by ?? 'a server', version].filter((part) => part !== undefined).join(' ');
  return {
    ...{ connection, concurrency, tokenizer, vocabSize },
    model: served.id,
    description: `${program} serving ${served.id}`,
    ...abilities,
  };
}

interface Served {
  readonly id: string;
  readonly owned_by?: string | undefined;
  readonly max_model_len?: number | undefined;
}

async function findModel({ connection, model, signal }: OpenServer): Promise<Served> {
  const source = { path: `The answer of ${connection.url}/models`, fix: 'Check that --sampler-url ends in /v1.' };
  const { data } = check(modelsShape, await ask(connection, 'models', undefined, signal), source);
  const bases = data.filter(({ parent }) => parent === undefined);
  const names = data.map(({ id }) => id);
  const found = model === undefined ? (bases.length === 1 ? bases[0] : undefined) : data.find(({ id }) => id === model);
  if (found !== undefined) return found;
  throw new UserError({
    problem:
      model === undefined
        ? `The server at ${connection.url} has ${bases.length === 0 ? 'no model' : 'several models'}.`
        : `The server at ${connection.url} has no model ${quote(model)}.`,
    found: names.length === 0 ? 'none' : names.slice(0, 20).map(quote).join(', '),
    fix: 'Choose one with --sampler-model.',
  });
}

function requireRoom({ connection, prompts, maxNewTokens }: OpenServer, { max_model_len: limit }: Served): void {
  const longest = Math.max(...prompts.map(({ length }) => length));
  if (limit === undefined || longest + maxNewTokens <= limit) return;
  throw new UserError({
    problem: `The server at ${connection.url} accepts at most ${limit} tokens in a sequence.`,
    expected: `${longest} of the longest prompt and ${maxNewTokens} of a completion`,
    fix: 'Start it with a longer context (vLLM: --max-model-len), or lower --max-new-tokens.',
  });
}

const tokensShape = object({ tokens: list(integer({ min: 0 })) });

/**
 * Compares the server's tokenizer with ours on some prompts, if the server has `/tokenize` (vLLM, SGLang).
 * {@link tryCompletions} compares the texts of completions on every server.
 */
async function requireTokenizer({ connection, tokenizer, prompts, signal }: OpenServer, model: string): Promise<void> {
  for (const ids of prompts) {
    const prompt = tokenizer.decode([...ids]);
    const expected = tokenizer.encode(prompt, { addSpecialTokens: false });
    let answer: unknown;
    try {
      answer = await ask(connection, outsideV1('tokenize'), { model, prompt, add_special_tokens: false }, signal);
    } catch (error) {
      if (error instanceof ServerRefusal) return;
      throw error;
    }
    if (!isRecord(answer) || !Array.isArray(answer.tokens)) return;
    const { tokens } = check(tokensShape, answer, { path: `The answer of ${connection.url}/../tokenize` });
    if (tokens.join() === expected.join()) continue;
    throw otherModel(connection, `${quote(prompt)} is ${shown(expected)} here and ${shown(tokens)} there`);
  }
}

const shown = (ids: readonly number[]) => `[${ids.slice(0, 12).join(', ')}${ids.length > 12 ? ', …' : ''}]`;

function otherModel({ url }: ServerConnection, found: string): UserError {
  return new UserError({
    problem: `The model on the server at ${url} has a different tokenizer than --model.`,
    found,
    fix: 'Serve the model that --model names, or give --model the served one.',
  });
}

/** Tokens of a trial completion: enough for two seeds to differ. */
const trialTokens = 16;

/** Samples twice with one seed, checks the log-probs. @throws UserError if the server rejects ids or decodes differently. */
async function tryCompletions(
  request: OpenServer,
  model: string,
): Promise<Pick<SamplingServer, 'seeded' | 'withoutLogProbs'>> {
  const { connection, tokenizer, prompts, endIds, temperature, signal } = request;
  const maxNewTokens = Math.min(trialTokens, request.maxNewTokens);
  let seeded = true;
  let reported = true;
  const best: { readonly atOne: number; readonly atTemperature: number }[] = [];
  for (const [index, promptIds] of prompts.entries()) {
    const draw = { model, promptIds, maxNewTokens, endIds, temperature: 1, seed: 1000 + index, top: 1 };
    const first = await requestCompletion(request, draw, signal).catch((error) => {
      if (!(error instanceof ServerRefusal) || ![400, 422].includes(error.status)) throw error;
      throw new UserError(
        {
          problem: `The server at ${connection.url} does not accept prompts as token ids: ${error.said}`,
          fix: 'Use a server that does, such as vLLM, SGLang or the server of llama.cpp.',
        },
        { cause: error },
      );
    });
    const again = await requestCompletion(request, draw, signal);
    if (temperature !== 1 && temperature > 0) {
      const there = await requestCompletion(request, { ...draw, temperature }, signal);
      if (first.best !== undefined && there.best !== undefined) {
        best.push({ atOne: first.best, atTemperature: there.best });
      }
    }
    seeded &&= first.text === again.text && first.ids?.join() === again.ids?.join();
    reported &&= first.ids !== undefined && first.logProbs !== undefined;
    const text = first.ids && tokenizer.decode([...first.ids]);
    if (text !== undefined && text.trim() !== first.text.trim()) {
      throw otherModel(
        connection,
        `tokens ${shown(first.ids!)} are ${quote(text)} here and ${quote(first.text)} there`,
      );
    }
  }
  if (!reported) return { seeded, withoutLogProbs: 'it reports no token ids with their log-probs' };
  return { seeded, withoutLogProbs: temperature === 1 || isAtTemperature(best) ? undefined : rawLogProbs };
}

const rawLogProbs =
  'its log-probs are always those of temperature 1 (start vLLM with --logprobs-mode processed_logprobs, or use --temperature 1)';

/** A log-prob this close to 0 does not show the temperature. */
const certain = -0.01;

/** Whether the most likely token's log-prob depends on the temperature; false if all prompts are too certain to tell. */
function isAtTemperature(best: readonly { readonly atOne: number; readonly atTemperature: number }[]): boolean {
  const telling = best.filter(({ atOne }) => atOne < certain);
  return telling.length > 0 && telling.every(({ atOne, atTemperature }) => Math.abs(atOne - atTemperature) > 1e-4);
}

/** The server's version, if it reports one at `/version`. */
async function versionOf(connection: ServerConnection, signal: AbortSignal): Promise<string | undefined> {
  try {
    const answer = await ask(connection, outsideV1('version'), undefined, signal);
    return isRecord(answer) && typeof answer.version === 'string' ? answer.version : undefined;
  } catch (error) {
    if (error instanceof ServerRefusal) return undefined;
    throw error;
  }
}

/**
 * Largest mean difference of a token's log-prob. Rounding gives 1e-5 in float32, and about 1e-2 if the server computes in
 * bfloat16 or with quantised weights. A different model, or one trained further, differs by tenths or more.
 */
const maxMeanDifference = 0.1;
/** A model that needs a larger share of the memory is not loaded for the comparison. */
const memoryShare = 0.5;

/**
 * The mean difference of a token's log-prob, in nats; undefined if the server reports none, or the weights do not fit in local
 * memory.
 *
 * @param prompts a few of the job's prompts, as token ids. @throws UserError when the models differ.
 */
export async function requireSameWeights(
  server: SamplingServer,
  { engine, pretrained }: { readonly engine: Engine; readonly pretrained: Pretrained },
  { prompts, endIds }: { readonly prompts: readonly (readonly number[])[]; readonly endIds: ReadonlySet<number> },
  signal: AbortSignal,
): Promise<number | undefined> {
  const answers: ServerAnswer[] = [];
  for (const [index, promptIds] of prompts.entries()) {
    // All servers define log-probs alike at temperature 1.
    const seed = 2000 + index;
    const draw = { model: server.model, promptIds, maxNewTokens: trialTokens, endIds, temperature: 1, seed };
    answers.push(await requestCompletion(server, draw, signal));
  }
  if (!answers.every(({ ids, logProbs }) => ids !== undefined && ids.length > 0 && logProbs !== undefined))
    return undefined;
  const rows = answers.map(({ ids }, index) => ({ promptIds: prompts[index]!, completionIds: ids! }));
  if (stateBytes(parameterState(pretrained.config)) > memoryShare * memoryLimit()) return undefined;
  const plan = planScoring(pretrained.config, rows);
  const parts = { state: {}, functions: scoreFunctions(pretrained.config, plan.groups, 'f32') };
  const program = await createModelProgram(engine, pretrained, parts, { signal });
  const differences: number[] = [];
  try {
    await score(program, plan, rows, {
      temperature: 1,
      signal,
      onRow: (index, logProbs) => {
        const there = answers[index]!.logProbs!;
        differences.push(...Array.from(logProbs, (logProb, i) => Math.abs(logProb - there[i]!)));
      },
    });
  } finally {
    program.dispose();
  }
  const difference = mean(differences);
  if (difference <= maxMeanDifference) return difference;
  throw new UserError({
    problem: `The server at ${server.connection.url} serves a different model than --model: the log-probs of its completions differ by ${difference.toPrecision(2)} on average.`,
    expected: `at most ${maxMeanDifference}, from rounding`,
    fix: 'Serve the model that --model names (with an adapter: name the adapter with --sampler-model).',
  });
}
