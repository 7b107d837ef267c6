import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRunFolder, openRunFolder, type RunFolder, whileThere } from '../../src/run/folder.js';
import { lockHolder } from '../../src/run/lock.js';
import { openLog } from '../../src/run/logs.js';
import { checkpointStateFile } from '../../src/stage2/checkpoint.js';
import { assertUserError } from '../helpers/errors.js';

const fresh = () => join(mkdtempSync(join(tmpdir(), 'tinyzero-run-')), 'run');
const started = () => {
  const run = createRunFolder(fresh());
  writeFileSync(run.file('config'), '{}');
  return run;
};
const checkpoint = (run: RunFolder, step: number, whole = true) => {
  const folder = run.startCheckpoint(step);
  writeFileSync(join(folder, 'model.safetensors'), 'weights');
  if (whole) writeFileSync(join(folder, checkpointStateFile), '{}');
};

test('a new run has its own folder; a second run does not get it', () => {
  const run = started();
  assert.equal(run.file('evalBefore'), join(run.path, 'eval-before.json'));
  run.release();
  assertUserError(() => createRunFolder(run.path), /already contains a run.*--resume/);
  openRunFolder(run.path).release();
  assert.deepEqual(readdirSync(run.path), ['config.json']);
});

test('a folder with other files is not touched; the remains of a run without configuration are replaced', () => {
  const path = fresh();
  mkdirSync(path);
  writeFileSync(join(path, 'thesis.tex'), 'precious');
  assertUserError(() => createRunFolder(path), /not an empty folder\. Found thesis\.tex/);
  const remains = fresh();
  mkdirSync(join(remains, 'checkpoints'), { recursive: true });
  writeFileSync(join(remains, 'problems.json'), '{}');
  createRunFolder(remains).release();
});

test('only a run can be resumed', () => {
  assertUserError(() => openRunFolder(fresh()), /contains no run/);
  assertUserError(() => openRunFolder(tmpdir()), /contains no run/);
});

test('paths that cannot be folders are explained', () => {
  const parent = mkdtempSync(join(tmpdir(), 'tinyzero-run-'));
  writeFileSync(join(parent, 'file'), '');
  assertUserError(() => createRunFolder(join(parent, 'file')), /with that name exists/);
  assertUserError(() => createRunFolder(join(parent, 'file', 'run')), /part of the path is a file/);
});

test('this process cannot open a folder twice, but can after releasing it', () => {
  const run = started();
  assertUserError(() => openRunFolder(run.path), new RegExp(`in use by process ${process.pid} on ${hostname()}`));
  run.release();
  openRunFolder(run.path).release();
});

/** Another process that locks the folder, says so and waits. */
const holder = `
const { openRunFolder } = await import(${JSON.stringify(new URL('../../src/run/folder.js', import.meta.url).href)});
try { openRunFolder(process.argv[1]); console.log('locked'); setInterval(() => {}, 1000); }
catch (error) { console.log(error.message); }`;
const spawnHolder = (path: string) => spawn(process.execPath, ['--input-type=module', '-e', holder, path]);

test('another process learns who holds the folder; after a kill it is free at once', async () => {
  const run = started();
  run.release();
  const child = spawnHolder(run.path);
  const [said] = await once(child.stdout, 'data');
  assert.equal(String(said).trim(), 'locked');
  assertUserError(() => openRunFolder(run.path), new RegExp(`in use by process ${child.pid} `));
  child.kill('SIGKILL');
  await once(child, 'exit');
  openRunFolder(run.path).release();
  assert.deepEqual(readdirSync(run.path), ['config.json']);
});

test('of six processes after one dead lock, exactly one gets it', async () => {
  const run = started();
  run.release();
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  writeFileSync(join(run.path, 'run.lock'), JSON.stringify({ pid, host: hostname(), began: null }));
  const children = Array.from({ length: 6 }, () => spawnHolder(run.path));
  const answers = await Promise.all(children.map(async (child) => String((await once(child.stdout, 'data'))[0])));
  for (const child of children) child.kill('SIGKILL');
  assert.equal(answers.filter((answer) => answer.trim() === 'locked').length, 1, answers.join(''));
  assert.equal(answers.filter((answer) => /in use by process/.test(answer)).length, 5, answers.join(''));
});

test('a lock of another machine holds; one that names no process is taken over', () => {
  const run = started();
  run.release();
  const lock = join(run.path, 'run.lock');
  writeFileSync(lock, JSON.stringify({ pid: 1, host: 'elsewhere', began: null }));
  assertUserError(() => openRunFolder(run.path), /in use by process 1 on elsewhere.*delete .*run\.lock/);
  for (const content of ['', '{"pid": -1, "host": "x"}', '{"pid": 1e300}', '\0\0\0']) {
    writeFileSync(lock, content);
    openRunFolder(run.path).release();
    assert.deepEqual(readdirSync(run.path), ['config.json'], content);
  }
});

test('a lock that is being copied is waited for', async () => {
  const run = started();
  run.release();
  const lock = join(run.path, 'run.lock');
  writeFileSync(lock, '');
  const holder = JSON.stringify({ pid: 1, host: 'elsewhere', began: null });
  // Another process completes it, since taking a lock blocks this one.
  const script = `setTimeout(() => require('fs').writeFileSync(process.argv[1], process.argv[2]), 100); console.log('ready')`;
  const child = spawn(process.execPath, ['-e', script, lock, holder]);
  await once(child.stdout, 'data');
  assertUserError(() => openRunFolder(run.path), /in use by process 1 on elsewhere/);
  await once(child, 'exit');
});

test('a folder in place of the lock is explained, to a reader too', () => {
  const run = started();
  run.release();
  mkdirSync(join(run.path, 'run.lock'));
  assertUserError(() => openRunFolder(run.path), /run\.lock cannot be read \(no regular file\).*remove .*run\.lock/);
  assert.equal(lockHolder(run.path), undefined);
  assertUserError(() => createRunFolder(run.path), /no regular file/);
});

test('a pipe in place of the lock is explained, and never waited for', { skip: process.platform === 'win32' }, () => {
  const run = started();
  run.release();
  spawnSync('mkfifo', [join(run.path, 'run.lock')]);
  assertUserError(() => openRunFolder(run.path), /run\.lock cannot be read \(no regular file\).*remove .*run\.lock/);
  assert.equal(lockHolder(run.path), undefined);
  rmSync(join(run.path, 'run.lock'));
  spawnSync('mkfifo', [join(run.path, 'timings.jsonl')]);
  assertUserError(() => openLog(join(run.path, 'timings.jsonl')), /timings\.jsonl: it is not a regular file/);
});

test('remains of a process that was killed while taking the lock are removed, locks of others are not', () => {
  const run = started();
  run.release();
  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  const stray = `.run.lock.${hostname()}.${pid}.0123abcd`;
  const kept = [
    `.run.lock.${hostname()}.${process.ppid}.0123abcd`,
    `.run.lock.elsewhere.${pid}.0123abcd`,
    '.run.lock.x',
  ];
  for (const name of [stray, `${stray}.old`, ...kept]) writeFileSync(join(run.path, name), '');
  openRunFolder(run.path).release();
  assert.deepEqual(readdirSync(run.path).sort(), [...kept, 'config.json'].sort());
});

test('killed at any moment of taking and releasing the lock, a process leaves nothing that matters', async () => {
  const run = started();
  run.release();
  const loop = `
    const { lockFolder } = await import(${JSON.stringify(new URL('../../src/run/lock.js', import.meta.url).href)});
    console.log('ready');
    for (;;) lockFolder(process.argv[1]).release();`;
  for (let kill = 0; kill < 8; kill++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', loop, run.path]);
    await once(child.stdout, 'data');
    await sleep(3 * kill + 1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    openRunFolder(run.path).release();
    assert.deepEqual(readdirSync(run.path), ['config.json']);
  }
});

test('a run that is removed before its report is written is said to be removed', () => {
  const { path, release } = started();
  assert.throws(
    () => whileThere(path, () => assert.fail('another error')),
    /another error/,
    'while the run is there, errors stay as they are',
  );
  assertUserError(
    () =>
      whileThere(path, () => {
        rmSync(path, { recursive: true });
        openRunFolder(path);
      }),
    /was removed or moved before its report was written\. If it was moved, `tinyzero report FOLDER`/,
  );
  release();
});

test('a folder that is removed or taken over while it is locked is noticed', () => {
  const removed = started();
  removed.requirePresent();
  rmSync(removed.path, { recursive: true });
  assertUserError(() => removed.requirePresent(), /was removed, moved or taken over/);
  removed.release();
  const taken = started();
  writeFileSync(join(taken.path, 'run.lock'), JSON.stringify({ pid: 1, host: 'elsewhere', began: null }));
  assertUserError(() => taken.requirePresent(), /taken over/);
  taken.release();
  assert.ok(existsSync(join(taken.path, 'run.lock')), 'the lock of another is left alone');
});

test('if no folder can be created, an error explains it', {
  skip: !existsSync('/proc/self') && 'no /proc',
}, () => {
  assertUserError(
    () => createRunFolder('/proc/tinyzero/run'),
    /cannot be written: its folder does not exist and cannot be created/,
  );
});

test('a file system that turns read-only is explained, and releasing the lock on it is no error', {
  skip: spawnSync('unshare', ['-rm', 'true']).status !== 0 && 'needs a mount namespace',
}, () => {
  const script = `
    const { execFileSync } = await import('node:child_process');
    const { createRunFolder, openRunFolder } = await import(${JSON.stringify(new URL('../../src/run/folder.js', import.meta.url).href)});
    const told = (work) => { try { work(); return 'done'; } catch (error) { return error.name + ': ' + error.message; } };
    const root = process.argv[1];
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', root]);
    const run = createRunFolder(root + '/run');
    (await import('node:fs')).writeFileSync(run.file('config'), '{}');
    execFileSync('mount', ['-o', 'remount,ro', root]);
    console.log(told(() => run.release()));
    console.log(told(() => openRunFolder(root + '/run')));
    console.log(told(() => createRunFolder(root + '/other/deep')));`;
  const root = mkdtempSync(join(tmpdir(), 'tinyzero-readonly-'));
  const inside = [process.execPath, '--input-type=module', '-e', script, root];
  const { stdout, stderr } = spawnSync('unshare', ['-rm', ...inside], { encoding: 'utf8' });
  const [released, opened, created] = stdout.split('\n');
  assert.equal(released, 'done', stderr);
  assert.match(opened!, /^UserError: .*the file system is read-only/);
  assert.match(created!, /^UserError: .*the file system is read-only/);
});

test('a reused process id is not the holder', {
  skip: !existsSync('/proc/self/stat') && 'no /proc',
}, () => {
  const run = started();
  run.release();
  writeFileSync(
    join(run.path, 'run.lock'),
    JSON.stringify({ pid: process.pid, host: hostname(), began: 'another boot 1' }),
  );
  openRunFolder(run.path).release();
});

test('a checkpoint with its state is complete; pruning keeps the newest and removes the rest', () => {
  const run = started();
  for (const step of [10, 20, 1_000_000]) checkpoint(run, step);
  checkpoint(run, 30, false);
  assert.match(run.checkpointPath(10), /checkpoints.step-000010$/);
  assert.deepEqual(run.checkpoints(), [10, 20, 1_000_000]);
  assertUserError(() => run.startCheckpoint(20), /already contains a checkpoint/);
  // What an interrupted save left is replaced.
  checkpoint(run, 30);
  assert.deepEqual(run.checkpoints(), [10, 20, 30, 1_000_000]);
  checkpoint(run, 40, false);
  run.prune(2);
  assert.deepEqual(readdirSync(join(run.path, 'checkpoints')).sort(), ['step-000030', 'step-1000000']);
  const aside = run.setAside(30);
  assert.match(aside, /checkpoints.damaged-step-000030$/);
  assert.ok(existsSync(join(aside, checkpointStateFile)));
  run.prune(0); // never the last one
  assert.ok(existsSync(aside));
  assert.deepEqual(run.checkpoints(), [1_000_000]);
});

test('links and strange names among the checkpoints are neither resumed from nor removed', () => {
  const run = started();
  checkpoint(run, 10);
  const outside = mkdtempSync(join(tmpdir(), 'tinyzero-outside-'));
  writeFileSync(join(outside, checkpointStateFile), '{}');
  const inside = join(run.path, 'checkpoints');
  symlinkSync(outside, join(inside, 'step-000099'));
  for (const name of ['step-7', 'step-0000077', 'step-999999999999999999', 'step-000050 '])
    mkdirSync(join(inside, name));
  assert.deepEqual(run.checkpoints(), [10]);
  run.prune(1);
  assert.ok(existsSync(join(outside, checkpointStateFile)));
  assert.equal(readdirSync(inside).length, 6);
});

test('a run that never wrote anything leaves no folder, unless the folder was there before', () => {
  const empty = fresh();
  createRunFolder(empty).release();
  assert.equal(existsSync(empty), false);
  const begun = createRunFolder(fresh());
  writeFileSync(begun.file('problems'), '{}');
  begun.release();
  assert.equal(existsSync(begun.file('problems')), true);
  const before = fresh();
  mkdirSync(before);
  createRunFolder(before).release();
  assert.equal(existsSync(before), true);
});
