import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonChecks } from '../../src/util/json-checks.js';
import { assertUserError } from '../helpers/errors.js';

test('checks name the place, the expected and the found', () => {
  const check = jsonChecks({ path: 'f.json', what: 'a test file' });
  assert.equal(check.number(0.5, 'x', { min: 0, max: 1 }), 0.5);
  assert.equal(check.integer(3, 'x'), 3);
  assertUserError(
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
    assertUserError(action, new RegExp(`Expected ${expected}\\.`));
  }
});

test('only own keys are seen, and __proto__ is one of them', () => {
  const check = jsonChecks({ path: 'f.json', what: 'a test file' });
  const map = check.object(JSON.parse('{"__proto__": {"polluted": true}}'), 'x');
  assert.deepEqual([...map], [['__proto__', { polluted: true }]]);
  assert.equal(map.get('constructor'), undefined);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
