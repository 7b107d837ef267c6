/**
 * @file A client of the Tinker API: sessions, models with LoRA, passes, optimiser steps, samples and saved weights, as
 * tinker 0.38 (Python) sends them and skyrl-tx 0.3.0 serves them. A long call returns the id of a future, which is polled for
 * the result. The client handles tokens and numbers; problems, rewards and files are the caller's.
 */
import { UserError } from '../../util/errors.js';
import { packageVersion } from '../../util/machine.js';
import { anyObject, anything, check, integer, list, number, object, oneOf, optional, text } from '../../util/schema.js';
import { callTinker, downloadFromTinker, type TinkerConnection, TinkerError } from './connection.js';

/** A sequence of L + 1 tokens for a pass: inputs and targets have length L, and target i follows input i. */
export interface TinkerDatum {
  readonly tokens: readonly number[];
  readonly targets: readonly number[];
  /** Further inputs of the loss by name: float32 `[L]`. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
}

export interface TinkerAdam {
  readonly learning_rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weight_decay: number;
}

interface TinkerSampleRequest {
  readonly promptIds: readonly number[];
  /** Weights saved for sampling, `tinker://…`; absent for the base model. */
  readonly modelPath?: string | undefined;
  readonly baseModel: string;
  readonly maxTokens: number;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly seed: number;
  readonly stop: readonly number[];
  /** Number of samples. */
  readonly count: number;
}

interface TinkerSample {
  readonly stop_reason: 'stop' | 'length';
  /** The sampled tokens, including the stop token, if any. */
  readonly tokens: number[];
  /** Log-prob of each at temperature 1. */
  readonly logprobs: number[];
}

export interface TinkerClient {
  readonly url: string;
  /** Names of the models that can be trained. */
  supportedModels(): Promise<string[]>;
  /** Creates a model: the base with a new adapter, which does not change its output yet. Returns its id. */
  createModel(baseModel: string, lora: { readonly rank: number; readonly seed: number }): Promise<string>;
  unloadModel(model: string, signal?: AbortSignal): Promise<void>;
  /** Log-prob of each target, for each datum. */
  forward(model: string, data: readonly TinkerDatum[]): Promise<number[][]>;
  /** The same, and accumulates the gradient of the loss `importance_sampling`. */
  forwardBackward(model: string, data: readonly TinkerDatum[]): Promise<number[][]>;
  optimStep(model: string, adam: TinkerAdam): Promise<void>;
  /** Returns as many completions as requested. */
  sample(request: TinkerSampleRequest, signal?: AbortSignal): Promise<TinkerSample[]>;
  /** Saves the weights for sampling. `name` must be new. Returns their path. */
  saveForSampler(model: string, name: string): Promise<string>;
  /** Saves the weights and the optimiser's state. `name` must be new. Returns their path. */
  saveState(model: string, name: string): Promise<string>;
  /** Loads such a state into a new model. */
  loadState(model: string, path: string): Promise<void>;
  /** The archive of weights saved for sampling: a .tar.gz with an adapter in PEFT's format. */
  archive(samplerPath: string): Promise<Uint8Array>;
  /** Ends the session's heartbeat. */
  close(): void;
}

/** A session without a heartbeat for minutes loses its models. */
const heartbeatMs = 10_000;

const tensor = object({ data: list(number()) });
const pass = object({ loss_fn_outputs: list(object({ logprobs: tensor })) });
const saved = object({ path: text });
const sampled = object({
  sequences: list(
    object({ stop_reason: oneOf(['stop', 'length']), tokens: list(integer({ min: 0 })), logprobs: list(number()) }),
  ),
});
const future = object({ request_id: text });
/** Answers in place of a result that is not ready, or that failed. */
const meta = object({ type: optional(anything), error: optional(anything) });

/** Opens a session. @throws TinkerError when the address is not that of a Tinker server. */
export async function openTinker(connection: TinkerConnection): Promise<TinkerClient> {
  const { url } = connection;
  const source = { path: `the answer of ${url}`, what: 'one of the Tinker API', fix: 'Check --tinker-url.' };
  const post = (name: string, body: object, repeatable: boolean, signal?: AbortSignal) =>
    callTinker(connection, { path: `/api/v1/${name}`, body, repeatable, signal });
  const session = check(
    object({ session_id: text }),
    await post(
      'create_session',
      { tags: ['tinyzero'], user_metadata: {}, sdk_version: packageVersion(), type: 'create_session' },
      true,
    ),
    source,
  ).session_id;
  const beat = setInterval(() => {
    // One missed beat is harmless. If the server is gone, the next call that needs it fails.
    post('session_heartbeat', { session_id: session, type: 'session_heartbeat' }, false).catch(() => {});
  }, heartbeatMs);
  beat.unref();

  const retrieve = async (answer: unknown, signal?: AbortSignal): Promise<unknown> => {
    const { request_id } = check(future, answer, source);
    for (;;) {
      const result = await post('retrieve_future', { request_id }, true, signal).catch((error) => failed(error, url));
      const { type, error } = result === undefined ? {} : check(meta, result, source);
      if (result === undefined || type === 'try_again') continue;
      if (error !== undefined) throw new TinkerError(`The Tinker server at ${url} failed: ${String(error)}.`, 400);
      return result;
    }
  };
  /** Sequence numbers of each model's requests, by which a server recognises a repeated one. */
  const sequence = new Map<string, number>();
  let models = 0;
  const ofModel = async (name: string, model: string, body: object, repeatable = false): Promise<unknown> => {
    const seq_id = (sequence.get(model) ?? 0) + 1;
    sequence.set(model, seq_id);
    return await retrieve(await post(name, { model_id: model, seq_id, ...body }, repeatable));
  };
  const passed = (answer: unknown, data: readonly TinkerDatum[]): number[][] => {
    const outputs = check(pass, answer, source).loss_fn_outputs.map(({ logprobs }) => logprobs.data);
    const fits = outputs.length === data.length && outputs.every((row, i) => row.length === data[i]!.targets.length);
    if (!fits)
      throw new UserError(`The Tinker server at ${url} returned log-probs that do not match the rows it was given.`);
    return outputs;
  };
  const save = async (name: string, model: string, path: string) =>
    check(saved, await ofModel(name, model, { path, type: name }), source).path;

  return {
    url,
    async supportedModels() {
      const answer = await callTinker(connection, { path: '/api/v1/get_server_capabilities', repeatable: true });
      const models = check(object({ supported_models: list(object({ model_name: optional(text) })) }), answer, source);
      return models.supported_models.flatMap(({ model_name }) => model_name ?? []);
    },
    async createModel(base_model, { rank, seed }) {
      // No adapter on the unembedding: PEFT names it differently, and tied embeddings have none.
      const lora_config = { rank, seed, train_unembed: false, train_mlp: true, train_attn: true };
      const body = { session_id: session, model_seq_id: models++, base_model, lora_config, type: 'create_model' };
      const answer = await retrieve(await post('create_model', body, false)).catch(withoutRoom);
      return check(object({ model_id: text }), answer, source).model_id;
    },
    async unloadModel(model_id, signal) {
      await retrieve(await post('unload_model', { model_id, type: 'unload_model' }, true, signal), signal);
    },
    async forward(model, data) {
      const forward_input = { loss_fn: 'cross_entropy', data: data.map(wireDatum) };
      return passed(await ofModel('forward', model, { forward_input }, true), data);
    },
    async forwardBackward(model, data) {
      const forward_backward_input = { loss_fn: 'importance_sampling', data: data.map(wireDatum) };
      return passed(await ofModel('forward_backward', model, { forward_backward_input }), data);
    },
    async optimStep(model, adam_params) {
      check(anyObject, await ofModel('optim_step', model, { adam_params, type: 'optim_step' }), source);
    },
    async sample({ promptIds, modelPath, baseModel, maxTokens, temperature, seed, stop, count }, signal) {
      const body = {
        num_samples: count,
        prompt: wireTokens(promptIds),
        sampling_params: { max_tokens: maxTokens, temperature, seed, stop, top_k: -1, top_p: 1 },
        ...(modelPath === undefined ? { base_model: baseModel } : { model_path: modelPath }),
        prompt_logprobs: false,
        type: 'sample',
      };
      const answer = await retrieve(await post('asample', body, true, signal), signal);
      const { sequences } = check(sampled, answer, source);
      const isWhole = sequences.length === count && sequences.every((one) => one.tokens.length === one.logprobs.length);
      if (isWhole) return sequences;
      throw new UserError({
        problem: `The Tinker server at ${url} returned completions that do not fit the request.`,
        expected: `${count}, each with a log-prob for every token`,
        found: sequences.map(({ tokens, logprobs }) => `${tokens.length} tokens with ${logprobs.length}`).join(', '),
      });
    },
    saveForSampler: (model, name) => save('save_weights_for_sampler', model, name),
    saveState: (model, name) => save('save_weights', model, name),
    async loadState(model, path) {
      await ofModel('load_weights', model, { path, optimizer: true, type: 'load_weights' });
    },
    async archive(samplerPath) {
      const [, model, name] = /^tinker:\/\/([^/]+)\/(?:sampler_weights\/)?([^/]+)$/.exec(samplerPath) ?? [];
      if (model === undefined || name === undefined) {
        throw new UserError(
          `The Tinker server at ${url} returned an invalid path for the saved weights: ${JSON.stringify(samplerPath)}.`,
        );
      }
      return await downloadFromTinker(connection, `/api/v1/training_runs/${model}/checkpoints/${name}/archive`);
    },
    close: () => clearInterval(beat),
  };
}

/** @throws the server's reason for not creating an adapter, with what usually helps. */
function withoutRoom(error: unknown): never {
  if (!(error instanceof TinkerError) || error.status !== 400) throw error;
  const fix =
    'The server must allow this --lora-rank and have room for two more adapters. It frees the adapters of a killed program after some minutes.';
  throw new TinkerError({ problem: error.message, fix }, error.status, error);
}

/** Undefined if the future is not ready yet. @throws TinkerError for any other error. */
function failed(error: unknown, url: string): undefined {
  if (!(error instanceof TinkerError)) throw error;
  if (error.status === 408) return undefined;
  if (error.status !== 404) throw error;
  throw new TinkerError(
    {
      problem: `The Tinker server at ${url} no longer knows a request that it accepted. Was it restarted?`,
      fix: 'Resume the run once the server is up; its checkpoints may still exist.',
    },
    404,
    error,
  );
}

const wireTokens = (tokens: readonly number[]) => ({ chunks: [{ tokens, type: 'encoded_text' }] });

function wireDatum({ tokens, targets, inputs }: TinkerDatum) {
  const floats = Object.entries(inputs).map(([name, data]) => [name, { data, dtype: 'float32', shape: [data.length] }]);
  return {
    model_input: wireTokens(tokens),
    loss_fn_inputs: {
      target_tokens: { data: targets, dtype: 'int64', shape: [targets.length] },
      ...Object.fromEntries(floats),
    },
  };
}
