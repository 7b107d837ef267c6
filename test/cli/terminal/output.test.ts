import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orderedOutput } from '../../../src/cli/terminal/output.js';

test('output of concurrent work is ordered, and that of the current item is immediate', () => {
  const written: string[] = [];
  const output = orderedOutput((text, index) => written.push(`${index}${text}`));
  output.push(1, 'a');
  output.push(0, 'b');
  assert.deepEqual(written, ['0b']);
  output.push(2, 'c');
  output.end(2);
  output.push(1, 'd');
  output.push(0, 'e');
  assert.deepEqual(written, ['0b', '0e']);
  output.end(0);
  assert.deepEqual(written, ['0b', '0e', '1ad']);
  output.push(1, 'f');
  output.end(1);
  assert.deepEqual(written, ['0b', '0e', '1ad', '1f', '2c']);
  output.push(3, 'g');
  assert.deepEqual(written.at(-1), '3g');
});
