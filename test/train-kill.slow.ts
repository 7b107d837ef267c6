/** Twenty runs killed at random moments, each resumed until it comes through, end with the bytes of one left alone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { keyedRandom } from '../src/util/random.js';
import { tinyzero } from './helpers/cli.js';
import { temporaryFolder } from './helpers/files.js';
import { nativeTest } from './helpers/native.js';
import { beginOrResume, runBytes, runUntil } from './helpers/runs.js';

const kills = 20;

nativeTest(`${kills} kills`, async (t) => {
  const root = temporaryFolder(t);
  const whole = join(root, 'whole');
  const start = performance.now();
  assert.equal((await tinyzero(beginOrResume(whole, 'tensorflow'))).code, 0);
  const elapsedMs = performance.now() - start;
  const random = keyedRandom('kills', Date.now());
  for (let kill = 0; kill < kills; kill++) {
    const folder = join(root, `killed-${kill}`);
    const moment = elapsedMs * random.uniform();
    await runUntil(beginOrResume(folder, 'tensorflow'), 'SIGKILL', (passedMs) => passedMs > moment);
    const last = await tinyzero(beginOrResume(folder, 'tensorflow'));
    assert.equal(last.code, 0, `killed after ${moment} ms of ${elapsedMs}: ${last.stderr}`);
    assert.deepEqual(runBytes(folder), runBytes(whole), `killed after ${moment} ms of ${elapsedMs}`);
  }
});
