import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAnswer, parseLastInteger } from '../../src/reward/answer.js';

/** Text, the answer read from it (or why there is none), and why. */
const table: readonly (readonly [string, number | 'missing' | 'malformed', string])[] = [
  // The form the built-in model uses.
  ['think: 7×10=70, 7×2=14, 70+14=84. answer: 84', 84, 'worked, then answered'],
  ['answer: 84', 84, 'guessed'],
  ['answer:84', 84, 'the space is free'],
  ['answer:\n84', 84, 'and may be a line break'],
  ['Answer: 84', 84, 'chat models begin sentences'],
  ['The answer: 84.', 84, 'a full stop is no decimal point'],
  ['answer: 84, as 7 × 12 = 84', 84, 'a comma and prose may follow'],
  ['(answer: 84)', 84, 'so may a bracket'],
  ['answer: 84\n2', 84, 'another line is not more of the number'],
  ['answer: -84', -84, 'a sign belongs to the number'],
  ['answer: −84', -84, 'typographic minus too'],
  ['answer: +84', 84, 'and plus'],
  ['answer: 084', 84, 'leading zeros change nothing'],
  ['answer: 1,234', 1234, 'digits in groups of three'],
  ['answer: 12 answer: 84', 84, 'the last statement counts'],
  ['answer: 84 answer: 12', 12, 'even when an earlier one was right'],
  ['answer: 84. That is my answer: trust me', 84, 'prose after the marker is not a statement'],
  // The forms of other models.
  ['So \\boxed{84}.', 84, 'LaTeX'],
  ['\\boxed{ 84 }', 84, 'with spaces'],
  ['<answer>84</answer>', 84, 'tags'],
  ['<answer> 84\n</answer>', 84, 'with spaces'],
  ['answer: \\boxed{84}', 84, 'one form inside another'],
  ['\\boxed{12} and so answer: 84', 84, 'the last of all forms counts'],
  ['answer: 84, or <answer>12</answer>', 12, 'whichever it is'],
  // No answer.
  ['', 'missing', 'nothing'],
  ['84', 'missing', 'a number is not a statement'],
  ['think: 7×10=70', 'missing', 'a truncated thought'],
  ['The answer is 84', 'missing', 'another form'],
  ['answer 84', 'missing', 'no colon'],
  ['myanswer: 84', 'missing', 'part of a word'],
  ['answer: eighty-four', 'missing', 'words'],
  ['answer: ', 'missing', 'cut off before the number'],
  ['answer: ٨٤', 'missing', 'digits of another script'],
  // Statements of something else than one whole number.
  ['answer: 84.5', 'malformed', 'a fraction, not 84'],
  ['answer: 84,5', 'malformed', 'a decimal comma'],
  ['answer: 1,23', 'malformed', 'wrong grouping'],
  ['answer: 8 4', 'malformed', 'two numbers'],
  ['answer: 84%', 'malformed', 'a percentage'],
  ['answer: 84x', 'malformed', 'glued to a letter'],
  ['answer: 8e4', 'malformed', 'scientific notation'],
  ['answer: 7×12', 'malformed', 'the question, not its answer'],
  ['answer: 70 + 14', 'malformed', 'a calculation'],
  ['answer: 70+14=84', 'malformed', 'a calculation with its result'],
  ['answer: 84 answer: 12.5', 'malformed', 'the last statement counts, also when it is no whole number'],
  ['answer: 123456789012345678901', 'malformed', 'beyond what can be compared exactly'],
  ['\\boxed{x}', 'malformed', 'not a number'],
  ['\\boxed{84', 'malformed', 'cut off'],
  ['\\boxed{7 \\times 12}', 'malformed', 'a calculation'],
  ['<answer>84', 'malformed', 'cut off'],
  ['<answer>84 apples</answer>', 'malformed', 'more than a number'],
];

for (const [text, expected, why] of table) {
  test(`${JSON.stringify(text)} -> ${expected}: ${why}`, () => {
    const answer = parseAnswer(text);
    assert.deepEqual(answer, typeof expected === 'number' ? { value: expected } : { reason: expected });
  });
}

test('the last integer anywhere, as the original project reads it', () => {
  assert.deepEqual(parseLastInteger('7 × 12 = 84'), { value: 84 });
  assert.deepEqual(parseLastInteger('think: 7×10=70'), { value: 70 });
  assert.deepEqual(parseLastInteger('-84'), { value: 84 });
  assert.deepEqual(parseLastInteger('84.5'), { value: 5 });
  assert.deepEqual(parseLastInteger('none'), { reason: 'missing' });
  assert.deepEqual(parseLastInteger('9'.repeat(400)), { reason: 'malformed' });
});

test('reading takes time in proportion to the text, whatever the text', () => {
  for (const piece of ['answer: ', 'answer:   1,', '1,234', ' ', '\\boxed{', '<answer>9', '−', '9 9']) {
    const text = `answer: ${piece.repeat(200_000)}`;
    const start = process.cpuUsage();
    parseAnswer(text);
    parseLastInteger(text);
    const { user } = process.cpuUsage(start); // CPU time: a busy machine does not matter
    assert.ok(user < 3e6, `${piece} took ${user} µs`); // a quadratic expression needs minutes
  }
});
