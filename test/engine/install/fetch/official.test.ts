/**
 * @file Downloads from tfjs-node's storage server, from a local server that misbehaves.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fetchOfficial, storageServer } from '../../../../src/engine/install/fetch/official.js';
import { installEngine } from '../../../../src/engine/install/install.js';
import { catalog } from '../../../../src/engine/install/packages.js';
import { silentReporter } from '../../../../src/util/reporter.js';
import { tarGz } from '../../../helpers/archive.js';
import { temporaryFolder } from '../../../helpers/cli.js';
import { fake, sandbox } from '../../../helpers/sandbox.js';

const content = Buffer.alloc(300_000, 'libtensorflow ');
const sha256 = createHash('sha256').update(content).digest('hex');
const file = { path: 'some/folder/library.tar.gz', sha256, bytes: 1 };

/** Serves with `listener` on the loopback interface; returns its address and the ranges of its requests. */
async function serve(t: TestContext, listener: RequestListener) {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const fetchTo = (folder: string) => fetchOfficial(file, folder, silentReporter, new AbortController().signal, url);
  return { url, ranges, fetchTo };
}

test('a broken transfer is resumed where it broke', async (t) => {
  let requests = 0;
  const { ranges, fetchTo } = await serve(t, (request, response) => {
    requests += 1;
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': content.length - from });
    if (requests > 1) return response.end(content.subarray(from));
    response.write(content.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 1000)); // by then the client has stored them
  });
  const folder = temporaryFolder('official');
  const path = await fetchTo(folder);
  assert.deepEqual(readFileSync(path), content);
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? '', /^bytes=[1-9]\d*-$/, 'the second request resumes');
  await fetchTo(folder);
  assert.equal(ranges.length, 2, 'a finished download is not fetched again');
});

test('a partial download is resumed; one of another file is detected by its hash', async (t) => {
  const { ranges, fetchTo } = await serve(t, (request, response) => {
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200).end(content.subarray(from));
  });
  const folder = temporaryFolder('official');
  const part = join(folder, 'library.tar.gz.part');
  writeFileSync(part, content.subarray(0, 1000));
  assert.deepEqual(readFileSync(await fetchTo(folder)), content);
  assert.deepEqual(ranges, ['bytes=1000-']);

  const other = temporaryFolder('official');
  writeFileSync(join(other, 'library.tar.gz.part'), 'of another file');
  await assert.rejects(fetchTo(other), { obstacle: 'wrong-hash' });
  assert.deepEqual(readFileSync(await fetchTo(other)), content, 'the next run starts over');
});

test('the file is downloaded from the start if the server ignores or rejects ranges', async (t) => {
  const { fetchTo } = await serve(t, (request, response) => {
    if (request.headers.range === 'bytes=5-') response.writeHead(200).end(content);
    else if (request.headers.range !== undefined) response.writeHead(416).end();
    else response.writeHead(200).end(content);
  });
  for (const beginning of ['12345', '123456']) {
    const folder = temporaryFolder('official');
    writeFileSync(join(folder, 'library.tar.gz.part'), beginning);
    assert.deepEqual(readFileSync(await fetchTo(folder)), content, beginning);
  }
});

test('a file with another hash is rejected and removed', async (t) => {
  const { fetchTo } = await serve(t, (_request, response) => response.writeHead(200).end('<html>please log in</html>'));
  const folder = temporaryFolder('official');
  await assert.rejects(fetchTo(folder), { obstacle: 'wrong-hash' });
  assert.equal(existsSync(join(folder, 'library.tar.gz.part')), false);
  assert.equal(existsSync(join(folder, 'library.tar.gz')), false);
});

test('a file missing on the server', async (t) => {
  const { fetchTo } = await serve(t, (_request, response) => response.writeHead(404).end());
  await assert.rejects(fetchTo(temporaryFolder('official')), /answered 404 for library\.tar\.gz/);
});

test('the official source unpacks the archive under the names that the linker needs, and compiles', async (t) => {
  const archive = tarGz({
    './lib/libtensorflow.so.2.9.1': 'not a library',
    './lib/libtensorflow_framework.so.2.9.1': 'not a library',
    './include/tensorflow/c/c_api.h': '// header',
    './LICENSE': 'Apache',
  });
  const { url } = await serve(t, (_request, response) => response.writeHead(200).end(archive));
  const box = sandbox(t, { 'g++': fake.compiler('echo "error: given $*" >&2; exit 1') });
  const library = {
    path: 'x/lib.tar.gz',
    tensorflow: '2.9.1',
    sha256: createHash('sha256').update(archive).digest('hex'),
    bytes: archive.length,
    unpackedBytes: 100,
  };
  const environment = {
    storage: url,
    machine: { platform: 'linux', arch: 'x64', glibc: '2.35' },
    catalog: { ...catalog, officialLibraries: { 'linux-x64-cpu': library } },
  };
  const { attempts } = await installEngine({}, box.reporter, box.signal, environment);
  assert.deepEqual(
    attempts.map(({ source, obstacle }) => `${source}: ${obstacle}`),
    ['wheel: no-pip', 'official: build-failed'],
  );
  assert.deepEqual(box.leftovers(), []);
  assert.ok(existsSync(join(box.root, 'downloads', 'lib.tar.gz')), 'the finished download is kept');
});

test('TFJS_NODE_CDN_STORAGE must be an https address, on the loopback interface too', () => {
  for (const address of [
    'http://mirror.example/',
    'http://127.0.0.1:8080/',
    'ftp://127.0.0.1/',
    'not an address',
    '',
  ]) {
    assert.throws(() => storageServer({ TFJS_NODE_CDN_STORAGE: address }), /must be an https address/, address);
  }
  assert.equal(
    storageServer({ TFJS_NODE_CDN_STORAGE: 'https://mirror.example/tf' }).href,
    'https://mirror.example/tf/',
  );
  assert.equal(storageServer({}).protocol, 'https:');
});
