import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRegularFile, writeAtomic, writeFileAtomic } from '../../src/util/file.js';
import { writeLargeFile } from '../../src/util/large-file.js';
import { assertUserError } from '../helpers/errors.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tinyzero-file-'));

test('a file is replaced whole', () => {
  const path = join(folder(), 'deep', 'a.txt');
  writeFileAtomic(path, 'old');
  writeFileAtomic(path, 'new');
  assert.equal(readFileSync(path, 'utf8'), 'new');
});

test('the next write removes temporary files of killed processes, but not of running ones', async () => {
  const dir = folder();
  const path = join(dir, 'a.txt');
  const module = new URL('../../src/util/file.js', import.meta.url).href;
  const killed = `import { writeAtomic } from ${JSON.stringify(module)};
    writeAtomic(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'));`;
  spawnSync(process.execPath, ['--input-type=module', '-e', killed]);
  const left = readdirSync(dir);
  assert.equal(left.length, 1);
  assert.match(left[0]!, /^\.a\.txt\..*\.tmp$/);
  writeFileAtomic(join(dir, 'b.txt'), 'another');
  assert.deepEqual(readdirSync(dir), [left[0], 'b.txt']);
  await writeLargeFile(path, 0, async () => {
    writeFileAtomic(path, 'meanwhile'); // by this process, which is still writing the other
    assert.equal(readdirSync(dir).length, 3);
  });
  assert.deepEqual(readdirSync(dir), ['a.txt', 'b.txt']);
});

test('only regular files are read, and only up to their limit', () => {
  const dir = folder();
  const path = join(dir, 'a.txt');
  writeFileAtomic(path, 'four');
  assert.equal(readRegularFile(path).toString(), 'four');
  assert.equal(readRegularFile(path, 4).toString(), 'four');
  assertUserError(() => readRegularFile(path, 3), /a\.txt is too large\. Expected at most 3 bytes\. Found 4/);
  assertUserError(() => readRegularFile(join(dir, 'b')), /no such file/);
  assertUserError(() => readRegularFile(dir), /it is a folder/);
  if (process.platform === 'win32') return;
  assertUserError(() => readRegularFile('/dev/zero'), /it is not a regular file/);
  spawnSync('mkfifo', [join(dir, 'pipe')]);
  assertUserError(() => readRegularFile(join(dir, 'pipe')), /it is not a regular file/);
});

test('a failing write leaves only the old file', () => {
  const dir = folder();
  const path = join(dir, 'a.txt');
  writeFileAtomic(path, 'old');
  assert.throws(
    () =>
      writeAtomic(path, () => {
        throw new Error('no space');
      }),
    /no space/,
  );
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.deepEqual(readdirSync(dir), ['a.txt']);
});
