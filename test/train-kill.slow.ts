/** Runs killed at random moments, each resumed until it ends, end with the bytes of an uninterrupted one. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { tinyzero } from './helpers/cli.js';
import { temporaryFolder } from './helpers/files.js';
import { uniform } from './helpers/fuzz.js';
import { nativeTest } from './helpers/native.js';
import { beginOrResume, runBytes, runUntil } from './helpers/runs.js';

const kills = 100;

nativeTest(`${kills} kills`, async (t) => {
  const root = temporaryFolder(t);
  const whole = join(root, 'whole');
  const start = performance.now();
  assert.equal((await tinyzero(beginOrResume(whole, 'tensorflow'))).code, 0);
  const elapsedMs = performance.now() - start;
  const seed = Date.now();
  t.diagnostic(`seed ${seed}`);
  const random = uniform(seed);
  let [done, attempts] = [0, 0];
  while (done < kills) {
    // Each run is killed three times, so that resumed runs are killed as well.
    const folder = join(root, `killed-${attempts++}`);
    for (let kill = 0; kill < 3; kill++) {
      const moment = elapsedMs * random();
      const { signal } = await runUntil(
        beginOrResume(folder, 'tensorflow'),
        'SIGKILL',
        (passedMs) => passedMs > moment,
      );
      if (signal === 'SIGKILL') done++;
    }
    const last = await tinyzero(beginOrResume(folder, 'tensorflow'));
    assert.equal(last.code, 0, last.stderr);
    assert.deepEqual(runBytes(folder), runBytes(whole));
    rmSync(folder, { recursive: true });
  }
  t.diagnostic(`${done} kills of ${attempts} runs: 0 lost`);
});
