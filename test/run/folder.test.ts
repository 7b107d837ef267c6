import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRunFolder, openRunFolder, type RunFolder } from '../../src/run/folder.js';
import { checkpointStateFile } from '../../src/stage2/resume.js';
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
  assertUserError(() => createRunFolder(run.path), /already holds a run.*--resume/);
  openRunFolder(run.path).release();
  assert.deepEqual(readdirSync(run.path), ['config.json']);
});

test('a folder with other things in it is left alone; remains of a run without configuration are not', () => {
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
  assertUserError(() => openRunFolder(fresh()), /holds no run/);
  assertUserError(() => openRunFolder(tmpdir()), /holds no run/);
});

test('paths that cannot be folders are explained', () => {
  const parent = mkdtempSync(join(tmpdir(), 'tinyzero-run-'));
  writeFileSync(join(parent, 'file'), '');
  assertUserError(() => createRunFolder(join(parent, 'file')), /in the way/);
  assertUserError(() => createRunFolder(join(parent, 'file', 'run')), /part of the path is a file/);
});

test('this process cannot open a folder twice, and can after giving it back', () => {
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

test('another process is told who has the folder; after a kill it is free at once', async () => {
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

test('locks that cannot be judged hold: another machine, and what is no lock', () => {
  const run = started();
  run.release();
  const lock = join(run.path, 'run.lock');
  for (const [content, who] of [
    [JSON.stringify({ pid: 1, host: 'elsewhere', began: null }), 'process 1 on elsewhere'],
    ['', 'an unknown process'],
    ['{"pid": -1, "host": "x"}', 'an unknown process'],
    ['{"pid": 1e300}', 'an unknown process'],
  ] as const) {
    writeFileSync(lock, content);
    assertUserError(() => openRunFolder(run.path), new RegExp(`in use by ${who}.*delete .*run\\.lock`));
  }
});

test('a process number that was given out again is not the holder', {
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

test('checkpoints count when their state is there; pruning keeps the newest and clears the rest', () => {
  const run = started();
  for (const step of [10, 20, 1_000_000]) checkpoint(run, step);
  checkpoint(run, 30, false);
  assert.match(run.checkpointPath(10), /checkpoints.step-000010$/);
  assert.deepEqual(run.checkpoints(), [10, 20, 1_000_000]);
  assertUserError(() => run.startCheckpoint(20), /already holds a checkpoint/);
  // What an interrupted save left is replaced.
  checkpoint(run, 30);
  assert.deepEqual(run.checkpoints(), [10, 20, 30, 1_000_000]);
  checkpoint(run, 40, false);
  run.prune(2);
  assert.deepEqual(readdirSync(join(run.path, 'checkpoints')).sort(), ['step-000030', 'step-1000000']);
  run.prune(0); // never the last one
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
