/** @file The native engine's CRC-32 gives the results of zlib's, with every instruction set that has one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { findInstalledEngine } from '../../src/engine/install/installed.js';
import { loadBinding, loadKernels } from '../../src/engine/native.js';
import { nativeTest } from '../helpers/native.js';

const limit = process.argv[2];

function compare(): string {
  const { bindingPath, kernelsPath } = findInstalledEngine()!;
  if (kernelsPath === undefined) return 'no kernels';
  loadBinding(bindingPath);
  const kernels = loadKernels(kernelsPath);
  if (kernels.crc32 === undefined) return `none with ${kernels.instructions}`;
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * i * 31 + i) >> 3);
  for (let length = 0; length <= 1100; length += 1) {
    // Any address, and any checksum before.
    const part = bytes.subarray(length % 67, (length % 67) + length);
    const before = Math.imul(length, 0x9e3779b1) >>> 0;
    assert.equal(kernels.crc32(part, before), crc32(part, before), `${length} bytes`);
  }
  assert.equal(kernels.crc32(bytes, 0), crc32(bytes));
  assert.equal(kernels.crc32(new Uint8Array(5000), 0xffffffff), crc32(new Uint8Array(5000), 0xffffffff));
  assert.throws(() => kernels.crc32!(new Float32Array(4) as unknown as Uint8Array, 0), /expected a Uint8Array/);
  return `the same with ${kernels.instructions}`;
}

if (limit === 'alone') console.log(compare());
else {
  for (const set of ['', 'avx2', 'baseline']) {
    nativeTest(`CRC-32 is that of zlib with ${set || 'all instructions'}`, (t) => {
      const file = fileURLToPath(import.meta.url);
      const child = spawnSync(process.execPath, [file, 'alone'], {
        encoding: 'utf8',
        env: { ...process.env, TINYZERO_CPU: set, NODE_TEST_CONTEXT: undefined },
      });
      assert.equal(child.status, 0, child.stderr);
      const found = child.stdout.trim();
      // The baseline has none; an x64 processor without carry-less products has not been made for ten years.
      if (found === 'no kernels' || (process.arch !== 'x64' && found.startsWith('none'))) return t.skip(found);
      assert.match(found, set === 'baseline' ? /^none with baseline$/ : /^the same with /);
    });
  }
}
