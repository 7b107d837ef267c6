import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { UserError } from '../../src/errors.js';
import { jsonChecks, quote, readJson } from '../../src/util/json.js';

const folder = mkdtempSync(join(tmpdir(), 'tinyzero-json-'));
const file = (name: string, content: string) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return { path, what: 'a test file', fix: 'Make another.' };
};
const refused = (action: () => unknown, message: RegExp) =>
  assert.throws(action, (error) => error instanceof UserError && message.test(error.message), String(message));

test('quotes are short and never fail', () => {
  const circular: { self?: unknown } = {};
  circular.self = circular;
  assert.equal(quote(circular), '[object Object]');
  assert.equal(quote(10n), '10');
  assert.equal(quote(JSON.parse('['.repeat(100_000) + ']'.repeat(100_000))), '[object Array]');
  assert.equal(quote(undefined), 'undefined');
  assert.ok(quote('x'.repeat(10_000)).length < 250);
});

test('a readable file is read', () => {
  assert.deepEqual(readJson(file('good', '{"a": [1, null]}'), 100), { a: [1, null] });
  // Brackets inside strings do not nest, and an escaped quote does not end a string.
  const text = `${'['.repeat(200)}"${'['.repeat(200)}\\`;
  assert.equal(readJson(file('string', JSON.stringify(text)), 1000), text);
  const flat = Array.from({ length: 300 }, () => [{}]);
  assert.deepEqual(readJson(file('flat', JSON.stringify(flat)), 10_000), flat);
});

test('what cannot be read is explained', () => {
  const at = (name: string) => ({ path: join(folder, name), what: 'a test file' });
  mkdirSync(join(folder, 'directory'));
  refused(() => readJson(at('nowhere'), 100), /nowhere does not exist\. Expected a test file\./);
  refused(() => readJson(at('directory'), 100), /directory is not a file/);
  refused(
    () => readJson(file('large', 'x'.repeat(101)), 100),
    /too large.*at most 100 bytes.*Found 101 bytes.*Make another/,
  );
  refused(() => readJson(file('cut', '{"a": [1,'), 100), /cut is not valid JSON/);
  refused(() => readJson(file('empty', ''), 100), /not valid JSON/);
  refused(() => readJson(file('deep', '['.repeat(1_000_000)), 1e7), /nested more than 100 levels/);
  refused(() => readJson(file('open', '{"a": "[[['), 100), /not valid JSON/);
});

test('a pipe is refused, not waited for', { skip: process.platform === 'win32' && 'no named pipes' }, () => {
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  refused(() => readJson({ path, what: 'a test file' }, 100), /is not a file/);
});

test('checks name the place, the expected and the found', () => {
  const check = jsonChecks({ path: 'f.json', what: 'a test file' });
  assert.equal(check.number(0.5, 'x', { min: 0, max: 1 }), 0.5);
  assert.equal(check.integer(3, 'x'), 3);
  refused(
    () => check.number(1.5, 'entries.a', { min: 0, max: 1 }),
    /f\.json is not a test file: entries\.a is wrong\. Expected a number from 0 up to 1\. Found 1\.5/,
  );
  for (const [action, expected] of [
    [() => check.number(JSON.parse('1e999'), 'x'), 'a number'],
    [() => check.number('1', 'x'), 'a number'],
    [() => check.integer(1e300, 'x'), 'a whole number'],
    [() => check.integer(0.5, 'x'), 'a whole number'],
    [() => check.integer(-1, 'x', { min: 0 }), 'a whole number from 0'],
    [() => check.object(null, 'x'), 'an object'],
    [() => check.object([], 'x'), 'an object'],
    [() => check.array({ length: 1 }, 'x'), 'an array'],
    [() => check.string(1, 'x'), 'a text'],
    [() => check.boolean(0, 'x'), 'true or false'],
  ] as const) {
    refused(action, new RegExp(`Expected ${expected}\\.`));
  }
});

test('only own keys are seen, and __proto__ is one of them', () => {
  const check = jsonChecks({ path: 'f.json', what: 'a test file' });
  const map = check.object(JSON.parse('{"__proto__": {"polluted": true}}'), 'x');
  assert.deepEqual([...map], [['__proto__', { polluted: true }]]);
  assert.equal(map.get('constructor'), undefined);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
