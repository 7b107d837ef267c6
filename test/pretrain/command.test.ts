/** `tinyzero pretrain` overwrites nothing that it was not told to. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

const quick = ['pretrain', '--steps', '1', '--engine', 'wasm', '--no-install', '--quiet'];

test('a folder that is not empty is rejected at once; --force replaces the model there', async (t) => {
  const out = join(temporaryFolder(t), 'model');
  mkdirSync(out);
  writeFileSync(join(out, 'thesis.tex'), 'precious');
  const refused = await tinyzero([...quick, '--out', out]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /is not an empty folder\. Found thesis\.tex in it\..*--force/);
  const forced = await tinyzero([...quick, '--force', '--out', out]);
  assert.equal(forced.code, 0, forced.stderr);
  assert.equal(readFileSync(join(out, 'thesis.tex'), 'utf8'), 'precious');
  for (const name of ['model.safetensors', 'tokenizer.json', 'README.md']) assert.ok(existsSync(join(out, name)), name);
  assert.match(forced.stdout, /`tinyzero train --model .*model` trains it/);
  const again = await tinyzero([...quick, '--out', out]);
  assert.equal(again.code, 1, 'a model is not replaced without --force');
});

test('a folder that cannot be created is refused before the work', {
  skip: !existsSync('/proc/self') && 'no /proc',
}, async () => {
  const { code, stderr } = await tinyzero([
    'pretrain',
    '--engine',
    'wasm',
    '--no-install',
    '--out',
    '/proc/tinyzero/x',
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /^tinyzero: \/proc\/tinyzero\/x cannot be written: .* Choose another folder with --out\.\n$/);
});
