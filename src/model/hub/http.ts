/**
 * @file Requests to a Hugging Face hub. The token is sent only to the hub; requests time out; temporary failures are retried;
 * responses are limited in size and checked; interrupted downloads resume; all other errors are explained to the user.
 * Independent of models and of the cache layout.
 */
import { closeSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode, UserError } from '../../util/errors.js';
import { makeFolder, writeAll } from '../../util/file.js';
import { checkedJson, maxAnswerBytes, maxPages, readBody } from './answers.js';
import type { RepoKind } from './cache.js';

export interface HubConnection {
  /** The kind of repository that is requested; named in errors. */
  readonly kind: RepoKind;
  /** Origin and path of the hub, without a trailing slash. */
  readonly endpoint: string;
  readonly token: string | undefined;
  /** A request or download without data for this long has failed. */
  readonly timeoutMs: number;
  /** First pause before a retry; it doubles each time. */
  readonly retryPauseMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Thrown when the hub cannot be reached, so that callers can fall back on the cache. */
export class HubUnreachable extends UserError {
  constructor(
    /** A clause such as "the connection was refused". */
    readonly reason: string,
    { endpoint, kind }: Pick<HubConnection, 'endpoint' | 'kind'>,
    cause?: unknown,
  ) {
    const problem = `The hub at ${endpoint} does not answer: ${reason}.`;
    const fix =
      `Run the command again to resume, set HF_ENDPOINT to a mirror, or use ${onDisk[kind]}. ` +
      'Node uses a proxy only with NODE_USE_ENV_PROXY=1 (Node 24 and later).';
    super({ problem, fix }, { cause });
  }
}

/** What works without a hub. */
const onDisk: Readonly<Record<RepoKind, string>> = {
  model: 'a model folder',
  dataset: 'a file of problems (.jsonl, .csv or .parquet)',
};

/** Thrown when a repository has no such revision. */
export class RevisionMissing extends UserError {}

const cutReason = 'the connection was cut';

/** A download fails after this many consecutive failures without a new byte. */
const maxFailures = 5;

/**
 * `fetch` for the calls of @huggingface/hub. Adds the token for the hub's origin (Node drops it on redirects to other
 * origins) and turns every failure into a UserError about `subject`.
 */
export function hubFetch(connection: HubConnection, subject: string): typeof fetch {
  const asked = new Set<string>();
  return async (input, init) => {
    const url = String(input instanceof Request ? input.url : input);
    if (asked.has(url) || asked.size === maxPages) {
      throw new UserError(`${subject}: the hub's list of files has no end.`);
    }
    asked.add(url);
    for (let failures = 1; ; failures += 1) {
      const answer = await attempt(connection, url, init, subject);
      if (answer instanceof Response) return checkedJson(connection.endpoint, answer, url, subject);
      if (failures === maxFailures) throw answer;
      await pause(connection, failures);
    }
  };
}

/** One attempt. Returns the response, or an error that may be temporary; throws any other error. */
async function attempt(
  connection: HubConnection,
  url: string,
  init: RequestInit | undefined,
  subject: string,
): Promise<Response | UserError> {
  let watch: Watch | undefined;
  try {
    const sent = await request(connection, url, init);
    watch = sent.watch;
    const { response } = sent;
    if (!response.ok) {
      const error = await explain(connection, response, subject);
      if (isPassing(response.status)) return error;
      throw error;
    }
    if ([204, 205].includes(response.status)) {
      throw new UserError(`${subject}: the hub answers with status ${response.status}, which has no content.`);
    }
    // Read within the timeout, so that a stalled body fails too. These are small JSON responses.
    const body = await readBody(response).catch((error) => {
      throw error instanceof UserError ? error : unreachable(connection, error);
    });
    if (body === undefined) throw new UserError(`${subject}: the hub answers with more than ${maxAnswerBytes} bytes.`);
    return new Response(body, { status: response.status, headers: response.headers });
  } catch (error) {
    // An idle connection closed by the other side looks like this too.
    if (error instanceof HubUnreachable && error.reason === cutReason) return error;
    throw error;
  } finally {
    watch?.stop();
  }
}

/**
 * Downloads `url` to `path`, resuming after the bytes already there. Resumes after a lost connection as long as attempts
 * keep receiving new bytes.
 *
 * @param size the file's full length in bytes.
 * @param onBytes called with the number of bytes on disk after each piece.
 */
export async function downloadTo(
  connection: HubConnection,
  url: string,
  path: string,
  size: number,
  subject: string,
  onBytes: (received: number) => void,
): Promise<void> {
  makeFolder(dirname(path));
  const fd = openSync(path, 'a');
  try {
    let received = fstatSync(fd).size;
    for (let failures = 0; received !== size || size === 0; ) {
      if (received > size) {
        ftruncateSync(fd, 0);
        received = 0;
      }
      const before = received;
      try {
        received = await downloadPart(connection, url, fd, received, size, subject, onBytes);
        if (received === size) return;
        if (received === before) throw new Error('the server sent nothing');
      } catch (error) {
        if (connection.signal?.aborted || (error instanceof UserError && !(error instanceof HubUnreachable)))
          throw error;
        if (systemErrorCode(error) === 'ENOSPC') throw error;
        received = fstatSync(fd).size;
        failures = received > before ? 1 : failures + 1;
        if (failures >= maxFailures) throw error instanceof UserError ? error : unreachable(connection, error);
        await pause(connection, failures);
      }
    }
  } finally {
    closeSync(fd);
  }
}

/** Requests the rest of the file. Returns the length on disk afterwards. */
async function downloadPart(
  connection: HubConnection,
  url: string,
  fd: number,
  start: number,
  size: number,
  subject: string,
  onBytes: (received: number) => void,
): Promise<number> {
  // Compression would make byte positions meaningless.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (start > 0) headers.range = `bytes=${start}-`;
  const { response, watch } = await request(connection, url, { headers });
  try {
    if (response.status === 416) {
      ftruncateSync(fd, 0); // what is on disk is not the start of this file
      return 0;
    }
    if (!response.ok) {
      const error = await explain(connection, response, subject);
      throw isPassing(response.status) ? new HubUnreachable(`it answers ${response.status}`, connection) : error;
    }
    let received = start;
    if (response.status !== 206 || !response.headers.get('content-range')?.startsWith(`bytes ${start}-`)) {
      ftruncateSync(fd, 0); // the server ignored the range and sends the whole file
      received = 0;
    }
    for await (const piece of response.body ?? []) {
      watch.reset();
      if (received + piece.byteLength > size)
        throw new UserError(`${subject}: the server sends more than ${size} bytes.`);
      writeAll(fd, piece);
      received += piece.byteLength;
      onBytes(received);
    }
    return received;
  } finally {
    watch.stop();
  }
}

interface Watch {
  reset(): void;
  stop(): void;
}

async function request(
  connection: HubConnection,
  url: string,
  init: RequestInit = {},
): Promise<{ response: Response; watch: Watch }> {
  const silence = new AbortController();
  const expire = () => silence.abort(new DOMException(`silent for ${connection.timeoutMs} ms`, 'TimeoutError'));
  let timer = setTimeout(expire, connection.timeoutMs);
  const watch: Watch = {
    reset() {
      clearTimeout(timer);
      timer = setTimeout(expire, connection.timeoutMs);
    },
    stop: () => clearTimeout(timer),
  };
  const signals = connection.signal ? [silence.signal, connection.signal] : [silence.signal];
  try {
    const headers = new Headers(init.headers);
    if (connection.token !== undefined && new URL(url).origin === new URL(connection.endpoint).origin) {
      headers.set('authorization', `Bearer ${connection.token}`);
    }
    const response = await fetch(url, { ...init, headers, signal: AbortSignal.any(signals) });
    watch.reset();
    return { response, watch };
  } catch (error) {
    watch.stop();
    connection.signal?.throwIfAborted();
    throw unreachable(connection, error);
  }
}

/**
 * @throws UserError when the address or the token is invalid. Neither is quoted in full: an address may contain a password,
 *   and fetch would print both.
 */
export function requireUsable({ endpoint, token }: Pick<HubConnection, 'endpoint' | 'token'>): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new UserError({ problem: 'HF_ENDPOINT is not a URL.', expected: 'one such as https://huggingface.co' });
  }
  if (url.username !== '' || url.password !== '') {
    throw new UserError({ problem: 'HF_ENDPOINT holds a user name or password.', fix: 'Put a token into HF_TOKEN.' });
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new UserError({
      problem: 'The hub token contains a space, a line break or another invalid character.',
      fix: 'Check HF_TOKEN, or the file that `hf auth login` wrote.',
    });
  }
}

/** Whether a status may be temporary. */
function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

async function pause({ retryPauseMs, signal }: HubConnection, failures: number): Promise<void> {
  await sleep(retryPauseMs * 2 ** (failures - 1), undefined, signal ? { signal } : {});
}

function unreachable(connection: HubConnection, error: unknown): HubUnreachable {
  const { timeoutMs } = connection;
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const name = error instanceof Error ? error.name : '';
  const code = systemErrorCode(cause);
  const reasons: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'the connection was refused',
    ENOTFOUND: 'the host name is unknown',
    EAI_AGAIN: 'the host name cannot be looked up now',
    ECONNRESET: cutReason,
    UND_ERR_SOCKET: cutReason,
  };
  const timedOut = name === 'TimeoutError' || code === 'ETIMEDOUT' || code?.endsWith('_TIMEOUT');
  const reason = timedOut
    ? `it was silent for ${timeoutMs / 1000} s`
    : ((code && reasons[code]) ?? (cause instanceof Error ? cause.message : String(cause)));
  return new HubUnreachable(reason, connection, error);
}

/** Explains an unsuccessful response to the user. */
async function explain(
  { endpoint, token, kind }: HubConnection,
  response: Response,
  subject: string,
): Promise<UserError> {
  const code = response.headers.get('x-error-code');
  const said = response.headers.get('x-error-message');
  await response.body?.cancel();
  const gated = code === 'GatedRepo';
  const problem = (text: string, fix: string) => new UserError({ problem: `${subject}: ${text}.`, fix });
  switch (response.status) {
    case 401:
      return token === undefined
        ? problem('the hub requires a login (401)', `Check the name. For a private or gated ${kind}, set HF_TOKEN.`)
        : problem('the hub does not accept the token (401)', 'Check HF_TOKEN, or the name.');
    case 403:
      return gated || code === null
        ? problem(
            'access is not granted (403)',
            `Request access on the ${kind}'s page, and set HF_TOKEN to that account's token.`,
          )
        : problem(`access is refused (403${said ? `, ${said}` : ''})`, 'Check what the token is allowed to read.');
    case 404:
      return code === 'RevisionNotFound'
        ? new RevisionMissing({
            problem: `${subject}: there is no such revision (404).`,
            fix: 'Leave out what follows the @, or check its spelling.',
          })
        : problem(
            `the hub at ${endpoint} does not have it (404)`,
            kind === 'model'
              ? 'Check the name, or give the path of an existing folder.'
              : `Check the name, or use ${onDisk[kind]}.`,
          );
    case 429:
      return problem('too many requests to the hub (429)', 'Wait a few minutes, or set HF_TOKEN.');
    default:
      return problem(`the hub answered with status ${response.status}${said ? ` (${said})` : ''}`, 'Try again later.');
  }
}
