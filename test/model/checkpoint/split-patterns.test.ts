import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLinearPattern, splitPatterns } from '../../../src/model/checkpoint/tokenizer-file.js';
import { withinTime } from '../../../src/util/time-limit.js';

test('the patterns that run without a time limit need none: texts that repeat one thing 50,000 times', () => {
  const units = [
    ' ',
    '\n',
    ' \n',
    '\r\n',
    "'",
    "'s",
    "'r",
    'a',
    ' a',
    '1',
    '½',
    '!',
    ' !',
    '!\n',
    'é',
    '\u3000',
    'a1',
    '1 ',
  ];
  for (const pattern of Object.values(splitPatterns)
    .flat()
    .filter((text) => !text.includes('(?i'))) {
    const regex = new RegExp(pattern, 'gu');
    for (const end of ['', 'a\n!']) {
      for (const unit of units) {
        const text = unit.repeat(50_000) + end;
        const length = withinTime(2000, () => text.match(regex)!.join('').length);
        assert.equal(length, text.length, JSON.stringify([pattern, unit, end]));
      }
    }
  }
});

test('any other pattern has a limit', () => {
  assert.ok(splitPatterns.qwen2.every(isLinearPattern));
  for (const pattern of ['(a+)+$', `${splitPatterns.qwen2[0]}|(a+)+$`, '']) assert.ok(!isLinearPattern(pattern));
});
