import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { openPretrained } from '../../../src/model/checkpoint/pretrained.js';
import { loadTokenizer } from '../../../src/model/checkpoint/tokenizer.js';
import { resolveModel } from '../../../src/model/hub/model.js';
import { type HubProgress, type HubSettings, hubSettings } from '../../../src/model/hub/repo.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { changeJson, copyOfModel, type FixtureModel, fixture, temporaryFolder } from '../../helpers/files.js';
import { startHub, type TestHub } from '../../helpers/hub-server.js';

const llamaWeights = fixture('llama', 'model.safetensors');

async function setUp(t: TestContext, model: FixtureModel = 'llama'): Promise<{ hub: TestHub; settings: HubSettings }> {
  const hub = await startHub(t, fixture(model));
  const settings = hubSettings({ HF_ENDPOINT: `${hub.endpoint}/`, HF_HOME: temporaryFolder(t) });
  return { hub, settings: { ...settings, timeoutMs: 5000, retryPauseMs: 1 } };
}

function contentRanges(hub: TestHub): (string | undefined)[] {
  return hub.requests.filter(({ server }) => server === 'content').map(({ range }) => range);
}

/** Every file below `folder` that is left over from something unfinished. */
function leftovers(folder: string): string[] {
  return readdirSync(folder, { recursive: true }).filter((name) =>
    /incomplete|tmp|tinyzero$/.test(String(name)),
  ) as string[];
}

test('an existing folder is used, whatever its name', async () => {
  assert.equal(await resolveModel(fixture('llama')), fixture('llama'));
});

test('a name that is neither a folder nor an id is rejected before any request', async () => {
  for (const reference of [
    'nowhere',
    './org/name',
    '/org/name',
    'a/b/c',
    'org/name@',
    'org/name@../x',
    'org/na me',
    '',
  ]) {
    await assertUserRejection(resolveModel(reference), /There is no model/, /org\/name@revision/);
  }
});

test('a model is downloaded into the standard cache and opens', async (t) => {
  for (const model of ['llama', 'qwen2-untied-bf16'] as const) {
    const { hub, settings } = await setUp(t, model);
    const progress: HubProgress[] = [];
    const folder = await resolveModel('org/model', { settings, onProgress: (event) => progress.push(event) });
    const root = join(settings.cacheFolder, 'models--org--model');
    assert.equal(folder, join(root, 'snapshots', hub.commit));
    assert.equal(readFileSync(join(root, 'refs', 'main'), 'utf8'), hub.commit);
    openPretrained(folder).weights.close();
    loadTokenizer(folder);

    const files = readdirSync(folder);
    assert.ok(!files.includes('expected.json'), 'only what a model needs');
    for (const name of files) {
      assert.ok(lstatSync(join(folder, name)).isSymbolicLink());
      assert.ok(realpathSync(join(folder, name)).startsWith(realpathSync(join(root, 'blobs'))));
      assert.deepEqual(readFileSync(join(folder, name)), readFileSync(fixture(model, name)));
    }
    assert.deepEqual(leftovers(settings.cacheFolder), []);
    const last = progress.at(-1)!;
    assert.equal(last.receivedBytes, last.totalBytes);
    const sizes = files.map((name) => lstatSync(fixture(model, name)).size);
    assert.equal(
      last.totalBytes,
      sizes.reduce((a, b) => a + b, 0),
    );
  }
});

test('a second run downloads nothing again', async (t) => {
  const { hub, settings } = await setUp(t);
  await resolveModel('org/model', { settings });
  hub.requests.length = 0;
  await resolveModel('org/model@v1', { settings });
  assert.deepEqual(
    hub.requests.filter(({ path }) => path.includes('/resolve/') || path.startsWith('/model')),
    [],
  );
});

test('revisions: branch, tag with slashes, commit, unknown', async (t) => {
  const { hub, settings } = await setUp(t);
  const folder = await resolveModel('org/model@refs/pr/1', { settings });
  assert.equal(await resolveModel(`org/model@${hub.commit}`, { settings }), folder);
  const offline = { ...settings, offline: true };
  assert.equal(await resolveModel('org/model@refs/pr/1', { settings: offline }), folder);
  await assertUserRejection(resolveModel('org/model@v2', { settings }), /org\/model@v2: there is no such revision/);
});

test('the token goes to the hub and not to the content network', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.token = 'hf_secret';
  await assertUserRejection(resolveModel('org/model', { settings }), /requires a login \(401\)/, /HF_TOKEN/);
  const wrong = { ...settings, token: 'anything' };
  await assertUserRejection(resolveModel('org/model', { settings: wrong }), /does not accept the token/);
  hub.requests.length = 0;
  await resolveModel('org/model', { settings: { ...settings, token: 'hf_secret' } });
  const content = hub.requests.filter(({ server }) => server === 'content');
  assert.ok(content.length > 0 && content.every(({ authorization }) => authorization === undefined));
});

test('a connection that is cut repeatedly resumes where it stopped', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.cutAfter = [100_000, 50_000, 0, 0, 70_000, 0, 0, 0];
  const folder = await resolveModel('org/model', { settings });
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), readFileSync(llamaWeights));
  const ranges = contentRanges(hub);
  assert.equal(ranges[0], undefined);
  assert.deepEqual([...new Set(ranges.slice(1))].length, 3, 'asked from three places only');
  assert.ok(ranges.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range!)));
});

test('a hub that stays unreachable is an error, and the next run resumes the partial download', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.cutAfter = [200_000, 0, 0, 0, 0, 0];
  await assertUserRejection(resolveModel('org/model', { settings }), /does not answer/, /again to resume/);
  const [part] = leftovers(settings.cacheFolder);
  assert.match(part!, /blobs.[0-9a-f]{64}\.incomplete$/);
  const size = lstatSync(join(settings.cacheFolder, part!)).size;
  assert.ok(size > 0 && size <= 200_000);
  delete hub.faults.cutAfter;
  hub.requests.length = 0;
  const first: number[] = [];
  await resolveModel('org/model', { settings, onProgress: ({ receivedBytes }) => first.push(receivedBytes) });
  assert.deepEqual(contentRanges(hub), [`bytes=${size}-`]);
});

test('a server that ignores ranges sends the whole file again', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.cutAfter = [100_000];
  hub.faults.ignoreRange = true;
  const folder = await resolveModel('org/model', { settings });
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), readFileSync(llamaWeights));
});

test('a damaged part is detected by its hash and downloaded again', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.corrupt = 1;
  const folder = await resolveModel('org/model', { settings });
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), readFileSync(llamaWeights));
  rmSync(join(settings.cacheFolder, 'models--org--model'), { recursive: true });
  hub.faults.corrupt = 2;
  await assertUserRejection(resolveModel('org/model', { settings }), /arrived twice with the wrong content/);
  assert.deepEqual(leftovers(settings.cacheFolder), []);
});

test('a part longer than the file, or complete but not renamed, does no harm', async (t) => {
  for (const content of [Buffer.alloc(500_000), readFileSync(llamaWeights)]) {
    const { hub, settings } = await setUp(t);
    await resolveModel('org/model', { settings });
    const pointer = join(settings.cacheFolder, 'models--org--model', 'snapshots', hub.commit, 'model.safetensors');
    const blob = realpathSync(pointer);
    rmSync(blob);
    writeFileSync(`${blob}.incomplete`, content);
    await resolveModel('org/model', { settings });
    assert.deepEqual(readFileSync(pointer), readFileSync(llamaWeights));
  }
});

test('silence is a timeout', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.stallAfter = 1000;
  const folder = await resolveModel('org/model', { settings: { ...settings, timeoutMs: 300 } });
  assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), readFileSync(llamaWeights));
  assert.equal(contentRanges(hub).length, 2);
});

test('requests to a busy hub are retried, but not forever', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.busy = 3;
  await resolveModel('org/model', { settings });
  hub.faults.busy = 100;
  await assertUserRejection(resolveModel('org/model', { settings }), /status 503/);
  assert.equal(hub.faults.busy, 95);
});

test('every refusal is explained', async (t) => {
  const { hub, settings } = await setUp(t);
  const cases: [number, string | undefined, RegExp][] = [
    [401, 'RepoNotFound', /401.*HF_TOKEN/],
    [403, 'GatedRepo', /access is not granted.*Request access/],
    [403, 'Forbidden', /access is refused \(403, said so\)/],
    [404, 'RepoNotFound', /does not have it \(404\).*existing folder/],
    [429, undefined, /too many requests/],
    [418, undefined, /status 418/],
  ];
  for (const [status, errorCode, pattern] of cases) {
    Object.assign(hub.faults, { status, errorCode });
    await assertUserRejection(resolveModel('org/model', { settings }), /^org\/model: /, pattern);
  }
});

test('without a connection the cache is used, and an empty cache is explained', async (t) => {
  const { hub, settings } = await setUp(t);
  const offline = { ...settings, offline: true };
  await assertUserRejection(resolveModel('org/model', { settings: offline }), /not fully in the cache.*HF_HUB_OFFLINE/);
  const folder = await resolveModel('org/model', { settings });
  hub.requests.length = 0;
  assert.equal(await resolveModel('org/model', { settings: offline }), folder);
  assert.deepEqual(hub.requests, []);

  await hub.close();
  const notices: string[] = [];
  assert.equal(await resolveModel('org/model', { settings, onNotice: (text) => notices.push(text) }), folder);
  assert.match(notices.join(), /connection was refused.*using the cached copy/s);
  await assertUserRejection(resolveModel('org/other', { settings }), /connection was refused/, /HF_ENDPOINT/);
  rmSync(join(folder, 'model.safetensors'));
  await assertUserRejection(resolveModel('org/model', { settings: offline }), /not fully in the cache/);
});

test('an unsupported model is rejected before its weights are downloaded', async (t) => {
  const folder = copyOfModel(t, 'llama');
  changeJson(join(folder, 'config.json'), { model_type: 'mamba' });
  const hub = await startHub(t, folder);
  const settings = { ...hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: temporaryFolder(t) }), retryPauseMs: 1 };
  await assertUserRejection(resolveModel('org/model', { settings }), /config\.json of org\/model.*"mamba"/);
  assert.deepEqual(contentRanges(hub), []);

  const empty = temporaryFolder(t);
  writeFileSync(join(empty, 'config.json'), readFileSync(fixture('llama', 'config.json')));
  writeFileSync(join(empty, 'tokenizer.json'), '{}');
  const bare = await startHub(t, empty);
  const other = { ...settings, endpoint: bare.endpoint };
  await assertUserRejection(resolveModel('org/model', { settings: other }), /no weights in safetensors format/);
});

test('names from the hub never become paths outside the cache', async (t) => {
  const { hub, settings } = await setUp(t);
  hub.faults.etag = '../../../escape';
  await assertUserRejection(resolveModel('org/model', { settings }), /unusable identifier/);

  const folder = copyOfModel(t, 'qwen2-untied-bf16');
  const index = join(folder, 'model.safetensors.index.json');
  changeJson(index, { weight_map: { 'model.norm.weight': '../../../x.safetensors' } });
  const evil = await startHub(t, folder);
  const other = { ...settings, endpoint: evil.endpoint };
  await assertUserRejection(resolveModel('org/model', { settings: other }), /inside the model folder/);
});

test('two processes that want the same model share one download', async (t) => {
  const { hub, settings } = await setUp(t);
  const code = `
    const { resolveModel } = await import(${JSON.stringify(import.meta.resolve('../../../src/model/hub/model.js'))});
    const { hubSettings } = await import(${JSON.stringify(import.meta.resolve('../../../src/model/hub/repo.js'))});
    console.log(await resolveModel('org/model', { settings: hubSettings() }));
  `;
  const env = { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: settings.cacheFolder, HF_HUB_OFFLINE: '' };
  const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env });
  const [a, b] = await Promise.all([run(), run()]);
  assert.equal(a.stdout, b.stdout);
  assert.equal(contentRanges(hub).length, 1);
});

test('an abort stops at once', async (t) => {
  const { hub, settings } = await setUp(t);
  const controller = new AbortController();
  hub.faults.stallAfter = 1000;
  const running = resolveModel('org/model', {
    settings,
    signal: controller.signal,
    onProgress: ({ file, receivedBytes }) => {
      if (file === 'model.safetensors' && receivedBytes > 0) controller.abort();
    },
  });
  await assert.rejects(running, { name: 'AbortError' });
});

test('the environment is read as huggingface_hub reads it', (t) => {
  const home = temporaryFolder(t);
  const cache = (env: Record<string, string>) => hubSettings(env).cacheFolder;
  assert.equal(cache({}), join(homedir(), '.cache', 'huggingface', 'hub'));
  assert.equal(cache({ XDG_CACHE_HOME: '/x' }), join('/x', 'huggingface', 'hub'));
  assert.equal(cache({ XDG_CACHE_HOME: '/x', HF_HOME: '~/y' }), join(homedir(), 'y', 'hub'));
  assert.equal(cache({ HF_HOME: '/y', HUGGINGFACE_HUB_CACHE: '/z' }), '/z');
  assert.equal(cache({ HF_HUB_CACHE: '/a', HUGGINGFACE_HUB_CACHE: '/z' }), '/a');
  assert.equal(cache({ HF_HOME: '/y', HF_HUB_CACHE: '' }), join('/y', 'hub'));

  assert.equal(hubSettings({ HF_HOME: home }).token, undefined);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'token'), 'from-file\n');
  assert.equal(hubSettings({ HF_HOME: home }).token, 'from-file');
  assert.equal(hubSettings({ HF_HOME: home, HF_TOKEN: ' from-env ' }).token, 'from-env');
  assert.equal(hubSettings({ HF_HOME: home, HF_TOKEN_PATH: join(home, 'none') }).token, undefined);

  for (const value of ['1', 'true', 'YES', 'on']) assert.ok(hubSettings({ HF_HUB_OFFLINE: value }).offline);
  for (const value of ['0', '', 'no']) assert.ok(!hubSettings({ HF_HUB_OFFLINE: value }).offline);
  assert.equal(hubSettings({ HF_ENDPOINT: 'http://mirror/hf//' }).endpoint, 'http://mirror/hf');
  assert.equal(hubSettings({ HF_HUB_DOWNLOAD_TIMEOUT: '7' }).timeoutMs, 7000);
  assert.ok(!existsSync(join(home, 'hub')), 'reading settings makes nothing');
});

/** A server that answers every request with `answer`, as a hub gone wrong or the login page of a network would. */
async function hostileHub(t: TestContext, answer: (path: string, response: ServerResponse) => void) {
  const server = createServer((request, response) => answer(request.url!, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const settings = hubSettings({ HF_ENDPOINT: endpoint, HF_HOME: temporaryFolder(t) });
  return { settings: { ...settings, retryPauseMs: 1 } };
}

test('invalid responses are explained', async (t) => {
  const sha = 'c0ffee'.padEnd(40, '0');
  const html = '<html>Please log in</html>';
  const entry = { type: 'file', path: 'config.json', size: 10, oid: sha };
  const cases: [name: string, revision: unknown, tree: unknown, reason: RegExp][] = [
    ['a login page', html, html, /something other than JSON.*require a login/],
    ['null', null, null, /must be an object, not null/],
    ['a list', [], [], /must be an object, not \[\]/],
    ['no commit', { sha: 7 }, [], /returned 7 instead of a commit/],
    ['a page instead of the list', { sha }, html, /something other than JSON/],
    ['an object instead of the list', { sha }, {}, /must be a list/],
    ['null in the list', { sha }, [null], /`\[0\]` must be an object/],
    ['a size that is none', { sha }, [{ ...entry, size: 'abc' }], /`\[0\]\.size` must be an integer/],
    ['a size below 0', { sha }, [{ ...entry, size: -1 }], /`\[0\]\.size`/],
    ['a config larger than any disk', { sha }, [{ ...entry, size: 1e15 }], /reports 1000000000000000 bytes/],
  ];
  for (const [name, revision, tree, reason] of cases) {
    const { settings } = await hostileHub(t, (path, response) => {
      const body = path.includes('/tree/') ? tree : revision;
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
    await assertUserRejection(resolveModel('org/model', { settings }), /org\/model|response of the hub/, reason);
    assert.ok(name);
  }
});

test('a file list that is its own next page ends, and so do endless bodies', async (t) => {
  const sha = 'c0ffee'.padEnd(40, '0');
  const loop = await hostileHub(t, (path, response) => {
    if (!path.includes('/tree/')) return response.end(JSON.stringify({ sha }));
    response.setHeader('link', `<http://${response.req.headers.host}${path}>; rel="next"`);
    response.end('[]');
  });
  await assertUserRejection(resolveModel('org/model', { settings: loop.settings }), /list of files has no end/);

  let page = 0;
  const pages = await hostileHub(t, (path, response) => {
    if (!path.includes('/tree/')) return response.end(JSON.stringify({ sha }));
    response.setHeader('link', `<http://${response.req.headers.host}${path.split('?')[0]}?page=${page++}>; rel="next"`);
    response.end('[]');
  });
  await assertUserRejection(resolveModel('org/model', { settings: pages.settings }), /list of files has no end/);

  const bomb = await hostileHub(t, (_, response) => {
    response.setHeader('content-encoding', 'gzip');
    response.end(gzipSync(Buffer.alloc(200 * 2 ** 20)));
  });
  await assertUserRejection(resolveModel('org/model', { settings: bomb.settings }), /more than 33554432 bytes/);

  const endless = await hostileHub(t, (_, response) => {
    const block = Buffer.alloc(2 ** 20, ' ');
    const more = () => {
      while (response.write(block));
    };
    response.on('drain', more);
    more();
  });
  await assertUserRejection(resolveModel('org/model', { settings: endless.settings }), /more than 33554432 bytes/);
});

test('an invalid token or address is rejected at once and not printed', async (t) => {
  const home = temporaryFolder(t);
  const secret = 'hf_secret';
  for (const [environment, reason] of [
    [{ HF_TOKEN: `${secret}\nmore` }, /hub token contains a space, a line break/],
    [{ HF_TOKEN: `${secret}é` }, /hub token contains/],
    [{ HF_ENDPOINT: `https://me:${secret}@host` }, /HF_ENDPOINT holds a user name or password/],
    [{ HF_ENDPOINT: `${secret}` }, /HF_ENDPOINT is not a URL/],
    [{ HF_ENDPOINT: 'file:///etc' }, /HF_ENDPOINT is not a URL/],
  ] as const) {
    const settings = hubSettings({ HF_HOME: home, ...environment });
    await assertUserRejection(resolveModel('org/model', { settings }), reason);
    const message = await resolveModel('org/model', { settings }).catch((error: Error) => `${error.stack}`);
    assert.ok(!String(message).includes(secret));
  }
  mkdirSync(join(home, 'token'));
  assert.throws(() => hubSettings({ HF_HOME: home }), /Cannot read .*token: it is a folder/);
});

test('an unwritable cache is explained', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async (t) => {
  const { settings } = await setUp(t);
  await assertUserRejection(
    resolveModel('org/model', { settings: { ...settings, cacheFolder: '/proc/tinyzero/hub' } }),
    /\/proc\/tinyzero\/hub cannot be written.*Set HF_HOME/,
  );
});
