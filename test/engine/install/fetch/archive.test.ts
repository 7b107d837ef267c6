import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { extract } from '../../../../src/engine/install/fetch/archive.js';
import { tarGz, zip } from '../../../helpers/archive.js';
import { temporaryFolder } from '../../../helpers/cli.js';

const long = `${'deep/'.repeat(30)}file.txt`;
const files = { 'a.txt': 'first', 'b/empty': '', [long]: 'x'.repeat(1537), 'c.bin': Buffer.alloc(70_000, 7) };

for (const [kind, make] of Object.entries({ zip, tarGz })) {
  test(`${kind}: chosen files come out whole, under their new names`, async () => {
    const folder = temporaryFolder('archive');
    const archive = join(folder, 'archive');
    writeFileSync(archive, make(files));
    let bytes = 0;
    const names = await extract(
      archive,
      join(folder, 'out'),
      (path) => (path === 'c.bin' ? undefined : `new/${path}`),
      { onBytes: (done) => (bytes = done) },
    );
    assert.deepEqual(names, ['new/a.txt', 'new/b/empty', `new/${long}`]);
    for (const name of names) {
      assert.equal(readFileSync(join(folder, 'out', name), 'utf8'), files[name.slice(4)]);
    }
    assert.equal(bytes, 5 + 0 + 1537);
  });

  test(`${kind}: an entry that leads out of the folder is rejected`, async () => {
    const folder = temporaryFolder('archive');
    const archive = join(folder, 'archive');
    writeFileSync(archive, make({ '../evil': 'x' }));
    await assert.rejects(
      extract(archive, join(folder, 'out'), (path) => path),
      /outside|invalid relative path/,
    );
  });

  test(`${kind}: an archive cut short is an error, not a short file`, async () => {
    const folder = temporaryFolder('archive');
    const archive = join(folder, 'archive');
    const whole = make(files);
    writeFileSync(archive, whole.subarray(0, whole.length - 100));
    await assert.rejects(extract(archive, join(folder, 'out'), (path) => path));
  });
}
