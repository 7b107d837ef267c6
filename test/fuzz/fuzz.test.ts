/** Every kind of damaged input ends well or in one paragraph, in good time and little memory; see campaign.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runKind } from './campaign.js';
import { kinds } from './kinds.js';

const count = 2000;

for (const kind of Object.keys(kinds)) {
  test(`${count} damaged inputs: ${kind}`, async () => {
    const { succeeded, refused, findings } = await runKind(kind, 0, count);
    assert.deepEqual(findings, []);
    assert.equal(succeeded + refused, count);
    assert.ok(refused > count / 20, 'the damage is real');
  });
}
