import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clip, printable, UserError } from '../../src/util/errors.js';

test('an error is one paragraph of what was expected, what was found and what to do', () => {
  const error = new UserError({ problem: 'a is wrong.', expected: 'b', found: 'c', fix: 'Do d.' });
  assert.equal(error.message, 'a is wrong. Expected b. Found c. Do d.');
  assert.equal(error.exitCode, 1);
});

test('characters that a terminal interprets are escaped, those that it shows are kept', () => {
  const codes = '\u001b[2J\u009b31m\u0000\u007f\u0085\r\u202e\u2066';
  assert.equal(printable(codes), '\\u001b[2J\\u009b31m\\u0000\\u007f\\u0085\\u000d\\u202e\\u2066');
  assert.equal(printable('7 × 8 = 56\n\t한 😀 é'), '7 × 8 = 56\n\t한 😀 é');
  assert.equal(new UserError(`bad ${codes}`).message, `bad ${printable(codes)}`);
});

test('a long message keeps its beginning and its end', () => {
  const { message } = new UserError({ problem: `x${'a'.repeat(20_000_000)}.`, fix: 'Do this.' });
  assert.ok(message.length < 4100 && message.startsWith('xaaa') && message.endsWith('Do this.'));
  assert.equal(clip('abcdef', 5), 'ab...');
  assert.equal(clip('abcde', 5), 'abcde');
});
