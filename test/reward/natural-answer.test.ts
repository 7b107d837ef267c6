import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNaturalAnswer } from '../../src/reward/answer.js';
import { multiplicationReward } from '../../src/reward/multiplication.js';

/** Text, the answer read from it (or why there is none), and why. */
const table: readonly (readonly [string, number | 'missing' | 'malformed', string])[] = [
  // A number and nothing else.
  ['56', 56, 'what was asked for'],
  [' 56\n', 56, 'white space around it'],
  ['56.', 56, 'a full stop'],
  ['**56**', 56, 'bold'],
  ['**56**.', 56, 'bold with a full stop behind it'],
  ['`56`', 56, 'code'],
  ['"56"', 56, 'quotes'],
  ['$56$', 56, "LaTeX's dollars"],
  ['1,234', 1234, 'digits in groups of three'],
  // Sentences.
  ['The answer is 10', 10, 'a verb'],
  ['The answer is: 10', 10, 'a verb and a colon'],
  ['The answer is: **10**.', 10, 'and marks'],
  ['The answer is "10".', 10, 'or quotes'],
  ['7 times 8 is 56.', 56, 'the verb of the sentence'],
  ['7 × 8 equals 56', 56, 'another verb'],
  ['That is equal to 56', 56, 'a third'],
  ['7 × 8 = 56', 56, 'an equation states its result'],
  ['7 × 8 = **56**', 56, 'in bold too'],
  ['= 9', 9, 'half an equation'],
  ['So 7 × 8 makes **56** in all', 56, 'bold inside a sentence'],
  ['7×10=70, 7×2=14, 70+14=84', 84, 'the last equation counts'],
  ['The answer is 54. No, the answer is 56.', 56, 'the last sentence counts'],
  ['The answer is 56. No, the answer is 54.', 54, 'even when an earlier one was right'],
  // The strict forms go before all else.
  ['7 × 8 = 54, so answer: 56', 56, 'the form that was asked for'],
  ['answer: 56. Or maybe it is 54', 56, 'whatever stands behind it'],
  ['answer: 56.5, which is 57', 'malformed', 'also when it is not a whole number'],
  // No answer.
  ['', 'missing', 'nothing'],
  ['I do not know', 'missing', 'words'],
  ['7 and 8', 'missing', 'numbers of the question'],
  ['54 or 56', 'missing', 'two numbers'],
  ['56 apples and 3 pears', 'missing', 'a list'],
  ['This 56', 'missing', 'a verb inside a word'],
  // Statements of something else than one whole number.
  ['The answer is 3 times 12.', 'malformed', 'the question in words'],
  ['6 × 11 is 6 × 11.', 'malformed', 'the question in signs'],
  ['The answer is 9.5', 'malformed', 'a fraction'],
  ['= 9,5', 'malformed', 'a decimal comma'],
  ['= 56%', 'malformed', 'a percentage'],
  ['= 7 × 8', 'malformed', 'a calculation without its result'],
];

for (const [text, expected, why] of table) {
  test(`${JSON.stringify(text)} -> ${expected}: ${why}`, () => {
    const answer = parseNaturalAnswer(text);
    assert.deepEqual(answer, typeof expected === 'number' ? { value: expected } : { reason: expected });
  });
}

test('a completion that was cut off is never exact, however its answer is given', () => {
  const rules = { kind: 'exact', read: 'natural' } as const;
  for (const text of ['56', '7 times 8 is 56', 'answer: 56', '**56**']) {
    assert.equal(multiplicationReward(text, 56, { finished: true }, rules).reward, 1, text);
    const cut = multiplicationReward(text, 56, { finished: false }, rules);
    assert.deepEqual([cut.reward, cut.exact, cut.parsed], [0, false, true], text);
  }
});

test('reading takes time in proportion to the text, whatever the text', () => {
  for (const piece of ['is ', '= ', '**', '** 5', 'equal to ', '1,234', '[[[[', 'is 5 times ', '5 ', '\n']) {
    const start = process.cpuUsage();
    parseNaturalAnswer(`is ${piece.repeat(200_000)}`);
    const { user } = process.cpuUsage(start); // CPU time: a busy machine does not matter
    assert.ok(user < 3e6, `${piece} took ${user} µs`); // a quadratic expression needs minutes
  }
});
