/**
 * @file A model for programs that use the library: opened once, then sampled from and scored as often as wanted. Texts or
 * token ids in, texts, ids and log-probs out.
 */

import type { Engine } from '../engine/backend.js';
import type { EngineSetting, Precision } from '../engine/choices.js';
import type { Program, ProgramSpec } from '../engine/program.js';
import type { Reporter } from '../util/reporter.js';
import { checkMemory, createModelProgram, samplingSizes } from './load.js';
import { type OpenModel, openModel, openWantedEngine } from './open.js';
import { endTokens, planRollouts, readCompletionRow, readPrompt } from './prompt-input.js';
import { sample as runSampling, samplingParts } from './sampling/sample.js';
import { score as runScoring, scoreFunctions, scoreGroups } from './score.js';

/** A model that was opened. What it is made of is kept apart, so that a program's types need none of the engine's. */
export interface LoadedModel {
  /** What matrix products are computed in. */
  readonly precision: Precision;
  /** Frees the memory and closes the files. */
  close(): void;
}

interface Inside extends OpenModel {
  readonly engine: Engine;
  readonly precision: Precision;
  /**
   * The program made last, with the weights in it. It serves the next call of the same form (lengths are rounded up to
   * 16 tokens, so similar calls have the same); another form needs another program, and the weights are loaded again.
   */
  current: { readonly form: string; readonly program: Program } | undefined;
}

const insides = new WeakMap<LoadedModel, Inside>();

/** @throws RangeError for a model that was closed. */
function insideOf(model: LoadedModel): Inside {
  const inside = insides.get(model);
  if (inside === undefined) throw new RangeError('this model was closed');
  return inside;
}

export interface SampleCall {
  /** Completions of each prompt; default 1. */
  readonly samples?: number;
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** Divides the logits before the softmax; 0 is greedy. Default 1. */
  readonly temperature?: number;
  /** Default: the whole distribution. */
  readonly topP?: number;
  readonly topK?: number;
  /** Completion i of a prompt is a function of weights, prompt, seed and i. Default 0. */
  readonly seed?: number;
  /** Texts are messages of a user, put into the model's chat template. Default false. */
  readonly chat?: boolean;
  /** Called with each token as it is drawn; `index` counts the completions of all prompts, in order. */
  readonly onToken?: (index: number, id: number) => void;
  readonly signal?: AbortSignal;
}

export interface SampledText {
  readonly text: string;
  /** The end token included when there is one. */
  readonly ids: readonly number[];
  /** Of each token, under softmax(logits / temperature) over the whole vocabulary. */
  readonly logProbs: readonly number[];
  /** `stop`: the model ended it; `length`: cut at `maxNewTokens` or at the longest sequence of the model. */
  readonly finishReason: 'stop' | 'length';
}

export interface ScoreCall {
  /** Default 1. */
  readonly temperature?: number;
  readonly chat?: boolean;
  readonly signal?: AbortSignal;
}

export interface ScoreInput {
  /** Text, or token ids. */
  readonly prompt: string | readonly number[];
  readonly completion: string | readonly number[];
  /** Adds the end token to the completion. */
  readonly eos?: boolean;
}

export interface ScoredCompletion {
  readonly promptIds: readonly number[];
  readonly completionIds: readonly number[];
  /** Of each token of the completion, under softmax(logits / temperature). */
  readonly logProbs: readonly number[];
  readonly sum: number;
}

export interface LoadRequest {
  readonly engine: EngineSetting;
  readonly install: boolean;
  /** What matrix products are computed in; bf16 needs the tensorflow engine. */
  readonly precision: Precision;
}

/** Opens a folder, a hub id or `builtin`. The weights are loaded by the first call that needs them. @throws UserError */
export async function loadModel(
  reference: string,
  request: LoadRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<LoadedModel> {
  const open = await openModel(reference, reporter, signal);
  try {
    const engine = await openWantedEngine(request, reporter, signal);
    const { precision } = request;
    const inside: Inside = { ...open, engine, precision, current: undefined };
    const model: LoadedModel = {
      precision,
      close() {
        if (!insides.delete(model)) return;
        inside.current?.program.dispose();
        open.pretrained.weights.close();
      },
    };
    insides.set(model, inside);
    return model;
  } catch (error) {
    open.pretrained.weights.close();
    throw error;
  }
}

/** `samples` completions of each prompt, in order. @throws UserError for a prompt that the model cannot take. */
export async function sample(
  loaded: LoadedModel,
  prompts: readonly (string | readonly number[])[],
  call: SampleCall = {},
): Promise<SampledText[][]> {
  const model = insideOf(loaded);
  const { samples = 1, maxNewTokens = 256, temperature = 1, topP = 1, topK = 0, seed = 0, signal, onToken } = call;
  if (prompts.length === 0) return [];
  const { config } = model.pretrained;
  const reader = { ...model, chat: call.chat ?? false };
  const ids = prompts.map((prompt, i) => readPrompt(prompt, `prompt ${i + 1}`, reader));
  const { maxPositions } = config;
  const rollouts = planRollouts(ids, { samples, maxNewTokens, seed, maxPositions });
  const sizes = samplingSizes(config, {
    promptLengths: ids.map(({ length }) => length),
    rollouts: rollouts.length,
    maxNewTokens: Math.max(...rollouts.map((rollout) => rollout.maxNewTokens)),
  });
  const draw = { greedy: temperature === 0, topK, topP };
  const parts = samplingParts(config, sizes, draw, model.precision);
  const program = await programFor(model, ['sample', sizes, draw], parts, signal);
  const endIds = endTokens(model);
  const options = { temperature, endIds, ...(signal && { signal }), ...(onToken && { onToken }) };
  const { completions } = await runSampling(program, sizes, rollouts, options);
  const texts = completions.map((completion) => ({ ...completion, text: model.tokenizer.decode(completion.ids) }));
  return ids.map((_, i) => texts.slice(i * samples, (i + 1) * samples));
}

/** Log-probs of given completions, in order. @throws UserError for what the model cannot take. */
export async function score(
  loaded: LoadedModel,
  inputs: readonly ScoreInput[],
  { temperature = 1, chat = false, signal }: ScoreCall = {},
): Promise<ScoredCompletion[]> {
  const model = insideOf(loaded);
  if (!(temperature > 0)) throw new RangeError(`a temperature of ${temperature} gives no log-probs`);
  if (inputs.length === 0) return [];
  const rows = inputs.map((input, i) => readCompletionRow(input, `input ${i + 1}`, { ...model, chat }));
  const { config } = model.pretrained;
  const groups = scoreGroups(config, rows);
  const longest = groups.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  checkMemory(model.engine, longest.bytes, `Scoring ${longest.length} tokens`);
  const parts = { state: {}, functions: scoreFunctions(config, groups, model.precision) };
  const form = groups.map(({ rows: _, ...group }) => group);
  const program = await programFor(model, ['score', form], parts, signal);
  const results = await runScoring(program, groups, rows, { temperature, ...(signal && { signal }) });
  return rows.map(({ promptIds, completionIds }, i) => {
    const logProbs = Array.from(results[i]!);
    return { promptIds, completionIds, logProbs, sum: logProbs.reduce((total, logProb) => total + logProb, 0) };
  });
}

/** The program of this form, made anew unless it is the model's current one. */
async function programFor(
  model: Inside,
  key: unknown,
  parts: ProgramSpec,
  signal: AbortSignal | undefined,
): Promise<Program> {
  const form = JSON.stringify(key);
  if (model.current?.form === form) return model.current.program;
  model.current?.program.dispose();
  model.current = undefined;
  const program = await createModelProgram(model.engine, model.pretrained, parts, {
    precision: model.precision,
    ...(signal && { signal }),
  });
  model.current = { form, program };
  return program;
}
