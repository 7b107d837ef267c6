/**
 * @file An OpenAI-compatible server on loopback as vLLM extends it, whose completions are really drawn from a model, by this
 * program's library. It answers in an order of its own, and tests switch faults on.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadedModel, loadModel, type SampledText, sample, score } from '../../src/index.js';
import { stateOf } from '../../src/model/model-state.js';

export interface ServerFaults {
  /** Answer so many completions with status 503 first, cut the connection of so many, send half of the JSON of so many. */
  busy?: number;
  cut?: number;
  garbled?: number;
  /** Answer completions with this status, after so many good ones. */
  status?: number;
  statusAfter?: number;
  /** Forget all adapters after so many completions by adapters, as by a restart. */
  forgetAfter?: number;
  /** Other completions each time. */
  unseeded?: boolean;
  /** No token ids in answers. */
  withoutIds?: boolean;
  /** Log-probs of temperature 1, vLLM's default. */
  raw?: boolean;
  /** Prompts must be texts. */
  textPrompts?: boolean;
  /** `/tokenize` gives other ids. */
  otherTokenizer?: boolean;
  withoutAdapters?: boolean;
  /** Log-probs are lower by this. */
  shift?: number;
  models?: readonly string[];
  room?: number;
  key?: string;
}

export interface TestServer {
  readonly url: string;
  readonly faults: ServerFaults;
  readonly counts: { completions: number; loaded: string[]; unloaded: string[]; most: number };
}

/** Tokens of the longest prompt of these tests. */
const promptRoom = 16;

interface Body {
  readonly model: string;
  readonly prompt: readonly number[] | string;
  readonly max_tokens: number;
  readonly temperature: number;
  readonly top_p?: number;
  readonly top_k?: number;
  readonly seed: number;
  readonly logprobs: number;
  readonly lora_name: string;
  readonly lora_path: string;
}

/** Starts the server for the model in `folder`; it stops with the test. */
export async function startServer(t: TestContext, folder = 'builtin', faults: ServerFaults = {}): Promise<TestServer> {
  const open = (path: string) => loadModel(path, { engine: 'wasm', install: false });
  const base = await open(folder);
  const { tokenizer } = stateOf(base);
  const adapters = new Map<string, LoadedModel>();
  const counts: TestServer['counts'] = { completions: 0, loaded: [], unloaded: [], most: 0 };
  let running = 0;
  let turn: Promise<unknown> = Promise.resolve();
  /** The model computes one thing at a time. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };

  async function complete(body: Body, model: LoadedModel) {
    const prompt = [...(body.prompt as readonly number[])];
    const seed = faults.unseeded ? body.seed + counts.completions : body.seed;
    const { temperature, top_p: topP = 1, top_k: topK = -1 } = body;
    const draw = {
      promptRoom,
      maxNewTokens: body.max_tokens,
      temperature: temperature || 1e-20,
      topP,
      topK: Math.max(0, topK),
      seed,
    };
    const [[whole]] = (await sample(model, [prompt], draw)) as [[SampledText]];
    const { ids, text, finishReason } = whole;
    const scored = async (completion: readonly number[]) => {
      const at = faults.raw ? 1 : temperature || 1;
      return (await score(model, [{ prompt, completion }], { temperature: at }))[0]!.logProbs;
    };
    const logProbs = faults.raw ? await scored(ids) : whole.logProbs;
    const shifted = logProbs.map((logProb) => logProb - (faults.shift ?? 0));
    const tokens = ids.map((id) => (faults.withoutIds ? 'x' : `token_id:${id}`));
    const best = body.logprobs > 0 && faults.raw !== undefined ? await bestOf(model, prompt, scored) : undefined;
    return {
      id: 'cmpl-1',
      model: body.model,
      choices: [
        {
          index: 0,
          text,
          finish_reason: finishReason,
          ...(!faults.withoutIds && { token_ids: ids }),
          logprobs: {
            tokens,
            token_logprobs: shifted,
            top_logprobs: best === undefined ? null : [{ best }],
          },
        },
      ],
    };
  }

  /** Log-prob of the most likely first token, which is among the log-probs of the greedy one. */
  async function bestOf(
    model: LoadedModel,
    prompt: readonly number[],
    scored: (ids: readonly number[]) => Promise<readonly number[]>,
  ) {
    const [[greedy]] = (await sample(model, [prompt], { promptRoom, maxNewTokens: 1, temperature: 1e-20 })) as [
      [SampledText],
    ];
    return (await scored(greedy.ids))[0]!;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, value: unknown) => {
      const isText = typeof value === 'string';
      response.writeHead(status, isText ? {} : { 'content-type': 'application/json' });
      response.end(isText ? value : JSON.stringify(value));
    };
    const refuse = (status: number, message: string) =>
      send(status, { error: { message, type: 'Error', code: status } });
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = (parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString()) : {}) as Body;
    if (faults.key !== undefined && request.headers.authorization !== `Bearer ${faults.key}`) {
      return refuse(401, 'Unauthorized');
    }
    const names = faults.models ?? ['pol'];
    switch (request.url) {
      case '/v1/models':
        return send(200, {
          data: [
            ...names.map((id) => ({ id, owned_by: 'loopback', parent: null, max_model_len: faults.room ?? 256 })),
            ...[...adapters.keys()].map((id) => ({ id, owned_by: 'loopback', parent: names[0] })),
          ],
        });
      case '/version':
        return send(200, { version: '1.0' });
      case '/tokenize': {
        const ids = tokenizer.encode(String(body.prompt), { addSpecialTokens: false });
        return send(200, { tokens: ids.map((id) => id + Number(faults.otherTokenizer ?? 0)) });
      }
      case '/v1/load_lora_adapter': {
        if (faults.withoutAdapters) return refuse(500, 'LoRA is not enabled');
        adapters.get(body.lora_name)?.close();
        adapters.set(body.lora_name, await open(body.lora_path));
        counts.loaded.push(body.lora_name);
        return send(200, `Success: LoRA adapter '${body.lora_name}' added successfully.`);
      }
      case '/v1/unload_lora_adapter':
        adapters.get(body.lora_name)?.close();
        if (!adapters.delete(body.lora_name)) return refuse(404, 'no such adapter');
        counts.unloaded.push(body.lora_name);
        return send(200, 'Success');
      case '/v1/completions':
        break;
      default:
        return refuse(404, 'Not Found');
    }
    if (faults.textPrompts && Array.isArray(body.prompt)) return refuse(400, 'prompt must be a string');
    if ((faults.busy ?? 0) > 0) {
      faults.busy! -= 1;
      return refuse(503, 'busy');
    }
    if ((faults.cut ?? 0) > 0) {
      faults.cut! -= 1;
      return void request.socket.destroy();
    }
    if (faults.status !== undefined && counts.completions >= (faults.statusAfter ?? 0)) {
      return refuse(faults.status, 'out of order');
    }
    if (body.model !== names[0] && faults.forgetAfter !== undefined && faults.forgetAfter-- === 0) {
      for (const model of adapters.values()) model.close();
      adapters.clear();
    }
    const model = body.model === names[0] ? base : adapters.get(body.model);
    if (model === undefined) return refuse(404, `The model \`${body.model}\` does not exist.`);
    running += 1;
    counts.most = Math.max(counts.most, running);
    const completion = await inTurn(() => complete(body, model));
    counts.completions += 1;
    // Every third answer overtakes the others.
    await sleep((counts.completions % 3) * 5);
    running -= 1;
    if ((faults.garbled ?? 0) > 0) {
      faults.garbled! -= 1;
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify(completion).slice(0, 40));
    }
    send(200, completion);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.writeHead(500).end(String(error.stack ?? error)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    for (const model of [base, ...adapters.values()]) model.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, faults, counts };
}
