/**
 * @file The installer killed at seeded moments, and two installers at once. A quick source replaces download and compiler
 * (helpers/install-child.ts); kill.slow.ts uses the real ones.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findInstalledEngine, inspectEngine } from '../../../src/engine/install/installed.js';
import { cacheFolder } from '../../../src/util/machine.js';
import { cliPath, merge, runNode, tinyzero } from '../../helpers/cli.js';
import { uniform } from '../../helpers/fuzz.js';
import { judgeState, runAndKill } from '../../helpers/kill.js';
import { nativeTest } from '../../helpers/native.js';

const child = fileURLToPath(new URL('../../helpers/install-child.js', import.meta.url));

/** A folder on the disk of the real cache, so that files can be hard-linked. */
const parent = join(cacheFolder(), 'tests');

/** The engine's files under names of this test's own: another checkout may replace the engine while the test runs. */
const source = join(parent, `source-${process.pid}`);
before(() => {
  const engine = findInstalledEngine();
  if (engine === undefined) return;
  for (const { path } of [...engine.manifest.files, { path: 'engine.json' }]) {
    mkdirSync(dirname(join(source, path)), { recursive: true });
    linkSync(join(engine.folder, path), join(source, path));
  }
});
after(() => rmSync(source, { recursive: true, force: true }));

function testCache(t: TestContext): { cache: string; env: Record<string, string>; args: string[] } {
  mkdirSync(parent, { recursive: true });
  const cache = mkdtempSync(join(parent, 'kill-'));
  t.after(() => rmSync(cache, { recursive: true, force: true }));
  return { cache, env: { TINYZERO_CACHE: cache }, args: [child, source] };
}

nativeTest('killed at 4 moments: the old engine, the new one or none, and the next install repairs it', async (t) => {
  const { cache, env, args } = testCache(t);
  const start = performance.now();
  const whole = await runNode(args, env);
  assert.equal(whole.code, 0, whole.stderr);
  const wholeMs = performance.now() - start;
  const random = uniform(20261123);
  const seen: string[] = [];
  for (let index = 0; index < 4; index += 1) {
    const withOld = index % 2 === 0;
    if (!withOld) rmSync(cache, { recursive: true });
    const before = inspectEngine({ TINYZERO_CACHE: cache }).engine?.folder;
    assert.equal(before !== undefined, withOld);
    const afterMs = (0.1 + 0.8 * random()) * wholeMs;
    const { killed } = await runAndKill([...args, '--force'], afterMs, env);
    const state = await judgeState(cache, before);
    seen.push(`${afterMs.toFixed(0)} ms${killed ? '' : ' (was done)'}: ${withOld ? 'old' : 'none'} -> ${state}`);
    const mended = await runNode([...args, '--force'], env);
    assert.equal(mended.code, 0, mended.stderr);
    const after = inspectEngine({ TINYZERO_CACHE: cache });
    assert.deepEqual(after.leftovers, [], 'nothing is left lying about');
    assert.equal(after.engine?.folder, JSON.parse(mended.stdout).folder);
  }
  t.diagnostic(`a whole install took ${wholeMs.toFixed(0)} ms; killed after ${seen.join(', ')}`);
});

nativeTest('doctor explains what a killed install left', async (t) => {
  const { env, args } = testCache(t);
  const installing = spawn(process.execPath, args, { env: merge(env), stdio: 'ignore' });
  while (!inspectEngine(env).leftovers.some((path) => path.includes('staging-'))) await sleep(10);
  installing.kill('SIGKILL');
  await new Promise((resolve) => installing.on('exit', resolve));
  const { code, stdout } = await tinyzero(['doctor', '--no-install', '--json'], env);
  assert.equal(code, 0, 'WebAssembly is there');
  const { checks } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as {
    checks: { name: string; ok: boolean; found: string; fix: string }[];
  };
  const leftover = checks.find(({ name }) => name === 'leftovers');
  assert.equal(leftover?.ok, false);
  assert.match(leftover?.found ?? '', /an interrupted install left .*staging-/);
  assert.match(leftover?.fix ?? '', /engine install/);
});

nativeTest('two installs at once: one works, the other waits and uses its engine', async (t) => {
  const { env, args } = testCache(t);
  const results = await Promise.all([runNode(args, env), runNode(args, env)]);
  const outcomes = results.map(({ code, stdout, stderr }) => {
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as { already: boolean; folder: string; lines: string[] };
  });
  assert.deepEqual(outcomes.map(({ already }) => already).sort(), [false, true]);
  assert.equal(outcomes[0]?.folder, outcomes[1]?.folder);
  const waiter = outcomes.find(({ already }) => already);
  assert.match(waiter?.lines.join() ?? '', /Waiting for (process \d+ on|another process)/);
});

nativeTest('the lock of a killed install is taken over', async (t) => {
  const { env, args } = testCache(t);
  const first = spawn(process.execPath, args, { env: merge(env), stdio: 'ignore' });
  const { root } = inspectEngine(env);
  while (!existsSync(join(root, 'install.lock.owner'))) await sleep(10);
  assert.match((await tinyzero(['engine', 'status'], env)).stdout, /An install is in progress \(process \d+ on /);
  first.kill('SIGKILL');
  await new Promise((resolve) => first.on('exit', resolve));
  assert.ok(existsSync(join(root, 'install.lock')), 'it was killed while it held the lock');
  const start = performance.now();
  const second = await runNode(args, env);
  assert.equal(second.code, 0, second.stderr);
  t.diagnostic(`lock taken over and engine installed in ${(performance.now() - start).toFixed(0)} ms`);
});

nativeTest('Ctrl-C removes the staging folder, releases the lock and exits with 130', async (t) => {
  const { env } = testCache(t);
  // The real command, stopped while it waits for a pip that never ends.
  const bin = mkdtempSync(join(cacheFolder(), 'tests', 'bin-'));
  t.after(() => rmSync(bin, { recursive: true }));
  writeFileSync(join(bin, 'pip3'), '#!/bin/sh\ncase "$*" in *--version*) exit 0 ;; esac\nexec sleep 60\n');
  chmodSync(join(bin, 'pip3'), 0o755);
  const running = spawn(process.execPath, [cliPath, 'engine', 'install'], {
    env: merge({ ...env, PATH: `${bin}:${process.env.PATH}` }),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  running.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  while (!stderr.includes('Downloading')) await sleep(10);
  running.kill('SIGINT');
  const code = await new Promise((resolve) => running.on('exit', resolve));
  assert.equal(code, 130);
  assert.match(stderr, /tinyzero: Stopped\.\n$/);
  const { root } = inspectEngine(env);
  assert.deepEqual(readdirSync(root), ['downloads']);
  assert.deepEqual(readdirSync(join(root, 'downloads')), []);
});
