import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableLines, tableWidth } from '../../../src/cli/terminal/table.js';

test('columns are as wide as their widest cell, as the terminal counts', () => {
  const lines = tableLines([
    ['a', 'bb', 'c'],
    ['日本', '\x1b[31mred\x1b[39m', ''],
  ]);
  assert.deepEqual(lines, ['a     bb   c', '日本  \x1b[31mred\x1b[39m']);
  assert.equal(tableWidth(lines), 12);
  assert.equal(tableWidth([]), 0);
});
