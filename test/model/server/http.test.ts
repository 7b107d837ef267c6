/** Requests to a sampling server: what is repeated, what is not, and when a server is given up. */
import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ask, serverUrl } from '../../../src/model/server/http.js';
import { readAnswer } from '../../../src/model/server/sampler.js';
import { assertUserError, assertUserRejection } from '../../helpers/errors.js';

async function serve(t: TestContext, listener: RequestListener) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const lines: string[] = [];
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const times = { timeoutMs: 300, retryPauseMs: 1, patienceMs: 200 };
  return { connection: { url, key: 'secret', onTrouble: (line: string) => void lines.push(line), ...times }, lines };
}

test('a request whose answer may change is retried; any other answer is an error with the reason', async (t) => {
  let calls = 0;
  const answers: [number, string][] = [
    [429, '{"error":{"message":"slow down"}}'],
    [500, 'oops'],
    [200, '<html>'],
    [200, '{"ok":true}'],
    [404, '{"error":{"message":"no such model"}}'],
    [422, '{"detail":"prompt: a string"}'],
  ];
  const { connection, lines } = await serve(t, (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer secret');
    assert.equal(request.url, '/v1/completions');
    const [status, body] = answers[calls++]!;
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  assert.deepEqual(await ask(connection, 'completions', {}), { ok: true });
  assert.equal(calls, 4);
  assert.match(lines[0]!, /does not answer: status 500, oops\./);
  assert.ok(lines.every((line) => !line.includes('secret')));
  await assertUserRejection(ask(connection, 'completions', {}), /refuses completions \(404\): no such model\.$/);
  await assertUserRejection(ask(connection, 'completions', {}), /\(422\): prompt: a string\.$/);
});

test('a server that stays silent, cuts connections or is gone is abandoned after a while', async (t) => {
  const silent = await serve(t, () => {});
  await assertUserRejection(
    ask(silent.connection, 'models'),
    /does not answer models: no answer within 0\.3 s\./,
    /same command again to resume/,
  );
  const cutting = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{"half":');
    setTimeout(() => response.destroy(), 5);
  });
  await assertUserRejection(ask(cutting.connection, 'models'), /the connection was lost\. Found \d+ failed attempts/);
  const gone = { ...silent.connection, url: 'http://127.0.0.1:1/v1' };
  await assertUserRejection(ask(gone, 'models'), /the connection was refused/);
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error('stopped')), 20);
  await assert.rejects(ask({ ...gone, patienceMs: 60_000 }, 'models', undefined, stop.signal), /stopped/);
});

test('an address is checked, and a password in it is not printed', () => {
  assert.equal(serverUrl('http://host:8000/v1/'), 'http://host:8000/v1');
  assertUserError(() => serverUrl('host:8000'), /expected the address .* found 'host:8000'/);
  assertUserError(() => serverUrl('http://me:secret@host/v1'), /user name or password/, /^(?!.*secret)/);
});

test('an answer that is not a completion is an error that names the field', () => {
  const choice = { text: 'a', finish_reason: 'stop', token_ids: [1, 2], logprobs: { token_logprobs: [-1, -2] } };
  const read = (change: object) => readAnswer({ choices: [{ ...choice, ...change }] }, 'http://host/v1', 64);
  const { ids, logProbs } = read({});
  assert.deepEqual(
    [ids, logProbs],
    [
      [1, 2],
      [-1, -2],
    ],
  );
  assert.deepEqual(read({ token_ids: null, logprobs: { tokens: ['token_id:7'], token_logprobs: [-1] } }).ids, [7]);
  assert.equal(read({ token_ids: null, logprobs: null }).ids, undefined);
  assertUserError(() => read({ token_ids: [64] }), /token ids below 64.*id 64/);
  assertUserError(() => read({ token_ids: [1] }), /as many log-probs as tokens.*2 for 1 tokens/);
  assertUserError(() => read({ finish_reason: 'content_filter' }), /"content_filter"/);
  assertUserError(() => read({ logprobs: { token_logprobs: [1, 2] } }), /token_logprobs\[0\]/);
  assertUserError(() => readAnswer({ choices: [] }, 'http://host/v1', 64), /one choice.*0 choices/);
});
