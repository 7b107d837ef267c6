import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type Append, writeLargeFile } from '../../src/util/large-file.js';

const mebibyte = 2 ** 20;
// The temporary folder may be in memory, which knows no direct writes; the working folder is on a disk.
const folders = [tmpdir(), process.cwd()].map((parent) => mkdtempSync(join(parent, '.tinyzero-large-')));
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test('pieces of any size arrive in order, whether or not they fill blocks and buffers', async () => {
  for (const folder of folders) {
    const path = join(folder, 'a.bin');
    for (const sizes of [[], [0], [1], [4096], [4095, 2], [4 * mebibyte], [mebibyte, 7, 13 * mebibyte + 5, 4091]]) {
      const pieces = sizes.map((size, index) => Buffer.alloc(size, `${index}abcdefg`));
      const blocks: Buffer[] = [];
      const produce = async (append: Append) => {
        for (const piece of pieces) {
          const scratch = Buffer.from(piece);
          await append(scratch);
          scratch.fill(0); // the caller may use its memory again
        }
      };
      await writeLargeFile(path, Buffer.concat(pieces).length, produce, (block) => blocks.push(Buffer.from(block)));
      assert.ok(readFileSync(path).equals(Buffer.concat(pieces)), `${sizes}`);
      assert.ok(Buffer.concat(blocks).equals(Buffer.concat(pieces)), `${sizes} in blocks`);
    }
    assert.deepEqual(readdirSync(folder), ['a.bin']);
  }
});

test('a failure keeps the old file and waits for the writes under way', async () => {
  for (const folder of folders) {
    const path = join(folder, 'b.bin');
    await writeLargeFile(path, 3, (append) => append(Buffer.from('old')));
    const failing = writeLargeFile(path, 18 * mebibyte, async (append) => {
      await append(Buffer.alloc(9 * mebibyte));
      throw new Error('no tensor');
    });
    await assert.rejects(failing, /no tensor/);
    await setImmediate();
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.ok(readdirSync(folder).every((name) => !name.endsWith('.tmp')));
  }
});

test('a file that may not grow is reported', { skip: process.platform === 'win32' && 'needs ulimit' }, async () => {
  const script = `import { writeLargeFile } from ${JSON.stringify(new URL('../../src/util/large-file.js', import.meta.url).href)};
    await writeLargeFile(${JSON.stringify(join(folders[1]!, 'c.bin'))}, 32 << 20, (append) => append(new Uint8Array(32 << 20)));`;
  // 8 MiB is the largest file that the process may write; Node ignores the signal.
  const run = spawnSync('bash', [
    '-c',
    'trap "" XFSZ; ulimit -f 8192; exec "$0" --input-type=module -e "$1"',
    process.execPath,
    script,
  ]);
  assert.match(run.stderr.toString(), /EFBIG/);
  assert.deepEqual(
    readdirSync(folders[1]!).filter((name) => name.includes('c.bin')),
    [],
  );
});
