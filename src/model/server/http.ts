/**
 * @file Requests to a sampling server that speaks OpenAI's protocol: JSON in, JSON out, with a key, a time limit, retries and
 * limits on what is accepted. Uses node:http, since Node's fetch gives up after five minutes without headers, and a
 * completion comes in one piece when it is finished.
 */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { clip, exitCodes, systemErrorCode, UserError } from '../../util/errors.js';
import { counted } from '../../util/format.js';
import { isRecord, parseJson } from '../../util/json.js';

export interface ServerConnection {
  /** As given: `http://host:8000/v1`, without a trailing slash. */
  readonly url: string;
  /** Sent as a bearer token, and never printed. */
  readonly key: string | undefined;
  /** Time for one request, its queue on the server included. */
  readonly timeoutMs: number;
  /** First pause before a retry; it doubles each time, up to {@link maxPauseMs}. */
  readonly retryPauseMs: number;
  /** How long requests that fail are repeated before the server is given up. */
  readonly patienceMs: number;
  /** Hears once that a request is repeated, and why. */
  readonly onTrouble: (line: string) => void;
}

/** A server has time for a long queue and long completions, and for being restarted. */
export const serverTimes = { timeoutMs: 1_800_000, retryPauseMs: 500, patienceMs: 120_000 } as const;
const maxPauseMs = 15_000;
/** Largest answer: a completion of 100,000 tokens has about 10 MB. */
const maxAnswerBytes = 64 * 2 ** 20;

/** The server refused a request for a reason that repeating it would not change. */
export class ServerRefusal extends UserError {
  constructor(
    readonly status: number,
    /** What the server said, shortened. */
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

/** @throws UserError (wrong usage) when the address is none. A password in it is not printed. */
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

/** The path of the server that is not under `/v1`: `/tokenize`, `/version`. */
export const outsideV1 = (path: string) => `../${path}`;

const agents = {
  'http:': new HttpAgent({ keepAlive: true }),
  'https:': new HttpsAgent({ keepAlive: true }),
} as const;

/**
 * Sends a request until it is answered. Lost connections, timeouts, answers that are not JSON, and statuses that may pass
 * (408, 429, 5xx) are repeated with growing pauses for `patienceMs`.
 *
 * @param path relative to the address: `completions`. @param body sent as JSON with POST; absent: GET.
 * @param isPassing whether a status may be another one next time.
 * @returns the parsed JSON; a text where the answer is one (vLLM's answers about adapters).
 * @throws ServerRefusal for any other status; UserError when the server was given up; the signal's reason.
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
    // A request may wait for long in the server's queue; patience begins when one fails.
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
    // An idle connection that the server closed looks like one that was cut; a second try tells.
    if (failures > 1)
      server.onTrouble(
        `The server at ${server.url} does not answer: ${answer.trouble}. Trying again for ${Math.round(server.patienceMs / 1000)} s.`,
      );
    await sleep(pauseMs, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }
}

const mayPass = (status: number) => status === 408 || status === 429 || status >= 500;

/** What one attempt gave: a value, or a clause about what went wrong. */
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
    // vLLM's answers about adapters are a sentence, without a type.
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

/** What an error answer says, in one line that ends with a full stop. */
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
    EAI_AGAIN: 'the host name cannot be looked up now',
    ECONNRESET: 'the connection was cut',
    EPIPE: 'the connection was cut',
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
        // A body that ends early is an error, also where its length was not announced.
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
