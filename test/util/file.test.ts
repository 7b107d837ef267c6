import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeAtomic, writeFileAtomic } from '../../src/util/file.js';

const folder = () => mkdtempSync(join(tmpdir(), 'tinyzero-file-'));

test('a file is replaced whole', () => {
  const path = join(folder(), 'deep', 'a.txt');
  writeFileAtomic(path, 'old');
  writeFileAtomic(path, 'new');
  assert.equal(readFileSync(path, 'utf8'), 'new');
});

test('a failing write leaves the old file and nothing beside it', () => {
  const dir = folder();
  const path = join(dir, 'a.txt');
  writeFileAtomic(path, 'old');
  assert.throws(
    () =>
      writeAtomic(path, () => {
        throw new Error('no space');
      }),
    /no space/,
  );
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.deepEqual(readdirSync(dir), ['a.txt']);
});
