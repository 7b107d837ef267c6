import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harmless, liveBlock, sideBySide } from '../../../src/cli/terminal/columns.js';

test('texts at the same place begin on the same line; no line is too long', () => {
  const lines = sideBySide(
    [
      ['left', 'one two three four five six seven eight', 'end'],
      ['right', 'short', 'end'],
    ],
    75,
  );
  // Two columns of 36 characters and 3 between them; "eight" does not fit any more.
  assert.deepEqual(lines, [
    `${'left'.padEnd(36)} │ right`,
    'one two three four five six seven    │ short',
    'eight                                │',
    `${'end'.padEnd(36)} │ end`,
  ]);
});

test('columns too narrow to read stand one below the other', () => {
  assert.deepEqual(sideBySide([['a', 'b'], ['c']], 70), ['a', 'b', '', 'c']);
  assert.deepEqual(sideBySide([['a', 'b'], ['c']], 71), [`a${' '.repeat(33)} │ c`, `b${' '.repeat(33)} │`]);
  assert.deepEqual(sideBySide([['one two']], 5), ['one', 'two']);
});

test('wide characters take two places, escape sequences none', () => {
  const red = '\x1b[31mred\x1b[39m';
  const [line] = sideBySide([['日本'], [red]], 71);
  assert.equal(line, `日本${' '.repeat(30)} │ ${red}`);
});

test('indentation stays, a word too long is cut', () => {
  assert.deepEqual(sideBySide([['  if x:\n    y']], 10), ['  if x:', '    y']);
  assert.deepEqual(sideBySide([['abcdefgh']], 5), ['abcde', 'fgh']);
});

test('text of a model cannot move the cursor, clear the screen or ring', () => {
  assert.equal(harmless('a\x1b[2Jb\x07c\r\nd\te\rf\x9b'), 'a\uFFFD[2Jb\uFFFDc\nd    e\uFFFDf\uFFFD');
});

/** A terminal as far as a block needs one: the characters it was sent. */
function fakeTerminal(rows: number) {
  let sent = '';
  const write = (text: string) => {
    sent += text;
    return true;
  };
  return { stream: { isTTY: true, rows, columns: 80, write } as unknown as NodeJS.WriteStream, sent: () => sent };
}

test('a block takes the place of the one before, and never more lines than the terminal has', () => {
  const { stream, sent } = fakeTerminal(4);
  const block = liveBlock(stream);
  block.draw(() => ['1', '2', '3', '4', '5']);
  assert.equal(sent(), '3\n4\n5');
  // Too soon after the first: not drawn, nor made.
  block.draw(() => assert.fail());
  block.end(['all', 'five', 'lines', 'at', 'last']);
  assert.equal(sent(), '3\n4\n5\x1b[2A\x1b[1G\x1b[Jall\nfive\nlines\nat\nlast\n');
});
