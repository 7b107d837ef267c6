/** @file The native engine reserves the blocks of a file, and files that are written into them are whole. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findInstalledEngine } from '../../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../../src/engine/native.js';
import { useReserve, writeLargeFile } from '../../src/util/large-file.js';
import { nativeTest } from '../helpers/native.js';

// The temporary folder may be in memory; the working folder is on a disk.
const folder = mkdtempSync(join(process.cwd(), '.tinyzero-reserve-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const mebibyte = 2 ** 20;

nativeTest('large files are written into reserved blocks', async (t) => {
  const { bindingPath, kernelsPath } = findInstalledEngine()!;
  if (kernelsPath === undefined) return t.skip('no kernels');
  loadBinding(bindingPath);
  const { reserve } = loadKernels(kernelsPath);
  if (reserve === undefined) return t.skip('a system without');

  const empty = join(folder, 'empty');
  const fd = openSync(empty, 'w');
  const can = reserve(fd, 5 * mebibyte);
  closeSync(fd);
  assert.equal(reserve(-1, 5 * mebibyte), false, 'no file');
  if (!can) return t.skip('a file system without');
  assert.equal(statSync(empty).size, 5 * mebibyte);
  assert.ok(512 * statSync(empty).blocks >= 5 * mebibyte);

  const reserved: unknown[] = [];
  useReserve((file, bytes) => reserved.push([bytes, reserve(file, bytes)]));
  t.after(() => useReserve(() => {}));
  for (const size of [4095, 9 * mebibyte, 9 * mebibyte + 4097]) {
    const bytes = Buffer.alloc(size, 'abcdefg');
    await writeLargeFile(join(folder, 'a'), size, (append) => append(bytes));
    assert.ok(readFileSync(join(folder, 'a')).equals(bytes), `${size} bytes`);
  }
  // Small files are not written past the page cache, and neither are those of a file system that knows no such writes.
  if (reserved.length > 0)
    assert.deepEqual(
      reserved,
      [9 * mebibyte, 9 * mebibyte + 4097].map((size) => [size, true]),
    );

  const short = writeLargeFile(join(folder, 'a'), 9 * mebibyte, (append) => append(Buffer.alloc(8 * mebibyte)));
  await assert.rejects(short, /a: 8388608 bytes were written instead of 9437184/);
  assert.equal(statSync(join(folder, 'a')).size, 9 * mebibyte + 4097);
});
