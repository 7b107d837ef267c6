import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { acquireLock, lockHolder } from '../../../src/engine/install/staging.js';
import { temporaryFolder } from '../../helpers/cli.js';

/** A lock left by another process. */
function leave(owner: { pid: number; host: string }): string {
  const path = join(temporaryFolder('lock'), 'install.lock');
  mkdirSync(path);
  writeFileSync(`${path}.owner`, JSON.stringify(owner));
  return path;
}

const deadPid = () => spawnSync(process.execPath, ['-e', '']).pid;
const quiet = { onWait: () => {}, onLost: (error: Error) => assert.fail(error) };

test('a lock names its holder and is released', async () => {
  const path = join(temporaryFolder('lock'), 'deep', 'install.lock');
  const release = await acquireLock(path, { signal: new AbortController().signal, ...quiet });
  assert.equal(lockHolder(path), `process ${process.pid} on ${hostname()}`);
  const stopped = AbortSignal.timeout(600);
  const waits: string[] = [];
  const second = acquireLock(path, { ...quiet, signal: stopped, onWait: (holder) => waits.push(holder) });
  await assert.rejects(second, { name: 'TimeoutError' });
  assert.deepEqual(waits, [`process ${process.pid} on ${hostname()}`], 'reported once');
  await release();
  assert.equal(lockHolder(path), undefined);
  assert.equal(existsSync(path), false);
});

test('the lock of a dead process on this machine is taken over after two seconds, not fifteen', async () => {
  const path = leave({ pid: deadPid(), host: hostname() });
  assert.equal(lockHolder(path), undefined);
  const start = Date.now();
  const release = await acquireLock(path, { signal: new AbortController().signal, ...quiet });
  const elapsedMs = Date.now() - start;
  await release();
  assert.ok(elapsedMs >= 1500 && elapsedMs < 12_000, `${elapsedMs} ms`);
});

test('the lock of another machine is taken over only after it is no longer renewed', async () => {
  const path = leave({ pid: 1, host: 'elsewhere' });
  assert.equal(lockHolder(path), 'process 1 on elsewhere');
  const waiting = acquireLock(path, { ...quiet, signal: AbortSignal.timeout(600) });
  await assert.rejects(waiting, { name: 'TimeoutError' });
  const longAgo = Date.now() / 1000 - 60;
  utimesSync(path, longAgo, longAgo);
  assert.equal(lockHolder(path), undefined);
  await (await acquireLock(path, { signal: new AbortController().signal, ...quiet }))();
});
