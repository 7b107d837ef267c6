import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { describe } from '../../src/cli/terminal/progress.js';
import { formatBytes, formatSeconds } from '../../src/util/format.js';
import { cacheFolder } from '../../src/util/machine.js';

test('bytes are printed in decimal units with two or three digits', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [9949, '9.9 kB'],
    [9950, '10 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'], // never "1000 kB"
    [273_829_956, '274 MB'],
    [3_380_000_000, '3.4 GB'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

test('seconds become minutes and hours', () => {
  assert.equal(formatSeconds(7.6), '8 s');
  assert.equal(formatSeconds(59.6), '1 min 0 s');
  assert.equal(formatSeconds(125), '2 min 5 s');
  assert.equal(formatSeconds(3780), '1 h 3 min');
});

test('progress shows bytes, speed and, once there is enough data, the time left', () => {
  assert.equal(describe(0, 274e6, 500), '0 B of 274 MB');
  assert.equal(describe(82e6, 274e6, 8200), '82 MB of 274 MB, 10 MB/s, 19 s left');
  assert.equal(describe(102, 274e6, 5000), '102 B of 274 MB, 20 B/s', 'too little to foretell anything');
  assert.equal(describe(274e6, 274e6, 10_000), '274 MB of 274 MB, 27 MB/s');
  assert.equal(describe(5e6, 0, 5000), '5.0 MB, 1.0 MB/s', 'a total that is not known');
});

test('the cache folder: TINYZERO_CACHE, then XDG, then the platform default', () => {
  const home = homedir();
  assert.equal(cacheFolder({ TINYZERO_CACHE: '/a', XDG_CACHE_HOME: '/b' }, 'linux'), '/a');
  assert.equal(cacheFolder({ TINYZERO_CACHE: 'a' }, 'linux'), join(process.cwd(), 'a'), 'always absolute');
  assert.equal(cacheFolder({ XDG_CACHE_HOME: '/b' }, 'linux'), '/b/tinyzero');
  assert.equal(cacheFolder({}, 'linux'), join(home, '.cache/tinyzero'));
  assert.equal(cacheFolder({}, 'darwin'), join(home, 'Library/Caches/tinyzero'));
  assert.equal(cacheFolder({ LOCALAPPDATA: '/local' }, 'win32'), '/local/tinyzero/cache');
});
