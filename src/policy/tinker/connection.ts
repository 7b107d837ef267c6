/**
 * @file Requests to a server of the Tinker API: JSON over HTTP, with the key in `x-api-key`. Temporary failures are retried
 * for a while, but a request that changes the model is repeated only if the server cannot have received it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { clip, systemErrorCode, UserError } from '../../util/errors.js';
import { parseJson } from '../../util/json.js';

export interface TinkerConnection {
  /** Origin and path of the server, without a trailing slash. */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** A request without an answer for this long has failed. */
  readonly timeoutMs: number;
  /** First pause before a request is repeated; it doubles each time, up to {@link longestPauseMs}. */
  readonly retryPauseMs: number;
  /** Failures of a request are retried for this long. */
  readonly patienceMs: number;
  /** Receives a line when the server does not answer. */
  readonly onTrouble: (line: string) => void;
}

const longestPauseMs = 10_000;

/** Timeouts of a run. A server may hold a request for a future for five minutes; undici gives up after the same time. */
export const runTimes = { timeoutMs: 280_000, patienceMs: 180_000, retryPauseMs: 500 } as const;

/** Largest accepted answer. The log-probs of a batch take a few megabytes. */
const maxAnswerBytes = 2 ** 28;

/** Thrown when the server answers with an error or does not answer. */
export class TinkerError extends UserError {
  constructor(
    parts: ConstructorParameters<typeof UserError>[0],
    /** The HTTP status; undefined if there was no answer. */
    readonly status: number | undefined,
    cause?: unknown,
  ) {
    super(parts, { cause });
  }
}

export interface TinkerCall {
  readonly path: string;
  /** Sent as JSON with POST; absent for GET. */
  readonly body?: object;
  /** Whether the request may be repeated. Otherwise it is repeated only if the server cannot have acted on it. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The answer's JSON. @throws TinkerError that describes the failure. */
export async function callTinker(connection: TinkerConnection, call: TinkerCall): Promise<unknown> {
  const response = await answerOf(connection, call);
  return parseJson(new TextDecoder().decode(await bodyOf(connection, response)));
}

/** The answer's bytes. */
export async function downloadFromTinker(connection: TinkerConnection, path: string): Promise<Uint8Array> {
  return await bodyOf(connection, await answerOf(connection, { path, repeatable: true }));
}

async function bodyOf({ url }: TinkerConnection, response: Response): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    bytes += piece.byteLength;
    if (bytes > maxAnswerBytes)
      throw new UserError(`The Tinker server at ${url} sent more than ${maxAnswerBytes} bytes.`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function answerOf(connection: TinkerConnection, call: TinkerCall): Promise<Response> {
  const { retryPauseMs, patienceMs, onTrouble } = connection;
  let pauseMs = retryPauseMs;
  let waited = 0;
  for (;;) {
    const result = await attempt(connection, call);
    if (result instanceof Response) return result;
    const { error, temporary } = result;
    if (!temporary || waited >= patienceMs) throw error;
    if (waited === 0) onTrouble(`${error.message} Trying again for ${Math.ceil(patienceMs / 1000)} s.`);
    await sleep(pauseMs, undefined, call.signal ? { signal: call.signal } : {});
    waited += pauseMs;
    pauseMs = Math.min(2 * pauseMs, longestPauseMs);
  }
}

/** One attempt: the answer, or the error and whether to try again. */
async function attempt(
  connection: TinkerConnection,
  { path, body, repeatable, signal }: TinkerCall,
): Promise<Response | { readonly error: TinkerError; readonly temporary: boolean }> {
  const { url, apiKey, timeoutMs } = connection;
  const headers = {
    ...(apiKey !== undefined && { 'x-api-key': apiKey }),
    ...(body && { 'content-type': 'application/json' }),
  };
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(`${url}${path}`, {
      headers,
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
      signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const code = systemErrorCode(cause instanceof Error && cause.cause !== undefined ? cause.cause : cause);
    const refused = code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN';
    const error = new TinkerError(
      {
        problem: `The Tinker server at ${url} does not answer: ${reasonOf(cause, code, timeoutMs)}.`,
        fix: 'Check --tinker-url, and that the server is running.',
      },
      undefined,
      cause,
    );
    return { error, temporary: repeatable || refused };
  }
  if (response.ok) return response;
  const detail = await detailOf(response);
  // A server that sends 429 or 503 has not started the request.
  const untouched = response.status === 429 || response.status === 503;
  const passing = response.status >= 500 || response.status === 425;
  return { error: explain(url, path, response.status, detail), temporary: untouched || (repeatable && passing) };
}

function reasonOf(error: unknown, code: string | undefined, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `no answer for ${timeoutMs / 1000} s`;
  const reasons: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'the connection was refused',
    ENOTFOUND: 'the host name is unknown',
    EAI_AGAIN: 'the host name cannot be resolved at the moment',
    ECONNRESET: 'the connection was lost',
    UND_ERR_SOCKET: 'the connection was lost',
  };
  return (code && reasons[code]) ?? (error instanceof Error ? error.message : String(error));
}

/** The server's description of an error: FastAPI's `detail`, or the start of the text. */
async function detailOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  try {
    const { detail, error } = JSON.parse(text);
    const said = detail ?? error;
    if (said !== undefined) return clip(typeof said === 'string' ? said : JSON.stringify(said), 500);
  } catch {
    // Not JSON: show the text itself.
  }
  return clip(text.trim(), 500);
}

function explain(url: string, path: string, status: number, detail: string): TinkerError {
  const said = detail === '' ? '' : `: ${detail}`;
  if (status === 401 || status === 403) {
    const problem = `The Tinker server at ${url} denies access (${status}${said}).`;
    return new TinkerError({ problem, fix: 'Set TINKER_API_KEY to a valid key.' }, status);
  }
  return new TinkerError({ problem: `The Tinker server at ${url} answers ${path} with ${status}${said}.` }, status);
}

/** Checks the address in `--tinker-url`. @throws UserError when it is invalid. */
export function tinkerUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new UserError({
      problem: '--tinker-url is not a valid server address.',
      expected: 'an address such as http://localhost:8000, without user name or password',
      fix: 'Put the key into the environment variable TINKER_API_KEY.',
    });
  }
  return text.replace(/\/+$/, '');
}
