/** `tinyzero push` against a hub on loopback that speaks the calls of @huggingface/hub. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { shippedModel } from '../../../src/model/shipped.js';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { beginOrResume } from '../../helpers/runs.js';

interface Uploads {
  readonly endpoint: string;
  /** Bodies of `repos/create`. */
  readonly created: Record<string, unknown>[];
  /** Files of the commit, by name. */
  readonly files: Map<string, Buffer>;
  readonly tokens: Set<string | undefined>;
}

/** @param taken answers that the repository exists. */
async function startHub(t: TestContext, taken = false, token = 'hf_x'): Promise<Uploads> {
  const [created, files, tokens, stored] = [[] as Record<string, unknown>[], new Map(), new Set(), new Map()] as [
    Record<string, unknown>[],
    Map<string, Buffer>,
    Set<string | undefined>,
    Map<string, Buffer>,
  ];
  const server = createServer(async (request, response) => {
    const json = (value: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    const body = await bodyOf(request);
    const path = request.url!;
    if (path.startsWith('/store/')) {
      stored.set(path.slice('/store/'.length), body);
      return json({});
    }
    tokens.add(request.headers.authorization);
    if (request.headers.authorization !== `Bearer ${token}`) return json({ error: 'no' }, 401);
    if (path === '/api/repos/create') {
      created.push(JSON.parse(body.toString()));
      return taken ? json({ error: 'You already created this model repo' }, 409) : json({ url: 'x', id: 'me/model' });
    }
    if (path === '/api/models/me/model/preupload/main') {
      const { files: asked } = JSON.parse(body.toString()) as { files: { path: string }[] };
      const uploadMode = (name: string) => (name.endsWith('.safetensors') ? 'lfs' : 'regular');
      return json({ files: asked.map((file) => ({ path: file.path, uploadMode: uploadMode(file.path) })) });
    }
    if (path === '/me/model.git/info/lfs/objects/batch') {
      const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] };
      const href = (oid: string) => `http://${request.headers.host}/store/${oid}`;
      return json({
        transfer: 'basic',
        objects: objects.map(({ oid, size }) => ({ oid, size, actions: { upload: { href: href(oid), header: {} } } })),
      });
    }
    if (path === '/api/models/me/model/commit/main') {
      for (const line of body.toString().trim().split('\n')) {
        const { key, value } = JSON.parse(line);
        if (key === 'file') files.set(value.path, Buffer.from(value.content, value.encoding));
        if (key === 'lfsFile') files.set(value.path, stored.get(value.oid)!);
      }
      return json({ commitUrl: 'x', commitOid: 'c0ffee'.padEnd(40, '0'), hookOutput: '' });
    }
    return json({ error: path }, 404);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, created, files, tokens };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

test('the files of a run are uploaded, with a card that has the verdict, the table and the command', async (t) => {
  const run = join(temporaryFolder(t), 'mine');
  const trained = await tinyzero(beginOrResume(run, 'wasm'));
  assert.equal(trained.code, 0, trained.stderr);
  const hub = await startHub(t);
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 'hf_x' };
  const { code, stdout, stderr } = await tinyzero(['push', run, 'me/model', '--private', '--yes', '--json'], env);
  assert.equal(code, 0, stderr);
  const { url, files } = lastLine(stdout);
  assert.equal(url, `${hub.endpoint}/me/model`);
  assert.deepEqual([...hub.files.keys()].sort(), [...files].sort());
  assert.equal(hub.created[0]!.visibility, 'private');
  for (const [name, content] of hub.files) {
    if (name === 'README.md') continue;
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(hash(content), hash(readFileSync(join(run, 'final', name))), name);
  }
  const card = hub.files.get('README.md')!.toString();
  assert.match(card, /^---\nlibrary_name: transformers\n/);
  assert.match(card, /A model of 413,280 parameters, trained from `builtin` by tinyzero with A\\\*PO/);
  assert.match(card, /\| Exact, greedy \| \d+.* \| \d+/);
  assert.match(card, /```sh\ntinyzero train --/);
  assert.deepEqual([...hub.tokens], ['Bearer hf_x']);
});

test('a repository that exists gets a commit', async (t) => {
  const hub = await startHub(t, true);
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 'hf_x' };
  const { code, stderr } = await tinyzero(['push', 'builtin', 'me/model', '--yes'], env);
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    hub.files.get('model.safetensors'),
    readFileSync(join(shippedModel('builtin'), 'model.safetensors')),
  );
});

test('nothing is sent without --yes and a terminal, without a token, or to an invalid name', async (t) => {
  const hub = await startHub(t);
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 'hf_x' };
  const push = (args: string[], change: Record<string, string | undefined> = {}) =>
    tinyzero(['push', ...args], { ...env, ...change });
  const unasked = await push(['builtin', 'me/model']);
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /would upload 5 files \(.*\) of .*tiny to .*me\/model\. .*confirm with --yes/);
  const anonymous = { HF_TOKEN: undefined, HF_HOME: temporaryFolder(t) };
  const withoutToken = await push(['builtin', 'me/model', '--yes'], anonymous);
  assert.equal(withoutToken.code, 1);
  assert.match(withoutToken.stderr, /needs a token\. Set HF_TOKEN/);
  assert.equal((await push(['builtin', 'model', '--yes'])).code, 2);
  assert.equal(hub.tokens.size, 0);
});

test('a rejected token is reported', async (t) => {
  const hub = await startHub(t);
  const env = { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 'hf_other' };
  const { code, stderr } = await tinyzero(['push', 'builtin', 'me/model', '--yes'], env);
  assert.equal(code, 1);
  assert.match(stderr, /refused me\/model: 401, .*Check that the token has write access to me\./);
  assert.equal(hub.files.size, 0);
});
