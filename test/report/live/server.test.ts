/** The server of the live page: who is answered, what is sent, and how it ends. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type PageServer, servePage } from '../../../src/report/live/server.js';
import { UserError } from '../../../src/util/errors.js';
import { followEvents } from '../../helpers/events.js';

/** A page whose text is its version. */
function pageOfVersions() {
  let version = 1;
  return {
    page: async () => `page ${version}`,
    since: (known: number) => (known < version ? { version, text: `from ${known}` } : undefined),
    change: () => {
      version += 1;
    },
  };
}

async function serving(t: TestContext) {
  const content = pageOfVersions();
  const server = await servePage(content, 0);
  t.after(() => server.close('test over'));
  return { content, server };
}

/** An answer to a request that a browser would not send: any host, path and method. */
function ask(
  { port }: PageServer,
  path: string,
  {
    host = `127.0.0.1:${port}`,
    method = 'GET',
    headers = {},
  }: { host?: string; method?: string; headers?: object } = {},
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, method, headers: { ...headers, host } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text, headers: response.headers }));
    });
    sent.on('error', reject).end();
  });
}

test('the page is at the address with the token, on loopback, and is not kept or shared', async (t) => {
  const { server } = await serving(t);
  assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
  const answer = await fetch(server.url);
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), 'page 1');
  assert.match(answer.headers.get('content-type')!, /text\/html/);
  for (const [name, value] of [
    ['cache-control', 'no-store'],
    ['cross-origin-resource-policy', 'same-origin'],
    ['referrer-policy', 'no-referrer'],
    ['x-content-type-options', 'nosniff'],
    ['content-security-policy', "frame-ancestors 'none'"],
    ['access-control-allow-origin', null],
  ] as const) {
    assert.equal(answer.headers.get(name), value, name);
  }
  const { server: other } = await serving(t);
  assert.notEqual(new URL(other.url).pathname, new URL(server.url).pathname);
});

test('without the token every path is refused; with it only the page and its events exist', async (t) => {
  const { server } = await serving(t);
  const token = new URL(server.url).pathname.slice(1, -1);
  const wrong = token.replace(/.$/, token.endsWith('A') ? 'B' : 'A');
  for (const path of [
    '/',
    '/events',
    `/${wrong}/`,
    `/${wrong}/events`,
    `/${token}x/`,
    `/${token.slice(0, -1)}/`,
    '//',
    '/..',
  ]) {
    const { status, text } = await ask(server, path);
    assert.equal(status, 403, path);
    assert.ok(!text.includes(token) && !text.includes('page'), path);
  }
  for (const path of [
    '/x',
    '/../',
    '/../../etc/passwd',
    '/%2e%2e/config.json',
    '/config.json',
    '//',
    '/events/',
    '/rollouts.jsonl',
  ]) {
    assert.equal((await ask(server, `/${token}${path}`)).status, 404, path);
  }
  assert.equal((await ask(server, `/${token}`)).headers.location, `/${token}/`);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    assert.equal((await ask(server, `/${token}/`, { method })).status, 405, method);
  }
  assert.deepEqual((await ask(server, `/${token}/`, { method: 'HEAD' })).text, '');
});

test('the host name of another machine is refused, whatever it resolves to; any port is accepted', async (t) => {
  const { server } = await serving(t);
  const { pathname } = new URL(server.url);
  for (const host of [
    'evil.example',
    `evil.example:${server.port}`,
    '127.0.0.1.evil.example',
    'localhost.evil',
    '0.0.0.0',
  ]) {
    const { status, text } = await ask(server, pathname, { host });
    assert.equal(status, 403, host);
    assert.doesNotMatch(text, /page/);
  }
  for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST:80', `localhost:${server.port}`, '[::1]:8000']) {
    assert.equal((await ask(server, pathname, { host })).status, 200, host);
  }
});

test('events bring what changed since the version that a browser knows', async (t) => {
  const { server, content } = await serving(t);
  const first = await followEvents(server.url, 0);
  assert.deepEqual(await first.next(), { id: '1', event: 'update', data: { version: 1, text: 'from 0' } });
  content.change();
  server.push();
  server.push();
  assert.deepEqual(await first.next(), { id: '2', event: 'update', data: { version: 2, text: 'from 1' } });
  const upToDate = await followEvents(server.url, 2);
  content.change();
  server.push();
  assert.deepEqual((await upToDate.next()).data, { version: 3, text: 'from 2' });
  assert.deepEqual((await first.next()).data, { version: 3, text: 'from 2' });
  // As a browser reconnects.
  const again = await followEvents(server.url, 0, { 'last-event-id': '2' });
  assert.deepEqual((await again.next()).data, { version: 3, text: 'from 2' });
  assert.equal(server.viewers, 3);
  first.leave();
  for (let i = 0; server.viewers > 2 && i < 100; i++) await sleep(10);
  assert.equal(server.viewers, 2);
  content.change();
  server.push();
  assert.deepEqual((await again.next()).data, { version: 4, text: 'from 3' });
});

test('at the end, browsers are notified, and the port is free', async (t) => {
  const { server } = await serving(t);
  const viewer = await followEvents(server.url, 1);
  const start = performance.now();
  await server.close('The run has ended.');
  assert.deepEqual(await viewer.next(), { event: 'over', data: 'The run has ended.' });
  assert.ok(performance.now() - start < 900, 'a browser that listens does not delay the end');
  await assert.rejects(fetch(server.url));
  const again = await servePage(pageOfVersions(), server.port);
  await again.close('');
});

test('a port in use is an error that says what to do', async (t) => {
  const { server } = await serving(t);
  await assert.rejects(
    servePage(pageOfVersions(), server.port),
    (error) => error instanceof UserError && /^Port \d+ is in use\. Choose another with --port/.test(error.message),
  );
});
