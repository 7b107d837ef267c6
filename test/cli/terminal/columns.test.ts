import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { programName } from '../../../src/cli/program-name.js';
import { fitted, harmless, liveBlock, sideBySide } from '../../../src/cli/terminal/columns.js';

test('texts with the same index start on the same line; no line is too long', () => {
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

test('columns that would be too narrow are stacked', () => {
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

test('a block replaces the previous one and never has more lines than the terminal', () => {
  const { stream, sent } = fakeTerminal(4);
  const block = liveBlock(stream);
  block.draw(() => ['1', '2', '3', '4', '5']);
  assert.match(stripVTControlCharacters(sent()), /^3\n4\n5\n?$/);
  // Too soon after the first: not drawn, nor made.
  block.draw(() => assert.fail());
  block.end(['all', 'five', 'lines', 'at', 'last']);
  // What a terminal shows: the second text erases the first.
  const screen = sent().split('\x1b[J').at(-1) ?? sent();
  assert.equal(stripVTControlCharacters(screen).replace(/^[\s\S]*(?=all)/, ''), 'all\nfive\nlines\nat\nlast\n');
  assert.ok(sent().includes('\x1b[2K'), 'the lines before are erased');
});

test('text is readable at any width, also where a terminal reports none; commands stay whole', () => {
  const words = 'Sampled: +49.9 points (95 % interval +40.1 to +58.2 points), sign-flip test over 11 clusters.';
  const command = `  ${programName()} play --model runs/a-run-with-a-long-name --compare builtin`;
  for (const columns of [0, 1, 40, 80, 120]) {
    const lines = fitted(`${words}\n${command}`, { isTTY: true, columns }).split('\n');
    assert.equal(lines.at(-1), command);
    const widest = Math.max(...lines.slice(0, -1).map((line) => line.length));
    assert.ok(widest <= Math.max(14, columns || 80), `${widest} at ${columns}`);
    assert.equal(
      lines
        .slice(0, -1)
        .map((line) => line.trim())
        .join(' '),
      words,
    );
  }
});
