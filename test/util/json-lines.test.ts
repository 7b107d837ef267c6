import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readJsonLines, readText } from '../../src/util/json-lines.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';

const { signal } = new AbortController();
const skip = process.platform === 'win32' && 'no named pipes';

test('a named pipe is read to its end; waiting for its writer can be stopped', { skip }, async (t) => {
  const pipe = join(temporaryFolder(t), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const [lines] = await Promise.all([readJsonLines(pipe, '{}', signal), appendFile(pipe, '{"a": 1}\n{"a": 2}\n')]);
  assert.deepEqual(
    lines.map(({ record }) => record.a),
    [1, 2],
  );
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  await assert.rejects(readText(pipe, stop.signal), { name: 'AbortError' });
});

test('an endless device and a folder are rejected', { skip }, async (t) => {
  await assertUserRejection(readText('/dev/zero', signal), /\/dev\/zero has more than 268435456 bytes/);
  await assertUserRejection(readText(temporaryFolder(t), signal), /it is a folder/);
});
