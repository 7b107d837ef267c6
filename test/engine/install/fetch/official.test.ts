/**
 * @file Downloads from tfjs-node's storage server, against a server on the loopback interface that misbehaves.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fetchOfficial } from '../../../../src/engine/install/fetch/official.js';
import { installEngine } from '../../../../src/engine/install/install.js';
import { catalog } from '../../../../src/engine/install/packages.js';
import { silentReporter } from '../../../../src/util/reporter.js';
import { tarGz } from '../../../helpers/archive.js';
import { temporaryFolder } from '../../../helpers/cli.js';
import { fake, sandbox } from '../../../helpers/sandbox.js';

const content = Buffer.alloc(300_000, 'libtensorflow ');
const sha256 = createHash('sha256').update(content).digest('hex');
const file = { path: 'some/folder/library.tar.gz', sha256, bytes: 1 };

/** Serves with `listener` under TFJS_NODE_CDN_STORAGE; returns the ranges that were asked for. */
async function serve(t: TestContext, listener: RequestListener): Promise<(string | undefined)[]> {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const before = process.env.TFJS_NODE_CDN_STORAGE;
  process.env.TFJS_NODE_CDN_STORAGE = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.after(() => {
    if (before === undefined) delete process.env.TFJS_NODE_CDN_STORAGE;
    else process.env.TFJS_NODE_CDN_STORAGE = before;
    server.closeAllConnections();
    server.close();
  });
  return ranges;
}

const fetchTo = (folder: string) => fetchOfficial(file, folder, silentReporter, new AbortController().signal);

test('a transfer that breaks is continued where it broke', async (t) => {
  let requests = 0;
  const ranges = await serve(t, (request, response) => {
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
  assert.match(ranges[1] ?? '', /^bytes=[1-9]\d*-$/, 'the second request goes on');
  await fetchTo(folder);
  assert.equal(ranges.length, 2, 'a finished download is not fetched again');
});

test('a part from an earlier run is continued, and one that belongs to another file is found out', async (t) => {
  const ranges = await serve(t, (request, response) => {
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
  assert.deepEqual(readFileSync(await fetchTo(other)), content, 'and the next run starts anew');
});

test('a server that ignores ranges, or refuses them, starts the file again', async (t) => {
  await serve(t, (request, response) => {
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

test('other bytes than the pinned ones are refused and removed', async (t) => {
  await serve(t, (_request, response) => response.writeHead(200).end('<html>please log in</html>'));
  const folder = temporaryFolder('official');
  await assert.rejects(fetchTo(folder), { obstacle: 'wrong-hash' });
  assert.equal(existsSync(join(folder, 'library.tar.gz.part')), false);
  assert.equal(existsSync(join(folder, 'library.tar.gz')), false);
});

test('a file that the server does not have', async (t) => {
  await serve(t, (_request, response) => response.writeHead(404).end());
  await assert.rejects(fetchTo(temporaryFolder('official')), /answered 404 for library\.tar\.gz/);
});

test('the official rung: from the archive to the compiler, with the names that the linker asks for', async (t) => {
  const archive = tarGz({
    './lib/libtensorflow.so.2.9.1': 'not a library',
    './lib/libtensorflow_framework.so.2.9.1': 'not a library',
    './include/tensorflow/c/c_api.h': '// header',
    './LICENSE': 'Apache',
  });
  await serve(t, (_request, response) => response.writeHead(200).end(archive));
  const box = sandbox(
    t,
    // Fails after it has shown what it was given.
    { 'g++': fake.compiler('echo "error: given $*" >&2; exit 1') },
    { TFJS_NODE_CDN_STORAGE: process.env.TFJS_NODE_CDN_STORAGE },
  );
  const library = {
    path: 'x/lib.tar.gz',
    tensorflow: '2.9.1',
    sha256: createHash('sha256').update(archive).digest('hex'),
    bytes: archive.length,
    unpackedBytes: 100,
  };
  const world = {
    machine: { platform: 'linux', arch: 'x64', glibc: '2.35' },
    catalog: { ...catalog, officialLibraries: { 'linux-x64-cpu': library } },
  };
  const { attempts } = await installEngine({}, box.reporter, box.signal, world);
  assert.deepEqual(
    attempts.map(({ rung, obstacle }) => `${rung}: ${obstacle}`),
    ['wheel: no-pip', 'official: build-failed'],
  );
  assert.deepEqual(box.leftovers(), []);
  assert.deepEqual(existsSync(join(box.root, 'downloads', 'lib.tar.gz')), true, 'the finished download is kept');
});

test('a mirror without https is refused before anything is asked of it', async (t) => {
  for (const address of ['http://mirror.example/', 'ftp://127.0.0.1/', 'not an address']) {
    const before = process.env.TFJS_NODE_CDN_STORAGE;
    process.env.TFJS_NODE_CDN_STORAGE = address;
    t.after(() => {
      if (before === undefined) delete process.env.TFJS_NODE_CDN_STORAGE;
      else process.env.TFJS_NODE_CDN_STORAGE = before;
    });
    await assert.rejects(fetchTo(temporaryFolder('official')), /must be an https address/, address);
  }
});
