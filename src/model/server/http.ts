/**
 * @file JSON requests to a sampling server with OpenAI's protocol: key, timeout, retries and limits on the answer's size. Uses
 * node:http, since Node's fetch gives up after five minutes without headers, and a completion is sent in one piece at its end.
 */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { clip, exitCodes, systemErrorCode, UserError } from '../../util/errors.js';
import { counted } from '../../util/format.js';
import { isRecord, parseJson } from '../../util/json.js';

export interface ServerConnection {
  /** The given address, `http://host:8000/v1`, without a trailing slash. */
  readonly url: string;
  /** Sent as a bearer token; never printed. */
  readonly key: string | undefined;
  /** Timeout of one request, including its time in the server's queue. */
  readonly timeoutMs: number;
  /** First pause before a retry; it doubles each time, up to {@link maxPauseMs}. */
  readonly retryPauseMs: number;
  /** How long failing requests are repeated before giving up. */
  readonly patienceMs: number;
  /** Called once when a request is first repeated, with the reason. */
  readonly onTrouble: (line: string) => void;
}

/** Allows for a long queue, long completions and a restart of the server. */
export const serverTimes = { timeoutMs: 1_800_000, retryPauseMs: 500, patienceMs: 120_000 } as const;
const maxPauseMs = 15_000;
/** Largest answer: a completion of 100,000 tokens has about 10 MB. */
const maxAnswerBytes = 64 * 2 ** 20;

/** The server refused a request; repeating it would not help. */
export class ServerRefusal extends UserError {
  constructor(
    readonly status: number,
    /** The server's message, shortened. */
    readonly said: string,
    { url }: Pick<ServerConnection, 'url'>,
    path: string,
  ) {
    const key = status === 401 || status === 403;
    super({
      problem: `The server at ${url} refuses ${path} (${status}): ${said}`,
      ...(key && { fix: 'Name the environment variable that holds its key with --api-key-env.' }),
    });
  }
}

/** @throws UserError (wrong usage) for an invalid address. Never prints a password in it. */
export function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const fail = (found: string) => {
    const problem = `--sampler-url: expected the address of an OpenAI-compatible server such as http://127.0.0.1:8000/v1, found ${found}.`;
    return new UserError({ problem }, { exitCode: exitCodes.usage });
  };
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw fail(`'${clip(text)}'`);
  if (url.username !== '' || url.password !== '') {
    throw fail(
      'one with a user name or password; put the key into an environment variable and name it with --api-key-env',
    );
  }
  if (url.search !== '' || url.hash !== '') throw fail('one with a query or a fragment');
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** The address of a path outside `/v1`: `/tokenize`, `/version`. */
export const outsideV1 = (path: string) => `../${path}`;

const agents = {
  'http:': new HttpAgent({ keepAlive: true }),
  'https:': new HttpsAgent({ keepAlive: true }),
} as const;

/**
 * Sends a request until it is answered. After a lost connection, a timeout, an answer that is not JSON, or a temporary status
 * (408, 429, 5xx), it is repeated with growing pauses for `patienceMs`.
 *
 * @param path relative to the address: `completions`. @param body sent as JSON with POST; absent for GET.
 * @param isPassing whether a status is temporary.
 * @returns the parsed JSON, or the text of a plain-text answer (vLLM's about adapters).
 * @throws ServerRefusal for any other status; UserError after `patienceMs`; the signal's reason.
 */
export async function ask(
  server: ServerConnection,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  isPassing = mayPass,
): Promise<unknown> {
  let startMs: number | undefined;
  for (let failures = 1; ; failures += 1) {
    const answer = await attempt(server, path, body, signal, isPassing);
    if (!('trouble' in answer)) return answer.value;
    signal?.throwIfAborted();
    // A request may wait in the server's queue for a long time. `patienceMs` counts from the first failure.
    startMs ??= performance.now();
    const pauseMs = answer.waitMs ?? Math.min(maxPauseMs, server.retryPauseMs * 2 ** Math.min(failures - 1, 20));
    const spentMs = performance.now() - startMs;
    if (spentMs + pauseMs > server.patienceMs) {
      throw new UserError({
        problem: `The server at ${server.url} does not answer ${path}: ${answer.trouble}.`,
        found: `${counted(failures, 'failed attempt')} in ${Math.round(spentMs / 1000)} s`,
        fix: 'Check that it is running, and look at its log. Run the same command again to resume.',
      });
    }
    // A connection that the server closed while it was idle looks like a lost one; a second attempt tells them apart.
    if (failures > 1)
      server.onTrouble(
        `The server at ${server.url} does not answer: ${answer.trouble}. Trying again for ${Math.round(server.patienceMs / 1000)} s.`,
      );
    await sleep(pauseMs, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }
}

const mayPass = (status: number) => status === 408 || status === 429 || status >= 500;

/** The result of one attempt: a value, or what went wrong. */
type Attempt = { readonly value: unknown } | { readonly trouble: string; readonly waitMs?: number | undefined };

async function attempt(
  server: ServerConnection,
  path: string,
  body: unknown,
  signal: AbortSignal | undefined,
  isPassing: (status: number) => boolean,
): Promise<Attempt> {
  signal?.throwIfAborted();
  let answer: { readonly status: number; readonly headers: IncomingMessage['headers']; readonly text: string };
  try {
    answer = await send(server, path, body, signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof UserError) throw error;
    return { trouble: troubleOf(error, server) };
  }
  const { status, headers, text } = answer;
  const value = parsed(text);
  if (status >= 200 && status < 300) {
    if (value !== undefined) return { value };
    // vLLM answers requests about adapters with a sentence, without a content type.
    const type = headers['content-type'];
    if (type === undefined || type.startsWith('text/plain')) return { value: text };
    return { trouble: `it answers with something other than JSON (${type})` };
  }
  const said = saidBy(value, text);
  if (!isPassing(status)) throw new ServerRefusal(status, said, server, path);
  const seconds = Number(headers['retry-after']);
  return {
    trouble: `status ${status}, ${said.replace(/\.$/, '')}`,
    ...(seconds > 0 && { waitMs: Math.min(maxPauseMs, 1000 * seconds) }),
  };
}

/** The message of an error answer, as one line that ends with a full stop. */
function saidBy(value: unknown, text: string): string {
  const record = isRecord(value) ? value : {};
  const error = isRecord(record.error) ? record.error : record;
  const message = [error.message, error.detail, record.error].find((part) => typeof part === 'string') ?? text;
  const line = clip(String(message).replace(/\s+/g, ' ').trim() || 'no explanation', 300);
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

function parsed(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function troubleOf(error: unknown, { timeoutMs }: ServerConnection): string {
  const reasons: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'the connection was refused',
    ENOTFOUND: 'the host name is unknown',
    EAI_AGAIN: 'the host name cannot be resolved at the moment',
    ECONNRESET: 'the connection was lost',
    EPIPE: 'the connection was lost',
    ETIMEDOUT: `no answer within ${timeoutMs / 1000} s`,
  };
  const code = systemErrorCode(error);
  return (code && reasons[code]) ?? (error instanceof Error ? error.message : String(error));
}

function send(
  server: ServerConnection,
  path: string,
  body: unknown,
  signal: AbortSignal | undefined,
): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> {
  const url = new URL(path, `${server.url}/`);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const isSecure = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const request = (isSecure ? requestHttps : requestHttp)(
      url,
      {
        method: text === undefined ? 'GET' : 'POST',
        agent: agents[isSecure ? 'https:' : 'http:'],
        headers: {
          accept: 'application/json',
          ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...(server.key !== undefined && { authorization: `Bearer ${server.key}` }),
        },
        ...(signal && { signal }),
      },
      (response) => {
        const parts: Buffer[] = [];
        let total = 0;
        response.on('data', (part: Buffer) => {
          total += part.length;
          if (total > maxAnswerBytes) {
            request.destroy();
            reject(
              new UserError(`The server at ${server.url} answers ${path} with more than ${maxAnswerBytes} bytes.`),
            );
          }
          parts.push(part);
        });
        response.on('error', reject);
        // A body that ends early is an error, even if its length was not announced.
        response.on('close', () => reject(Object.assign(new Error('cut'), { code: 'ECONNRESET' })));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(parts).toString('utf8'),
          }),
        );
      },
    );
    request.setTimeout(server.timeoutMs, () =>
      request.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })),
    );
    request.on('error', reject);
    request.end(text);
  });
}
