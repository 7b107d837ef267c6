import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { describe, parseJson, quote, readJsonLines, readJsonRecord, readText } from '../../src/util/json.js';
import { assertUserError, assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';

test('descriptions are short and never fail', () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  assert.equal(describe(circular), '[object Object]');
  assert.equal(describe(10n), '10');
  assert.equal(describe(undefined), 'nothing');
  // Until Node 26 JSON.stringify overflows the stack here.
  const deep = describe(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)));
  assert.match(deep, /^(\[object Array\]|\[{77}\.{3})$/);
  for (const long of ['x'.repeat(10_000), '\n'.repeat(10_000), { a: 'x'.repeat(10_000) }]) {
    assert.equal(describe(long).length, 80);
    assert.equal(quote(long).length, 200);
  }
});

test('brackets nest up to 100 levels; those inside strings do not count', () => {
  assert.deepEqual(parseJson('[[1], {"a": []}]'), [[1], { a: [] }]);
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  parseJson(nested(100));
  assert.throws(() => parseJson(nested(101)), /nested more than 100 levels/);
  // An escaped quote does not end a string.
  const text = `${'['.repeat(200)}"${'['.repeat(200)}\\`;
  assert.equal(parseJson(JSON.stringify(text)), text);
  const flat = Array.from({ length: 300 }, () => [{}]);
  assert.deepEqual(parseJson(JSON.stringify(flat)), flat);
  assert.throws(() => parseJson('{"a": "[[['), SyntaxError);
});

test('unreadable files are explained', (t) => {
  const folder = temporaryFolder(t);
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  assert.deepEqual(readJsonRecord(file('good', '{"a": [1, null]}')), { a: [1, null] });
  assertUserError(() => readJsonRecord(join(folder, 'nowhere')), /nowhere: no such file/);
  assertUserError(() => readJsonRecord(folder), /it is a folder/);
  assertUserError(() => readJsonRecord(file('cut', '{"a": [1,')), /cut is not valid JSON/);
  assertUserError(() => readJsonRecord(file('empty', '')), /not valid JSON/);
  assertUserError(() => readJsonRecord(file('latin1', Buffer.from([0x22, 0xe9, 0x22]))), /not valid JSON/);
  assertUserError(() => readJsonRecord(file('deep', '['.repeat(1_000_000))), /nested more than 100 levels/);
  assertUserError(() => readJsonRecord(file('list', '[]')), /a JSON object/);
  const huge = file('huge', '');
  truncateSync(huge, 2 ** 40);
  assertUserError(() => readJsonRecord(huge), /too large/);
});

test('a pipe is rejected without waiting', { skip: process.platform === 'win32' && 'no named pipes' }, (t) => {
  const path = join(temporaryFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  assertUserError(() => readJsonRecord(path), /not a regular file/);
});

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
