import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ChooseOptions, chooseEngine } from '../../../src/engine/install/choose.js';
import { engineFormat } from '../../../src/engine/install/installed.js';
import { UserError } from '../../../src/util/errors.js';
import { tinyzero } from '../../helpers/cli.js';
import { type Sandbox, sandbox } from '../../helpers/sandbox.js';

function choose(box: Sandbox, options: Partial<ChooseOptions>) {
  const base = { engine: 'auto', install: true, reporter: box.reporter, signal: box.signal, probe: noCard } as const;
  return chooseEngine({ ...base, ...options });
}

const limits = { maxBindingBytes: 2 ** 31, maxBuffers: 8, maxThreads: 1024, maxSharedBytes: 49152 };
const noCard = async () => ({ missing: { problem: 'There is none.' } });

/** Writes files that look like an engine until they are loaded. */
function pretendEngine(root: string): void {
  mkdirSync(join(root, 'it'), { recursive: true });
  const manifest = { format: engineFormat, tensorflow: '2.21.0', variant: 'cpu', source: 'wheel', addon: 'compiled' };
  const paths = { binding: 'b', package: 'p', library: 'l', files: [] };
  writeFileSync(join(root, 'it', 'engine.json'), JSON.stringify({ ...manifest, ...paths }));
  writeFileSync(join(root, 'current.json'), JSON.stringify({ folder: 'it' }));
}

const never = async () => assert.fail('nothing may be installed');

test('an installed engine is used, and one line says so', async (t) => {
  const box = sandbox(t, {});
  pretendEngine(box.root);
  assert.equal((await choose(box, { installer: never })).name, 'tensorflow');
  assert.deepEqual(box.lines, ['Engine: tensorflow (TensorFlow 2.21.0 for the CPU; it is installed).']);
  assert.equal((await choose(box, { engine: 'wasm' })).name, 'wasm');
  assert.equal((await choose(box, { engine: 'tensorflow' })).reason, 'TensorFlow 2.21.0 for the CPU; as requested');
});

test('auto asks on a terminal before it installs', async (t) => {
  const box = sandbox(t, {});
  const installer = async () => {
    pretendEngine(box.root);
    return { already: false, attempts: [] };
  };
  const questions: string[] = [];
  const declined = await choose(box, {
    installer: never,
    reporter: {
      ...box.reporter,
      ask: async (question) => {
        questions.push(question);
        return false;
      },
    },
  });
  assert.equal(declined.name, 'wasm');
  assert.match(questions.join(), /Install it now \(274 MB download/);
  assert.match(declined.reason, /declined/);
  assert.equal(
    (await choose(box, { installer, reporter: { ...box.reporter, ask: async () => true } })).name,
    'tensorflow',
  );
});

test('without a terminal auto announces the install; --no-install uses WebAssembly', async (t) => {
  const box = sandbox(t, {});
  assert.equal((await choose(box, { install: false, installer: never })).name, 'wasm');
  const installer = async () => {
    pretendEngine(box.root);
    return { already: false, attempts: [] };
  };
  assert.match((await choose(box, { installer })).reason, /just installed/);
  assert.ok(box.lines.some((line) => /Installing it \(274 MB download, once; --no-install skips it/.test(line)));
});

test('a failed install falls back to WebAssembly', async (t) => {
  const box = sandbox(t, {});
  const attempts = [{ source: 'wheel', obstacle: 'no-pip', sentence: 'pip was not found.' }] as const;
  const unavailable = await choose(box, { installer: async () => ({ already: false, attempts }) });
  assert.deepEqual(unavailable, { name: 'wasm', reason: 'native TensorFlow is unavailable: pip was not found' });
  const failed = await choose(box, {
    installer: async () => {
      throw new Error('out of luck');
    },
  });
  assert.deepEqual(failed, { name: 'wasm', reason: 'installing native TensorFlow failed: out of luck' });
});

test('without native TensorFlow a graphics card is used, but not a software renderer', async (t) => {
  const box = sandbox(t, {});
  const adapter = { name: 'Some Card', driver: '1.2', software: false, float16: true, ...limits };
  const chosen = await choose(box, { install: false, probe: async () => ({ adapter }) });
  assert.deepEqual(chosen, {
    name: 'webgpu',
    reason: 'Some Card; native TensorFlow is not installed, and --no-install is set',
  });
  const pretending = await choose(box, {
    install: false,
    probe: async () => ({ adapter: { ...adapter, software: true } }),
  });
  assert.equal(pretending.name, 'wasm');
  assert.deepEqual(await choose(box, { engine: 'webgpu' }), { name: 'webgpu', reason: 'as requested' });
});

test('Ctrl-C during the install stops the command instead of using WebAssembly', async (t) => {
  const box = sandbox(t, {});
  const controller = new AbortController();
  const stopped = choose(box, {
    signal: controller.signal,
    installer: async () => {
      controller.abort(new UserError('Stopped.'));
      throw new Error('pip was killed');
    },
  });
  await assert.rejects(stopped, /Stopped\./);
});

test('--engine tensorflow fails with advice if it is not installed', async (t) => {
  const box = sandbox(t, {});
  await assert.rejects(choose(box, { engine: 'tensorflow' }), /not installed.*tinyzero engine install/);
  mkdirSync(box.root, { recursive: true });
  writeFileSync(join(box.root, 'current.json'), '{"folder": "../../elsewhere"}');
  await assert.rejects(choose(box, { engine: 'tensorflow' }), /is broken.*does not name an engine/);
});

test('an unwritable cache falls back to WebAssembly', async (t) => {
  const box = sandbox(t, {});
  // A file where the folder should be: unlike permissions, this stops the superuser too.
  writeFileSync(join(box.folder, 'cache'), '');
  const choice = await choose(box, {});
  assert.equal(choice.name, 'wasm');
  assert.match(choice.reason, /cache folder .* is not writable \(ENOTDIR\)/);
  const { code, stderr } = await tinyzero(['engine', 'install']);
  assert.equal(code, 1);
  assert.match(stderr, /^tinyzero: The cache folder .* is not writable \(ENOTDIR\)\. Set TINYZERO_CACHE/m);
});
