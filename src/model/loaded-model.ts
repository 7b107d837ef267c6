/**
 * @file A model that is loaded once and then sampled and scored any number of times: texts or token ids in, texts, ids and
 * log-probs out. The library's `loadModel`; `generate`, `score` and `play` use it too.
 */
import type { Engine } from '../engine/backend.js';
import {
  type EngineSetting,
  type Precision,
  type SamplerWeights,
  type WeightForm,
  weightForm,
} from '../engine/choices.js';
import { type Program, type ProgramSpec, withFunctions } from '../engine/program.js';
import type { Reporter } from '../util/reporter.js';
import { checkMemory, createModelProgram, samplingSizes } from './load.js';
import { type ModelState, stateOf, states } from './model-state.js';
import { openModel, openRequestedEngine } from './open.js';
import { endTokens, planRollouts, readCompletionRow, readPrompt } from './prompt-input.js';
import type { CacheSizes } from './sampling/kv-cache.js';
import { type SamplingFunctions, samplingParts } from './sampling/program.js';
import { sample as runSampling } from './sampling/sample.js';
import { planScoring, score as runScoring, scoreFunctions } from './score.js';

/** An open model. Its parts are private (model-state.ts), so that callers do not depend on the engine's types. */
export interface LoadedModel {
  /** Precision of matrix products. */
  readonly precision: Precision;
  /** Frees the memory and closes the files. */
  close(): void;
}

export interface SampleCall {
  /** Completions per prompt. Default 1. */
  readonly samples?: number;
  /** Token limit of a completion. Default 256. */
  readonly maxNewTokens?: number;
  /** Divides the logits before the softmax; 0 means greedy. Default 1. */
  readonly temperature?: number;
  /** Default 1: the whole distribution. */
  readonly topP?: number;
  readonly topK?: number;
  /** Completion i of a prompt depends only on the weights, the prompt, the seed and i. Default 0. */
  readonly seed?: number;
  /** Whether texts are user messages, to be put into the model's chat template. Default false. */
  readonly chat?: boolean;
  /** Index of each prompt's first sample, to continue after an earlier call. Default 0. */
  readonly firstSample?: number;
  /** Tokens of the longest prompt of this and later calls, which then reuse the program. Default: the longest given. */
  readonly promptRoom?: number;
  /** Called with each token as it is drawn; `index` counts the completions of all prompts, in order. */
  readonly onToken?: (index: number, id: number) => void;
  /** Called when a completion ends. */
  readonly onCompletion?: (index: number, completion: SampledText) => void;
  readonly signal?: AbortSignal;
}

export interface SampledText {
  readonly text: string;
  /** The end token included when there is one. */
  readonly ids: readonly number[];
  /** Log-prob of each token under softmax(logits / temperature) over the whole vocabulary. */
  readonly logProbs: readonly number[];
  /** `stop`: the model ended the completion; `length`: cut at `maxNewTokens` or at the model's longest sequence. */
  readonly finishReason: 'stop' | 'length';
}

export interface ScoreCall {
  /** Default 1. */
  readonly temperature?: number;
  readonly chat?: boolean;
  /** Called when a completion is scored; `index` is its position among the inputs. The order is that of the work. */
  readonly onScore?: (index: number, scored: ScoredCompletion) => void;
  readonly signal?: AbortSignal;
}

export interface ScoreInput {
  /** Text, or token ids. */
  readonly prompt: string | readonly number[];
  readonly completion: string | readonly number[];
  /** Whether to append the end token to the completion. */
  readonly eos?: boolean;
}

export interface ScoredCompletion {
  readonly promptIds: readonly number[];
  readonly completionIds: readonly number[];
  /** Log-prob of each completion token under softmax(logits / temperature). */
  readonly logProbs: readonly number[];
  readonly sum: number;
}

export interface LoadRequest {
  readonly engine: EngineSetting;
  readonly install: boolean;
  /** Precision of matrix products; bf16 needs the tensorflow or webgpu engine. */
  readonly precision: Precision;
  /** Weights of completions; log-probs of given completions are always of the full ones. Default `full`. */
  readonly samplerWeights?: SamplerWeights | undefined;
}

/**
 * Opens a folder, a hub id or `builtin`. The first call that computes opens the engine and loads the weights.
 *
 * @throws UserError when there is no such model, or it cannot be used.
 */
export async function loadModel(
  reference: string,
  request: LoadRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<LoadedModel> {
  const open = await openModel(reference, reporter, signal);
  const state: ModelState = { ...open, request, reporter, engine: undefined, current: undefined };
  const model: LoadedModel = {
    precision: request.precision,
    close() {
      if (!states.delete(model)) return;
      state.current?.program.dispose();
      open.pretrained.weights.close();
    },
  };
  states.set(model, state);
  return model;
}

/** Draws `samples` completions of each prompt; returns them in order. @throws UserError for an invalid prompt. */
export async function sample(
  loaded: LoadedModel,
  prompts: readonly (string | readonly number[])[],
  call: SampleCall = {},
): Promise<SampledText[][]> {
  const model = stateOf(loaded);
  const { samples = 1, maxNewTokens = 256, seed = 0, firstSample = 0, signal, onToken, onCompletion } = call;
  if (prompts.length === 0) return [];
  const reader = { ...model, chat: call.chat ?? false };
  const ids = prompts.map((prompt, i) => readPrompt(prompt, `prompt ${i + 1}`, reader));
  const { maxPositions } = model.pretrained.config;
  const rollouts = planRollouts(ids, { samples, maxNewTokens, seed, firstSample, maxPositions });
  const { program, sizes } = await samplingProgram(loaded, {
    ...call,
    promptRoom: Math.max(call.promptRoom ?? 0, ...ids.map(({ length }) => length)),
    prompts: prompts.length,
    maxNewTokens: Math.max(...rollouts.map((rollout) => rollout.maxNewTokens)),
  });
  const texts: SampledText[] = new Array(rollouts.length);
  await runSampling(program, sizes, rollouts, {
    temperature: call.temperature ?? 1,
    endIds: endTokens(model),
    ...(signal && { signal }),
    ...(onToken && { onToken }),
    onCompletion(index, completion) {
      texts[index] = { ...completion, text: model.tokenizer.decode(completion.ids) };
      onCompletion?.(index, texts[index]);
    },
  });
  return ids.map((_, i) => texts.slice(i * samples, (i + 1) * samples));
}

/** Prepares the program for calls of {@link sample} of this form, so that the first one starts at once. */
export async function prepareSampling(
  loaded: LoadedModel,
  call: SampleCall & { readonly promptRoom: number; readonly maxNewTokens: number },
): Promise<void> {
  await samplingProgram(loaded, { ...call, prompts: 1 });
}

async function samplingProgram(
  loaded: LoadedModel,
  call: SampleCall & { readonly promptRoom: number; readonly prompts: number; readonly maxNewTokens: number },
): Promise<{ program: Program<SamplingFunctions>; sizes: CacheSizes }> {
  const model = stateOf(loaded);
  const { samples = 1, temperature = 1, topP = 1, topK = 0, promptRoom, prompts, maxNewTokens, signal } = call;
  const { config } = model.pretrained;
  const sizes = samplingSizes(config, {
    promptLengths: new Array(prompts).fill(promptRoom),
    rollouts: prompts * samples,
    maxNewTokens,
  });
  const draw = { greedy: temperature === 0, topK, topP };
  const parts = samplingParts(config, sizes, draw, loaded.precision);
  const form = weightForm(loaded.precision, model.request.samplerWeights);
  const program = await programFor(model, ['sample', sizes, draw], { ...parts, form }, signal);
  return { program: withFunctions(program, parts.functions), sizes };
}

/** Log-probs of given completions, in order. @throws UserError for an invalid prompt or completion. */
export async function score(
  loaded: LoadedModel,
  inputs: readonly ScoreInput[],
  { temperature = 1, chat = false, onScore, signal }: ScoreCall = {},
): Promise<ScoredCompletion[]> {
  const model = stateOf(loaded);
  if (!(temperature > 0)) throw new RangeError(`temperature must be above 0, not ${temperature}`);
  if (inputs.length === 0) return [];
  const rows = inputs.map((input, i) => readCompletionRow(input, `input ${i + 1}`, { ...model, chat }));
  const { config } = model.pretrained;
  const plan = planScoring(config, rows);
  const largest = plan.groups.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  checkMemory(await engineOf(model, signal), largest.bytes, `Scoring ${largest.shape.length} tokens`);
  const functions = scoreFunctions(config, plan.groups, loaded.precision);
  const parts = { state: {}, functions, form: loaded.precision };
  const form = plan.groups.map(({ name, shape: { rows: _, ...shape } }) => [name, shape]);
  const program = await programFor(model, ['score', form], parts, signal);
  const results: ScoredCompletion[] = new Array(rows.length);
  await runScoring(withFunctions(program, functions), plan, rows, {
    temperature,
    ...(signal && { signal }),
    onRow(index, row) {
      const { promptIds, completionIds } = rows[index]!;
      const logProbs = Array.from(row);
      const sum = logProbs.reduce((total, logProb) => total + logProb, 0);
      results[index] = { promptIds, completionIds, logProbs, sum };
      onScore?.(index, results[index]);
    },
  });
  return results;
}

const never = new AbortController().signal;

async function engineOf(model: ModelState, signal = never): Promise<Engine> {
  model.engine ??= await openRequestedEngine(model.request, model.reporter, signal);
  return model.engine;
}

/** The program of this form: the current one if it matches, otherwise a new one. */
async function programFor(
  model: ModelState,
  key: unknown,
  { form: weights, ...parts }: ProgramSpec & { readonly form: WeightForm },
  signal: AbortSignal | undefined,
): Promise<Program> {
  const form = JSON.stringify(key);
  if (model.current?.form === form) return model.current.program;
  const engine = await engineOf(model, signal);
  model.current?.program.dispose();
  model.current = undefined;
  const loading = model.reporter.work('Loading the model', 'bytes');
  try {
    const program = await createModelProgram(engine, model.pretrained, parts, {
      form: weights,
      onProgress: (done, total) => loading.update({ done, total }),
      ...(signal && { signal }),
    });
    model.current = { form, program };
    return program;
  } finally {
    loading.end();
  }
}
