/**
 * @file Each obstacle of each source: the reason is one sentence, nothing incomplete stays, and the next source is tried. Fake
 * programs stand for those that would need minutes or another machine.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type InstallEnvironment, installEngine } from '../../../src/engine/install/install.js';
import { catalog, type Wheel } from '../../../src/engine/install/packages.js';
import { findProgram } from '../../../src/util/process.js';
import { zip } from '../../helpers/archive.js';
import { temporaryFolder } from '../../helpers/cli.js';
import { deadServer, fake, type Program, sandbox } from '../../helpers/sandbox.js';

const linux = { platform: 'linux', arch: 'x64', glibc: '2.35' };
const compiler = fake.compiler('echo "error: out of luck" >&2; exit 1');

/** A wheel with the right file names and nothing of use in them. */
const wheelPath = join(temporaryFolder('wheel'), 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl');
const wheelBytes = zip({
  'tensorflow/libtensorflow_cc.so.2': 'not a library',
  'tensorflow/libtensorflow_framework.so.2': 'not a library',
  'tensorflow/include/tensorflow/c/c_api.h': '',
});
writeFileSync(wheelPath, wheelBytes);
const emptyWheel: Wheel = {
  ...catalog.tensorflowWheels['linux-x64-cpu']!,
  bytes: wheelBytes.length,
  sha256: createHash('sha256').update(wheelBytes).digest('hex'),
  unpackedBytes: 1000,
};
const smallCatalog = { ...catalog, tensorflowWheels: { 'linux-x64-cpu': emptyWheel } };

interface Case {
  readonly programs?: Record<string, Program>;
  readonly env?: Record<string, string>;
  readonly environment?: Partial<InstallEnvironment>;
  readonly obstacle: string;
  readonly sentence: RegExp;
}

async function firstAttempt(t: TestContext, { programs = {}, env = {}, environment = {} }: Case) {
  const box = sandbox(t, programs, env);
  const result = await installEngine({}, box.reporter, box.signal, { machine: linux, ...environment });
  assert.equal(result.engine, undefined);
  assert.deepEqual(box.leftovers(), [], 'nothing incomplete stays');
  assert.equal(result.attempts.length, 2, 'the next source was tried');
  assert.ok(
    box.lines.some((line) => line.includes(result.attempts[0]?.sentence ?? '?')),
    'it was reported',
  );
  const [attempt] = result.attempts;
  assert.ok(attempt);
  assert.match(attempt.sentence, /^[^\n]+\.$/, 'one line that ends in a full stop');
  return attempt;
}

const cases: Record<string, Case> = {
  'a platform without wheels': {
    environment: { machine: { platform: 'linux', arch: 'riscv64', glibc: '2.39' } },
    obstacle: 'unsupported-platform',
    sentence: /no wheel for linux riscv64/,
  },
  'a Linux without glibc': {
    environment: { machine: { platform: 'linux', arch: 'x64', glibc: null } },
    obstacle: 'unsupported-platform',
    sentence: /needs the GNU C library/,
  },
  'a glibc that is too old': {
    environment: { machine: { platform: 'linux', arch: 'x64', glibc: '2.17' } },
    obstacle: 'unsupported-platform',
    sentence: /needs glibc 2\.27 or newer, but this system has 2\.17/,
  },
  'no pip': { programs: { 'g++': compiler }, obstacle: 'no-pip', sentence: /pip was not found/ },
  'a pip that does not work': {
    programs: { pip3: { script: 'exit 1' }, 'g++': compiler },
    obstacle: 'no-pip',
    sentence: /pip was not found/,
  },
  'no compiler': {
    programs: { pip3: fake.failingPip('') },
    obstacle: 'no-compiler',
    sentence: /must be compiled, but no C\+\+ compiler was found/,
  },
  'an index that cannot be reached': {
    programs: {
      pip3: fake.failingPip(
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\nERROR: No matching distribution found",
      ),
      'g++': compiler,
    },
    obstacle: 'no-network',
    sentence: /could not reach its package index to download tensorflow_cpu 2\.21\.0/,
  },
  'a pip that fails in its own words': {
    programs: { pip3: fake.failingPip('ERROR: no such option: --dest'), 'g++': compiler },
    obstacle: 'download-failed',
    sentence: /could not download tensorflow_cpu 2\.21\.0: no such option: --dest\./,
  },
  'a disk that is full': {
    programs: { pip3: fake.pip(wheelPath), 'g++': compiler },
    environment: {
      catalog: { ...catalog, tensorflowWheels: { 'linux-x64-cpu': { ...emptyWheel, unpackedBytes: 1e18 } } },
    },
    obstacle: 'no-space',
    sentence: /has .* free, but the install needs 1000000 TB/,
  },
  'a disk that fills up while pip downloads': {
    programs: { pip3: fake.failingPip("OSError: [Errno 28] No space left on device: '/x'"), 'g++': compiler },
    obstacle: 'no-space',
    sentence: /disk filled up while pip downloaded/,
  },
  'a compiler that fails': {
    programs: { pip3: fake.pip(wheelPath), 'g++': compiler },
    environment: { catalog: smallCatalog },
    obstacle: 'build-failed',
    sentence: /could not compile the addon: error: out of luck\./,
  },
  'an addon that does not load': {
    programs: { pip3: fake.pip(wheelPath), 'g++': fake.compiler('echo junk > "$output"') },
    environment: { catalog: smallCatalog },
    obstacle: 'load-failed',
    sentence: /addon does not load/,
  },
  'a wheel without the library': {
    programs: { pip3: fake.pip(wheelPath), 'g++': compiler },
    environment: {
      catalog: {
        ...catalog,
        tensorflowWheels: { 'linux-x64-cpu': { ...emptyWheel, ...withFile(zip({ 'tensorflow/README': '' })) } },
      },
    },
    obstacle: 'download-failed',
    sentence: /libtensorflow_cc\.so\.2 is not in the downloaded archive\./,
  },
};

/** Puts other bytes where the fake pip finds its wheel; the tests run one after the other. */
function withFile(bytes: Buffer): Pick<Wheel, 'file' | 'bytes' | 'sha256'> {
  const file = 'other-1-cp311-cp311-manylinux_2_27_x86_64.whl';
  writeFileSync(join(wheelPath, '..', file), bytes);
  return { file, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
(cases['a wheel without the library'] as { programs: Record<string, Program> }).programs.pip3 = fake.pip(
  join(wheelPath, '..', 'other-1-cp311-cp311-manylinux_2_27_x86_64.whl'),
);

for (const [name, expected] of Object.entries(cases)) {
  test(name, async (t) => {
    const attempt = await firstAttempt(t, expected);
    assert.equal(attempt.obstacle, expected.obstacle, attempt.sentence);
    assert.match(attempt.sentence, expected.sentence);
  });
}

const realPip = findProgram('pip3') ?? findProgram('pip');
const missing = realPip === undefined ? 'no pip on this machine' : false;

test('the real pip, pointed at an index that is not there', { skip: missing }, async (t) => {
  const attempt = await firstAttempt(t, {
    programs: { pip3: { script: `PATH=${process.env.PATH} exec ${realPip} "$@"` }, 'g++': compiler },
    env: { PIP_INDEX_URL: deadServer, PIP_EXTRA_INDEX_URL: '', PIP_FIND_LINKS: '', PIP_RETRIES: '1' },
    obstacle: 'no-network',
    sentence: /./,
  });
  assert.equal(attempt.obstacle, 'no-network', attempt.sentence);
});

test('the real pip, served other bytes under the right name', { skip: missing }, async (t) => {
  const attempt = await firstAttempt(t, {
    programs: { pip3: { script: `PATH=${process.env.PATH} exec ${realPip} "$@"` }, 'g++': compiler },
    env: { PIP_NO_INDEX: '1', PIP_FIND_LINKS: join(wheelPath, '..') },
    obstacle: 'wrong-hash',
    sentence: /./,
  });
  assert.equal(attempt.obstacle, 'wrong-hash', attempt.sentence);
});

test('an install changes no file of the checkout, node_modules included', async (t) => {
  const root = fileURLToPath(new URL('../../../../', import.meta.url));
  const state = () =>
    ['.', 'dist', 'node_modules', 'node_modules/@tensorflow/tfjs-node-gpu'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: folder !== '.' && folder !== 'node_modules', encoding: 'utf8' }).map(
        (name) => {
          const { mtimeMs, ctimeMs, size } = lstatSync(join(root, folder, name));
          return `${folder}/${name} ${size} ${mtimeMs} ${ctimeMs}`;
        },
      ),
    );
  const before = state();
  // Runs up to loading the addon, so it has read the package in node_modules.
  const attempt = await firstAttempt(t, cases['an addon that does not load']!);
  assert.equal(attempt.obstacle, 'load-failed');
  assert.deepEqual(state(), before);
});

test('a finished download is used by the next run', async (t) => {
  const box = sandbox(t, { pip3: fake.pip(wheelPath), 'g++': compiler });
  const environment = { machine: linux, catalog: smallCatalog };
  await installEngine({}, box.reporter, box.signal, environment);
  writeFileSync(join(box.folder, 'bin', 'pip3'), '#!/bin/sh\ncase "$*" in *--version*) exit 0 ;; esac; exit 1\n');
  const second = await installEngine({}, box.reporter, box.signal, environment);
  assert.equal(second.attempts[0]?.obstacle, 'build-failed', 'compiled next');
  assert.ok(box.lines.some((line) => line.includes('earlier run downloaded')));
});

test('--from: a file with other bytes is rejected by its hash, a folder without the wheel by name', async (t) => {
  const box = sandbox(t, { 'g++': compiler });
  const wrong = join(box.folder, 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl');
  writeFileSync(wrong, 'x');
  const install = (from: string, environment: Partial<InstallEnvironment> = {}) =>
    installEngine({ from }, box.reporter, box.signal, { machine: linux, ...environment });
  await assert.rejects(install(wrong), /Expected tensorflow_cpu-.*sha256 2b847d21.*Found .*sha256 2d711642/);
  await assert.rejects(install(join(box.folder, 'bin')), /is not a usable wheel/);
  await assert.rejects(install(join(box.folder, 'nothing')), /no such file or folder/);
  // A folder is searched by name, then the hash is checked.
  await assert.rejects(install(box.folder), /with sha256 2b847d21.* Found 2d711642/);
  // A file of the right size: only the hash differs.
  const sameSize = { ...emptyWheel, bytes: 1 };
  await assert.rejects(
    install(wrong, { catalog: { ...catalog, tensorflowWheels: { 'linux-x64-cpu': sameSize } } }),
    /is not a usable wheel/,
  );
  assert.deepEqual(box.leftovers(), []);
});

test('--from: a named pipe is rejected at once, as a file and in a folder', async (t) => {
  const box = sandbox(t, { 'g++': compiler });
  const pipe = join(box.folder, emptyWheel.file);
  execFileSync('/usr/bin/mkfifo', [pipe]);
  const environment = { machine: linux, catalog: smallCatalog };
  for (const from of [pipe, box.folder]) {
    await assert.rejects(installEngine({ from }, box.reporter, box.signal, environment), /not a regular file/);
  }
});
