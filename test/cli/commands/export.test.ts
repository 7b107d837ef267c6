/** `tinyzero export` from the command line. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';

test('a GGUF file is written where --out says, and generates the same text', async (t) => {
  const env = { TINYZERO_CACHE: temporaryFolder(t), TINYZERO_ENGINE: 'wasm' };
  const out = temporaryFolder(t);
  const { code, stdout } = await tinyzero(
    ['export', 'builtin', '--to', 'gguf', '--dtype', 'f32', '--out', out, '--json'],
    env,
  );
  assert.equal(code, 0);
  const { path, bytes, notes } = lastLine(stdout);
  assert.deepEqual([path, notes], [join(out, 'builtin-F32.gguf'), []]);
  assert.ok(bytes > 4 * 413_280);
  const ask = (model: string) =>
    tinyzero(['generate', '--model', model, '--prompt', 'What is 7 × 8?\n', '--temperature', '0', '--quiet'], env);
  const [original, back] = [await ask('builtin'), await ask(path)];
  assert.equal(back.code, 0, back.stderr);
  assert.equal(back.stdout, original.stdout);
});

test('a check whose program is missing says how to add it, before anything is written', async (t) => {
  const out = join(temporaryFolder(t), 'x');
  const { code, stderr } = await tinyzero(['export', 'builtin', '--check', '--out', out]);
  assert.equal(code, 1);
  assert.match(stderr, /node-llama-cpp, which is not installed\. Add it with `npm install node-llama-cpp`/);
  assert.ok(!existsSync(out));
});
