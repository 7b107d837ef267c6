import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  anything,
  check,
  collect,
  flag,
  integer,
  list,
  mapOf,
  number,
  object,
  oneOf,
  optional,
  orNull,
  pair,
  share,
  text,
} from '../../src/util/schema.js';
import { assertUserError } from '../helpers/errors.js';

const source = { path: 'f.json', what: 'a test file', fix: 'Make a new one.' };

test('an error names the file, the field, what was expected, what was found and the fix', () => {
  const schema = object({ entries: mapOf(object({ rewards: list(share) })) });
  assertUserError(
    () => check(schema, { entries: { 'a b': { rewards: [1, 1.5] } } }, source),
    /^f\.json is not a test file: `entries\["a b"\]\.rewards\[1\]` must be a number from 0 to 1, not 1\.5\. Make a new one\.$/,
  );
  assertUserError(() => check(schema, [], source), /its content must be an object, not \[\]/);
  assertUserError(() => check(schema, {}, source), /`entries` must be an object, not nothing/);
  assertUserError(() => check(text, 1, { path: 'f' }, 'line 3.id'), /^f cannot be used: `line 3\.id` must be a string/);
});

test('every kind of value has its phrase, and numbers their bounds', () => {
  for (const [schema, good, bad, expected] of [
    [number(), -1.5, JSON.parse('1e999'), 'a number'],
    [number(), 0, '1', 'a number'],
    [number({ above: 0 }), 1e-9, 0, 'a number above 0'],
    [number({ max: 0 }), 0, 0.1, 'a number of at most 0'],
    [integer(), 2 ** 53 - 1, 1e300, 'an integer'],
    [integer(), -3, 0.5, 'an integer'],
    [integer({ min: 0 }), 0, -1, 'an integer of at least 0'],
    [integer({ min: 0, max: 4 }), 4, 5, 'an integer from 0 to 4'],
    [text, '', 1, 'a string'],
    [flag, false, 0, 'true or false'],
    [oneOf(['a', 'b']), 'b', 'c', '"a" or "b"'],
    [list(anything), [1], { length: 1 }, 'a list'],
    [pair(text), ['a', 'b'], 'ab', 'a list of two'],
    [pair(text), ['a', 'b'], ['a'], 'a string'],
    [object({}), {}, null, 'an object'],
    [object({}), {}, [], 'an object'],
  ] as const) {
    assert.deepEqual(check(schema, good, source), good);
    assertUserError(() => check(schema, bad, source), new RegExp(`must be ${expected}, not`));
  }
});

test('null counts as absent unless the schema accepts it', () => {
  const schema = object({ a: optional(integer(), 7), b: orNull(integer()), c: optional(text) });
  assert.deepEqual(check(schema, { a: null, b: null, c: null }, source), { a: 7, b: null, c: undefined });
  assertUserError(() => check(schema, { a: 1 }, source), /`b` must be an integer, not nothing/);
});

test('only own fields count, and __proto__ is an ordinary key of a map', () => {
  const hostile = JSON.parse('{"__proto__": {"polluted": true}}');
  assertUserError(() => check(object({ polluted: flag }), hostile, source), /`polluted`.*not nothing/);
  assertUserError(() => check(object({ constructor: text }), {}, source), /`constructor`.*not nothing/);
  assert.deepEqual([...check(mapOf(anything), hostile, source)], [['__proto__', { polluted: true }]]);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});

test('one error for a list of millions, every error for a small record', () => {
  const many = Array.from({ length: 1000 }, () => 'x');
  assertUserError(() => check(list(integer()), many, source), /: `\[0\]` must be an integer, not "x"\. /);
  const problems: string[] = [];
  assert.equal(collect(object({ a: integer(), b: text }), { a: 'x' }, problems, 'outer'), undefined);
  assert.deepEqual(problems, ['`outer.a` must be an integer, not "x"', '`outer.b` must be a string, not nothing']);
});
