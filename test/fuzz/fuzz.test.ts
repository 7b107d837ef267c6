/** Every kind of damaged input ends well or in one paragraph, in good time and little memory; see campaign.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runKind } from './campaign.js';
import { kinds } from './kinds.js';

/** Of one kind. Each Parquet file is read in a process of its own, which takes over a tenth of a second. */
const countOf = (kind: string) => (kind === 'problems parquet' ? 40 : 2000);

for (const kind of Object.keys(kinds)) {
  const count = countOf(kind);
  test(`${count} damaged inputs: ${kind}`, async () => {
    const { succeeded, refused, findings } = await runKind(kind, 0, count);
    assert.deepEqual(findings, []);
    assert.equal(succeeded + refused, count);
    assert.ok(refused > count / 20, 'the damage is real');
  });
}
