/**
 * @file A web server for one page on this machine: the page, and a stream of events that keep it up to date. Serves nothing
 * else and reads no file. A request must have the token in its address. Host names other than this machine's are refused, since
 * a website may let its name resolve to this machine. Other origins cannot read answers.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemErrorCode, UserError } from '../../util/errors.js';

/** What is served. */
export interface Content {
  /** The whole page. */
  page(): Promise<string>;
  /** Changes after a version of the page, which is a number that grows; undefined if there are none. */
  since(version: number): { readonly version: number } | undefined;
}

export interface PageServer {
  /** With the token: `http://127.0.0.1:PORT/TOKEN/`. */
  readonly url: string;
  readonly port: number;
  /** Browsers that follow the page now. */
  readonly viewers: number;
  /** Sends what changed to all of them. */
  push(): void;
  /** Tells the browsers that the page has ended, and why; ends all connections. */
  close(message: string): Promise<void>;
}

const host = '127.0.0.1';
/** An idle connection may be closed by a proxy after this time. */
const heartbeatMs = 15_000;
/** Milliseconds after which a browser that has not read its last event is disconnected. */
const farewellMs = 5000;

interface Viewer {
  readonly response: ServerResponse;
  version: number;
}

/**
 * @param port 0 for any free one.
 * @throws UserError when the port is in use.
 */
export async function servePage(content: Content, port: number): Promise<PageServer> {
  const token = randomBytes(24).toString('base64url');
  const viewers = new Set<Viewer>();
  let farewell: string | undefined;
  const server = createServer((request, response) => {
    response.on('error', () => {}); // the browser left
    answer(request, response, token, content, (version) => {
      welcome(viewers, { response, version }, content);
      // A browser may have connected just before the end.
      if (farewell !== undefined) response.end(event('over', farewell));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(unavailable(error, port)));
    server.listen(port, host, resolve);
  });
  const { port: actual } = server.address() as AddressInfo;
  const heartbeat = setInterval(() => {
    for (const { response } of viewers) response.write(': here\n\n');
  }, heartbeatMs);
  heartbeat.unref();
  return {
    url: `http://${host}:${actual}/${token}/`,
    port: actual,
    get viewers() {
      return viewers.size;
    },
    push: () => {
      for (const viewer of viewers) send(viewer, content);
    },
    close: async (message) => {
      clearInterval(heartbeat);
      farewell = message;
      for (const viewer of viewers) {
        sendNow(viewer, content);
        viewer.response.end(event('over', message));
      }
      const closed = new Promise((resolve) => server.close(resolve));
      const giveUp = setTimeout(() => server.closeAllConnections(), farewellMs);
      server.closeIdleConnections();
      await closed;
      clearTimeout(giveUp);
    },
  };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  token: string,
  content: Content,
  follow: (version: number) => void,
): void {
  const refusal = refusalOf(request, token);
  const [place, query] = request.url?.slice(1 + token.length).split('?') ?? [];
  const isHead = request.method === 'HEAD';
  if (refusal !== undefined) {
    const [status, text] = refusal;
    response.writeHead(status, { ...headers, 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
  } else if (place === '') {
    response.writeHead(308, { ...headers, Location: `/${token}/` }).end();
  } else if (place === '/') {
    response.writeHead(200, { ...headers, 'Content-Type': 'text/html; charset=utf-8' });
    if (isHead) response.end();
    else void content.page().then((text) => response.end(text));
  } else {
    response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream; charset=utf-8' });
    if (isHead) {
      response.end();
      return;
    }
    response.flushHeaders();
    const known = String(request.headers['last-event-id'] ?? new URLSearchParams(query).get('since'));
    follow(/^\d{1,15}$/.test(known) ? Number(known) : 0);
  }
}

/** Status and text for a request that is not answered; undefined for one that is. */
function refusalOf({ headers: asked, url = '', method }: IncomingMessage, token: string): [number, string] | undefined {
  if (!isLocal(asked.host)) return [403, 'This server answers to 127.0.0.1 and localhost only.'];
  const [, given = '', place = ''] = /^\/([^/?]*)(\/[^?]*)?/.exec(url) ?? [];
  if (!sameText(given, token)) return [403, 'The address must be the one that tinyzero printed, with its token.'];
  if (method !== 'GET' && method !== 'HEAD') return [405, 'Only GET is answered.'];
  return ['', '/', '/events'].includes(place) ? undefined : [404, 'There is nothing here.'];
}

const headers = {
  'Cache-Control': 'no-store',
  // Nothing is requested twice, and a connection that is kept alive may close just as it is reused.
  Connection: 'close',
  'Content-Security-Policy': "frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

/** With any port, since the port may be forwarded from another machine. */
function isLocal(name: string | undefined): boolean {
  return /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(name ?? '');
}

/** Compares in a time that does not depend on where two texts differ. */
function sameText(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

function welcome(viewers: Set<Viewer>, viewer: Viewer, content: Content): void {
  const { response } = viewer;
  viewers.add(viewer);
  response.on('close', () => viewers.delete(viewer));
  // A browser that reads slowly receives all changes since its last event together.
  response.on('drain', () => send(viewer, content));
  response.write('retry: 2000\n\n');
  send(viewer, content);
}

function send(viewer: Viewer, content: Content): void {
  if (!viewer.response.writableNeedDrain) sendNow(viewer, content);
}

/** Sends the changes, even if the browser has not read the earlier ones. */
function sendNow(viewer: Viewer, content: Content): void {
  if (viewer.response.writableEnded) return;
  const update = content.since(viewer.version);
  if (update === undefined) return;
  viewer.version = update.version;
  viewer.response.write(`id: ${update.version}\n${event('update', update)}`);
}

/** JSON has no line breaks, so the data is one line. */
function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function unavailable(error: unknown, port: number): UserError {
  const code = systemErrorCode(error);
  const why = { EADDRINUSE: 'is in use', EACCES: 'needs more rights than this process has' }[code ?? ''];
  return new UserError(
    {
      problem: why === undefined ? `No port of ${host} can be opened (${code}).` : `Port ${port} ${why}.`,
      fix: 'Choose another with --port, or omit --port to use any free port.',
    },
    { cause: error },
  );
}
