/** The addon with tinyzero's kernels: a change of its sources must change the engine format. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findCompiler, nativeSources } from '../../../../src/engine/install/build/addon.js';
import { engineFormat, findInstalledEngine } from '../../../../src/engine/install/installed.js';
import { nativeTest } from '../../../helpers/native.js';

/** The format that the sources of this digest are built under. */
const known = { engineFormat: 20, sources: 'e92693482990fc68c5a9f3620db0b23474b1748e5cbbeb5c42db9127b3b2f8cb' };

function digestOf(folder: string): string {
  const digest = createHash('sha256');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(cc|h)$/.test(name));
  for (const name of names.sort()) digest.update(`${name}\n${readFileSync(join(folder, name), 'utf8')}`);
  return digest.digest('hex');
}

test('the sources in native/ are those of this engine format', () => {
  const found = { engineFormat, sources: digestOf(nativeSources) };
  assert.deepEqual(found, known, 'native/ has changed: raise engineFormat in installed.ts, and note both here');
});

test('the package ships the sources', () => {
  const { files } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
  assert.ok(files.includes('native'));
});

nativeTest('an engine from the wheel that was built with a compiler has them', async (t) => {
  const engine = findInstalledEngine();
  if (engine?.source !== 'wheel' || (await findCompiler()) === undefined)
    return t.skip('no compiler, or another source');
  assert.ok(engine.kernelsPath !== undefined);
  assert.ok(engine.manifest.files.some(({ path }) => path === engine.manifest.kernels));
});
