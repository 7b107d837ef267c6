import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readProduct, readQuestion } from '../../src/cli/player.js';

test('multiplications as people type them', () => {
  for (const line of [
    '7 x 8',
    '7x8',
    '7 X 8',
    '7*8',
    ' 7 × 8 ',
    '7 · 8',
    '7⋅8',
    '7 × 8 =',
    '7 x 8?',
    'What is 7 × 8?',
    'what  is 7*8',
  ]) {
    assert.deepEqual(readProduct(line), { a: 7, b: 8 }, line);
  }
  assert.deepEqual(readProduct('012 x 9999'), { a: 12, b: 9999 });
});

test('all other input is text', () => {
  for (const line of [
    '',
    '7',
    '7 8',
    '7 + 8',
    '7 x',
    'x 8',
    '-7 x 8',
    '7 x 8 x 9',
    '7.5 x 8',
    '12345 x 8',
    '7 x 8 is',
  ]) {
    assert.equal(readProduct(line), undefined, line);
  }
});

test("a multiplication is asked in the model's wording, other text unchanged", () => {
  const product = { a: 7, b: 8 };
  assert.deepEqual(readQuestion('7*8', 'builtin', 'raw'), { text: 'What is 7 × 8?\n', product });
  assert.match(readQuestion('7*8', 'steps', 'chat').text, /^What is 7 × 8\? Think .*answer: N/);
  // A question that is to be continued ends its line; a message of a chat has no line to end.
  assert.deepEqual(readQuestion('What is 7 + 12?', 'builtin', 'raw'), { text: 'What is 7 + 12?\n' });
  assert.deepEqual(readQuestion('Who are you?', 'number', 'chat'), { text: 'Who are you?' });
  assert.deepEqual(readQuestion('think: 7×5=', 'builtin', 'raw'), { text: 'think: 7×5=' });
});
