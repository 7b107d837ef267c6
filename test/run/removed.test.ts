/** @file A run whose folder is removed when all is done but the report. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { whileLoading } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

test('a run that is removed just before its report ends with a message and is not created again', async (t) => {
  const out = join(temporaryFolder(t), 'run');
  const sizes = ['--num-train', '4', '--num-test', '2', '--max-steps', '1', '--batch-size', '4', '--num-samples', '2'];
  const quick = [...sizes, '--eval-samples', '0', '--max-new-tokens', '4', '--train-on', 'all', '--force'];
  const { code, stderr } = await whileLoading(
    ['train', ...quick, '--engine', 'wasm', '--no-install', '--quiet', '--out', out],
    // The report's code is loaded when the run is done.
    `if (url.endsWith('/report/page.js')) rmSync(${JSON.stringify(out)}, { recursive: true });`,
  );
  assert.equal(code, 1);
  assert.match(stderr, /^tinyzero: .*run was removed or moved before its report was written\. If it was moved, .*\n$/m);
  assert.doesNotMatch(stderr, /\n\s+at /);
  assert.ok(!existsSync(out));
});
