/**
 * @file A server of the Tinker API on loopback, with the requests and answers of skyrl-tx 0.3.0, which computes with tinyzero's own
 * engine (model.ts). Tests choose how it scales its loss and switch faults on.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { createTarGzip } from 'nanotar';
import { openEngine } from '../../../src/engine/backend.js';
import type { EngineName } from '../../../src/engine/choices.js';
import { saveAdapter } from '../../../src/model/checkpoint/adapter.js';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import { keyedRandom } from '../../../src/util/random.js';
import { type AdapterModel, type AdapterState, adapterModel, type TokenRow } from './model.js';

/** How the loss of a batch follows from the sums over the tokens of its rows. */
const scalings = {
  sum: () => 1,
  means: (row: TokenRow, rows: readonly TokenRow[]) => 1 / (row.targets.length * rows.length),
  'mean over tokens': (row: TokenRow) => 1 / row.targets.length,
  'mean over rows': (_: TokenRow, rows: readonly TokenRow[]) => 1 / rows.length,
  'mean over all tokens': (_: TokenRow, rows: readonly TokenRow[]) =>
    1 / rows.reduce((sum, { targets }) => sum + targets.length, 0),
  /** One that no server has. */
  squares: (row: TokenRow) => row.targets.length,
} as const;

interface TinkerFaults {
  /** Answer every call with this status. */
  status?: number;
  /** Answer this many calls with 503 first. */
  busy?: number;
  /** Cut the connection of so many calls of this path after the request has arrived. */
  cut?: { path: string; count: number };
  /** Say "not yet" so many times before each result, by status 408 and by an answer in turn. */
  later?: number;
  /** Requests that fail when their result is asked for: a path and what the server says. */
  fail?: { path: string; error: string };
  /** Forget every pending request, as a restarted server does. */
  forgets?: boolean;
  /** Require this key. */
  key?: string;
  /** Leave end tokens out of completions. */
  withoutEnd?: boolean;
}

export interface TestTinker {
  readonly url: string;
  /** Name of its only model. */
  readonly model: string;
  readonly faults: TinkerFaults;
  /** Paths of the calls so far, without `/api/v1/`. */
  readonly calls: string[];
  readonly loadedModels: () => number;
  close(): Promise<void>;
}

interface ServerModel {
  state: AdapterState;
  /** Optimiser steps. */
  steps: number;
  /** Set while a gradient is accumulated and not yet applied. */
  pending: boolean;
}

interface Saved {
  readonly state: AdapterState;
  readonly steps: number;
}

export interface TinkerServerOptions {
  readonly folder: string;
  readonly engine: EngineName;
  readonly rank: number;
  readonly scaling?: keyof typeof scalings;
  /** The states that it keeps, which survive a restart when they are given to the next server. */
  readonly kept?: Map<string, Saved>;
}

/** Starts the server; it stops with the test. */
export async function startTinker(t: TestContext, options: TinkerServerOptions): Promise<TestTinker> {
  const { folder, engine, rank, scaling = 'means', kept = new Map<string, Saved>() } = options;
  const pretrained = openPretrained(folder);
  const compute = adapterModel(await openEngine(engine), pretrained, rank);
  const faults: TinkerFaults = {};
  const calls: string[] = [];
  const models = new Map<string, ServerModel>();
  const results = new Map<string, () => unknown>();
  const waited = new Map<string, number>();
  let active: string | undefined;
  /** Whether a model was unloaded before the step of its gradient, which the next model then gets, as in skyrl-tx. */
  let leftGradient = false;
  let count = 0;

  const activate = (id: string): ServerModel => {
    const model = models.get(id);
    if (model === undefined) throw new Refusal(400, `Model ${id} not loaded`);
    if (active !== id) compute.load(model.state);
    active = id;
    return model;
  };
  const keep = (id: string, name: string, kind: string): Saved => {
    const path = `tinker://${id}/${kind}${name}`;
    if (kept.has(path)) throw new Refusal(409, `Checkpoint '${name}' already exists for model '${id}'`);
    const { steps } = activate(id);
    const saved = { state: compute.state(), steps };
    kept.set(path, saved);
    return saved;
  };
  // biome-ignore lint/suspicious/noExplicitAny: a request as it arrives
  const rowsOf = (data: readonly any[]): TokenRow[] =>
    data.map(({ model_input, loss_fn_inputs: { target_tokens, advantages, logprobs } }) => ({
      tokens: model_input.chunks[0].tokens,
      targets: target_tokens.data,
      advantages: advantages?.data,
      logprobs: logprobs?.data,
    }));
  const outputs = (logProbs: readonly Float32Array[]) => ({
    loss_fn_output_type: 'scalar',
    loss_fn_outputs: logProbs.map((values) => ({
      logprobs: { data: [...values], dtype: 'float32', shape: [values.length] },
    })),
    metrics: {},
  });

  // biome-ignore lint/suspicious/noExplicitAny: requests as they arrive
  const handlers: Record<string, (body: any) => unknown> = {
    create_model({ base_model, lora_config }) {
      if (base_model !== folder || lora_config.rank !== rank) throw new Refusal(400, 'no such model');
      const id = `model_${++count}`;
      models.set(id, { state: compute.initial(lora_config.seed), steps: 0, pending: false });
      return { model_id: id, base_model, lora_config };
    },
    unload_model({ model_id }) {
      leftGradient ||= models.get(model_id)?.pending === true;
      models.delete(model_id);
      if (active === model_id) active = undefined;
      return { model_id, status: 'unloaded' };
    },
    forward({ model_id, forward_input }) {
      activate(model_id);
      return outputs(compute.pass(rowsOf(forward_input.data), 'none'));
    },
    forward_backward({ model_id, forward_backward_input: { loss_fn, data } }) {
      if (loss_fn !== 'importance_sampling') throw new Refusal(400, `unexpected loss ${loss_fn}`);
      const model = activate(model_id);
      if (model.pending) throw new Refusal(400, 'a second forward_backward before the step');
      model.pending = true;
      const rows = rowsOf(data);
      const gradient = leftGradient ? 'added' : 'new';
      leftGradient = false;
      return outputs(
        compute.pass(
          rows.map((row) => ({ ...row, scale: scalings[scaling](row, rows) })),
          gradient,
        ),
      );
    },
    optim_step({ model_id, adam_params }) {
      const model = activate(model_id);
      if (!model.pending) throw new Refusal(400, 'no gradient');
      model.pending = false;
      model.steps += 1;
      compute.step(model.steps, adam_params);
      model.state = compute.state();
      return { metrics: null };
    },
    save_weights: ({ model_id, path }) => {
      keep(model_id, path, 'weights/');
      return { path: `tinker://${model_id}/weights/${path}`, type: 'save_weights' };
    },
    save_weights_for_sampler: ({ model_id, path }) => {
      keep(model_id, path, '');
      return { path: `tinker://${model_id}/${path}`, type: 'save_weights_for_sampler' };
    },
    load_weights({ model_id, path }) {
      const saved = kept.get(path)!;
      const model = models.get(model_id)!;
      Object.assign(model, { state: saved.state, steps: saved.steps });
      if (active === model_id) active = undefined;
      return { type: 'load_weights' };
    },
    async asample({ base_model, model_path, num_samples, prompt, sampling_params }) {
      const { seed, temperature, max_tokens, stop } = sampling_params;
      const saved = model_path === undefined ? undefined : kept.get(model_path);
      if (saved === undefined && base_model !== folder) throw new Refusal(400, 'no such weights');
      compute.load(saved?.state ?? new Map());
      active = undefined;
      const rollouts = Array.from({ length: num_samples }, (_, i) => ({
        promptIds: prompt.chunks[0].tokens,
        maxNewTokens: max_tokens,
        uniform: temperature === 0 ? () => 0 : keyedRandom('server', seed + i).uniform,
      }));
      const completions = await compute.sample(
        rollouts,
        temperature === 0 ? 1e-20 : temperature,
        stop,
        saved !== undefined,
      );
      return {
        sequences: completions.map(({ ids, logProbs, finishReason }) => {
          const end = faults.withoutEnd && finishReason === 'stop' ? -1 : undefined;
          return { stop_reason: finishReason, tokens: ids.slice(0, end), logprobs: logProbs.slice(0, end) };
        }),
        prompt_logprobs: null,
      };
    },
  };

  // Calls compute one after another, in the order in which they came.
  let turn: Promise<unknown> = Promise.resolve();
  const server = createServer(async (request, response) => {
    const path = request.url!.replace('/api/v1/', '');
    const body = request.method === 'POST' ? JSON.parse(await textOf(request)) : {};
    calls.push(path);
    try {
      refuseByFault(request, path, faults);
      if (faults.cut?.path === path && faults.cut.count > 0) {
        faults.cut.count -= 1;
        request.socket.destroy();
        return;
      }
      if (path === 'get_server_capabilities') send(response, { supported_models: [{ model_name: folder }] });
      else if (path === 'create_session') send(response, { session_id: 'session_1' });
      else if (path === 'session_heartbeat') send(response, { type: 'session_heartbeat' });
      else if (path === 'retrieve_future') {
        const id = body.request_id;
        const times = waited.get(id) ?? 0;
        waited.set(id, times + 1);
        if (faults.forgets || !results.has(id)) throw new Refusal(404, 'Future not found');
        if (times < (faults.later ?? 0)) {
          if (times % 2 === 0) throw new Refusal(408, 'Timeout waiting for result');
          send(response, { type: 'try_again', request_id: id, queue_state: 'active' });
        } else send(response, await results.get(id)!());
      } else if (path.endsWith('/archive')) {
        const [, model, name] = /training_runs\/([^/]+)\/checkpoints\/([^/]+)\//.exec(path)!;
        const download = `${request.url!.replace('/archive', '/download')}`;
        if (!kept.has(`tinker://${model}/${name}`)) throw new Refusal(404, 'Checkpoint not found');
        response.writeHead(302, { location: download }).end();
      } else if (path.endsWith('/download')) {
        const [, model, name] = /training_runs\/([^/]+)\/checkpoints\/([^/]+)\//.exec(path)!;
        response.end(await archiveOf(kept.get(`tinker://${model}/${name}`)!, compute, folder));
      } else {
        const handler = handlers[path];
        if (handler === undefined) throw new Refusal(404, `no ${path}`);
        if (path === 'load_weights' && !kept.has(body.path))
          throw new Refusal(404, `Checkpoint not found: ${body.path}`);
        const id = String(++count);
        const error = faults.fail?.path === path ? faults.fail.error : undefined;
        const result = turn.then(() => {
          if (error !== undefined) throw new Refusal(400, error);
          return handler(body);
        });
        turn = result.catch(() => {});
        results.set(id, () => result);
        send(response, { future_id: id, status: 'pending', request_id: id });
      }
    } catch (error) {
      const { status, message } = error instanceof Refusal ? error : new Refusal(500, String((error as Error).stack));
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ detail: message }));
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    await turn;
    compute.dispose();
    pretrained.weights.close();
  };
  t.after(close);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, model: folder, faults, calls, loadedModels: () => models.size, close };
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

function refuseByFault(request: IncomingMessage, path: string, faults: TinkerFaults): void {
  if (faults.status !== undefined) throw new Refusal(faults.status, 'out of order');
  if (faults.key !== undefined && request.headers['x-api-key'] !== faults.key) throw new Refusal(401, 'no valid key');
  if (path === 'session_heartbeat' || (faults.busy ?? 0) === 0) return;
  faults.busy! -= 1;
  throw new Refusal(503, 'busy');
}

function send(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** The adapter in PEFT's format, as a .tar.gz, with the entry "/" that skyrl-tx's archives have. */
async function archiveOf(
  { state }: Saved,
  { lora, adapterNames, shapeOf }: AdapterModel,
  base: string,
): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), 'tinyzero-test-archive-'));
  try {
    await saveAdapter(folder, {
      lora,
      base,
      configRecord: {},
      carryFrom: folder,
      specs: Object.fromEntries(adapterNames.map((name) => [name, shapeOf(name)])),
      read: (name) => state.get(name)!,
    });
    const files = ['adapter_config.json', 'adapter_model.safetensors'];
    return await createTarGzip([
      { name: '/' },
      ...files.map((name) => ({ name, data: new Uint8Array(readFileSync(join(folder, name))) })),
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
