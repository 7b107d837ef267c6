import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sparkline, tableLines, tableWidth } from '../../../src/cli/terminal/table.js';

test('columns are as wide as their widest cell, as the terminal counts', () => {
  const lines = tableLines([
    ['a', 'bb', 'c'],
    ['日本', '\x1b[31mred\x1b[39m', ''],
  ]);
  assert.deepEqual(lines, ['a     bb   c', '日本  \x1b[31mred\x1b[39m']);
  assert.equal(tableWidth(lines), 12);
  assert.equal(tableWidth([]), 0);
});

test('a character for each eighth from 0 to 1', () => {
  assert.equal(sparkline([0, 0.124, 0.125, 0.5, 0.874, 0.875, 1], 20), '▁▁▂▅▇██');
  assert.equal(sparkline([-1, 2], 20), '▁█', 'beyond the range: its ends');
});

test('more values than characters: each is the mean of consecutive values', () => {
  assert.equal(sparkline([0, 0, 1, 1, 0, 1], 3), '▁█▅');
  assert.equal(sparkline([0, 1, 1], 2), '▁█');
  assert.equal(sparkline([1, 1], 0), '');
  assert.equal(sparkline([1], -3), '');
});
