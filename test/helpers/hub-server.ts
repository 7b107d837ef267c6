/**
 * @file A Hugging Face hub on loopback: serves a folder as the repository `org/model`, or as the dataset `org/data`, through the
 * same calls and headers as the real one. Large files are redirected to a second server on another port, as to a content network.
 * Tests switch faults on.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, relative } from 'node:path';
import type { TestContext } from 'node:test';

interface HubFaults {
  /** Answer every call for the repository with this. */
  status?: number;
  errorCode?: string;
  /** Answer this many calls with status 503 first. */
  busy?: number;
  /** Cut the next connections of a large file after this many bytes each. */
  cutAfter?: number[];
  /** Stop sending a large file after this many bytes, but keep the connection open; once. */
  stallAfter?: number;
  ignoreRange?: boolean;
  /** Send other bytes for large files this many times. */
  corrupt?: number;
  /** Say that the blob's name is this. */
  etag?: string;
  token?: string;
  /** The dataset has no branch `refs/convert/parquet`. */
  unconverted?: boolean;
}

interface HubRequest {
  readonly server: 'hub' | 'content';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface TestHub {
  readonly endpoint: string;
  readonly commit: string;
  readonly faults: HubFaults;
  readonly requests: HubRequest[];
  close(): Promise<void>;
}

const commit = 'c0ffee'.padEnd(40, '0');

type Kind = 'model' | 'dataset';

/** Starts the servers; they stop with the test. */
export async function startHub(
  t: TestContext,
  folder: string,
  largeFrom = 20_000,
  kind: Kind = 'model',
): Promise<TestHub> {
  const faults: HubFaults = {};
  const requests: HubRequest[] = [];
  const files = new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path).replaceAll('\\', '/'), readFileSync(path)]),
  );
  const log = (server: HubRequest['server'], { method, url, headers }: IncomingMessage) =>
    requests.push({
      server,
      method: method!,
      path: url!.split('?')[0]!,
      range: headers.range,
      authorization: headers.authorization,
    });

  const content = createServer((request, response) => {
    log('content', request);
    sendLarge(request, response, files.get(request.url!.slice(1))!, faults);
  });
  const hub = createServer((request, response) => {
    log('hub', request);
    const origin = `http://127.0.0.1:${portOf(content)}`;
    const { status, headers, body } = answer(request, kind, files, faults, largeFrom, origin);
    response.writeHead(status, headers).end(body);
  });
  await Promise.all([hub, content].map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))));
  const close = async () => {
    for (const server of [hub, content]) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  };
  t.after(close);
  return { endpoint: `http://127.0.0.1:${portOf(hub)}`, commit, faults, requests, close };
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

function answer(
  request: IncomingMessage,
  kind: Kind,
  files: ReadonlyMap<string, Buffer>,
  faults: HubFaults,
  largeFrom: number,
  contentOrigin: string,
): Reply {
  const fail = (status: number, code?: string): Reply => {
    const headers: Record<string, string> =
      code === undefined ? {} : { 'x-error-code': code, 'x-error-message': 'said so' };
    return { status, headers, body: '{}' };
  };
  const json = (value: unknown, headers = {}): Reply => {
    return { status: 200, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
  };
  const { pathname, searchParams } = new URL(request.url!, 'http://hub');
  if (faults.status !== undefined) return fail(faults.status, faults.errorCode);
  if ((faults.busy ?? 0) > 0) {
    faults.busy! -= 1;
    return fail(503);
  }
  if (faults.token !== undefined && request.headers.authorization !== `Bearer ${faults.token}`) return fail(401);

  const repo = kind === 'model' ? 'org/model' : 'org/data';
  const api = `/api/${kind}s/${repo}`;
  if (pathname.startsWith(`${api}/revision/`)) {
    const revision = pathname.slice(`${api}/revision/`.length);
    const converted = kind === 'dataset' && !faults.unconverted ? ['refs%2Fconvert%2Fparquet'] : [];
    const known = ['main', 'v1', 'refs%2Fpr%2F1', commit, ...converted].includes(revision);
    return known ? json({ _id: '1', id: repo, sha: commit }) : fail(404, 'RevisionNotFound');
  }
  if (pathname === `${api}/tree/${commit}`) {
    // Two pages, so that a client has to follow the link to the next.
    const all = [...files].map(([path, bytes]) => entryOf(path, bytes, largeFrom, faults.etag));
    const half = Math.ceil(all.length / 2);
    if (searchParams.get('cursor') === '2') return json(all.slice(half));
    const next = `http://${request.headers.host}${pathname}?recursive=true&cursor=2`;
    return json(all.slice(0, half), { link: `<${next}>; rel="next"` });
  }
  const path = new RegExp(`^/${kind === 'model' ? '' : 'datasets/'}${repo}/resolve/${commit}/(.+)$`).exec(
    pathname,
  )?.[1];
  const bytes = path === undefined ? undefined : files.get(path);
  if (bytes === undefined) return fail(404, path === undefined ? 'RepoNotFound' : 'EntryNotFound');
  if (bytes.length >= largeFrom) return { status: 302, headers: { location: `${contentOrigin}/${path}` } };
  return { status: 200, body: bytes };
}

function entryOf(path: string, bytes: Buffer, largeFrom: number, etag?: string) {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  if (bytes.length < largeFrom) return { type: 'file', path, size: bytes.length, oid };
  const sha256 = etag ?? createHash('sha256').update(bytes).digest('hex');
  return { type: 'file', path, size: bytes.length, oid, lfs: { oid: sha256, size: bytes.length, pointerSize: 130 } };
}

function sendLarge(request: IncomingMessage, response: ServerResponse, bytes: Buffer, faults: HubFaults): void {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const start = range === null || faults.ignoreRange ? 0 : Number(range[1]);
  if (start >= bytes.length) {
    response.writeHead(416).end();
    return;
  }
  let body = bytes.subarray(start);
  if ((faults.corrupt ?? 0) > 0) {
    faults.corrupt! -= 1;
    body = Buffer.from(body.map((byte) => byte ^ 1));
  }
  const partial = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  const isPartial = range !== null && !faults.ignoreRange;
  response.writeHead(isPartial ? 206 : 200, { 'content-length': body.length, ...(isPartial ? partial : {}) });
  const cut = faults.cutAfter?.shift();
  if (cut !== undefined) {
    response.write(body.subarray(0, cut), () => response.destroy());
  } else if (faults.stallAfter !== undefined) {
    response.write(body.subarray(0, faults.stallAfter));
    delete faults.stallAfter;
  } else {
    response.end(body);
  }
}
