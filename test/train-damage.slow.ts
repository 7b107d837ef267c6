/** Forty flipped bits, each in a new copy of a run: a random file, then a random bit. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { tinyzero } from './helpers/cli.js';
import { filesOf, resumeDamaged } from './helpers/damage.js';
import { temporaryFolder } from './helpers/files.js';
import { uniform } from './helpers/fuzz.js';
import { nativeTest } from './helpers/native.js';
import { runUntil, shortRun } from './helpers/runs.js';

const flips = 40;

nativeTest(`${flips} flipped bits`, async (t) => {
  const root = temporaryFolder(t);
  const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
  const begin = (folder: string) => ['train', ...shortRun, '--out', folder, '--engine', 'tensorflow', '--no-install'];
  assert.equal((await tinyzero(begin(whole))).code, 0);
  await runUntil(begin(stopped), 'SIGINT', (_, output) => /Update 3 of/.test(output));
  const seed = Date.now();
  t.diagnostic(`seed ${seed}`);
  const random = uniform(seed);
  const counts: Record<string, number> = {};
  for (let flip = 0; flip < flips; flip++) {
    const run = flip % 2 === 0 ? whole : stopped;
    const files = filesOf(run);
    const file = files[Math.floor(random() * files.length)]!;
    const outcome = await resumeDamaged(run, file, whole, join(root, 'copy'), random);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  t.diagnostic(`${flips} flipped bits: ${JSON.stringify(counts)}, 0 unnoticed, 0 lost`);
});
