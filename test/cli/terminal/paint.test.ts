import assert from 'node:assert/strict';
import { test } from 'node:test';
import { paintFor } from '../../../src/cli/terminal/paint.js';

const coloured = (isTTY: boolean, env: NodeJS.ProcessEnv) => paintFor({ isTTY }, env).good('x') !== 'x';

test('colours are only for terminals, unless the environment sets them', () => {
  assert.equal(paintFor({ isTTY: true }, {}).good('x'), '\x1b[32mx\x1b[39m');
  assert.equal(coloured(false, {}), false);
  assert.equal(coloured(true, { TERM: 'dumb' }), false);
  assert.equal(coloured(true, { NO_COLOR: '0' }), false, 'whatever its value');
  assert.equal(coloured(true, { NO_COLOR: '' }), true);
  assert.equal(coloured(false, { FORCE_COLOR: '1' }), true);
  assert.equal(coloured(true, { FORCE_COLOR: '0' }), false);
  assert.equal(coloured(false, { FORCE_COLOR: '1', NO_COLOR: '1' }), true);
});
