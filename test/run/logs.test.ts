import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openLog, readLog, requireLog } from '../../src/run/logs.js';
import { type Checksum, checksumOf, emptyChecksum } from '../../src/util/checksum.js';
import { UserError } from '../../src/util/errors.js';
import { assertUserError } from '../helpers/errors.js';
import { damage, flipBit, fuzz } from '../helpers/fuzz.js';

const fresh = () => join(mkdtempSync(join(tmpdir(), 'tinyzero-log-')), 'metrics.jsonl');
/** A log of `steps` lines. */
const write = (path: string, from: number, to: number, mark?: Checksum) => {
  const log = openLog(path, mark);
  for (let step = from; step <= to; step++) log.append({ step, text: '×'.repeat(step) });
  log.sync();
  log.close();
  return log.mark();
};
const steps = (path: string) => [...readLog(path)].map((record) => record.step);

test('lines come back in order; a missing log is empty', () => {
  const path = fresh();
  assert.deepEqual(steps(path), []);
  const mark = write(path, 1, 3);
  assert.deepEqual(mark, checksumOf(readFileSync(path)));
  write(path, 4, 5);
  assert.deepEqual(steps(path), [1, 2, 3, 4, 5]);
});

test('torn anywhere, a resumed log has the same bytes as one never interrupted', () => {
  const whole = fresh();
  write(whole, 1, 6);
  const expected = readFileSync(whole);
  const path = fresh();
  const checkpoint = write(path, 1, 3);
  for (let cut = checkpoint.bytes; cut <= expected.length; cut++) {
    writeFileSync(path, expected.subarray(0, cut));
    assert.ok(steps(path).length >= 3);
    write(path, 4, 6, checkpoint);
    assert.deepEqual(readFileSync(path), expected);
  }
});

test('without a size only the torn line is cut, however long', () => {
  const path = fresh();
  write(path, 1, 2);
  appendFileSync(path, `{"step":3,"text":"${'x'.repeat(200_000)}`);
  assert.deepEqual(steps(path), [1, 2]);
  write(path, 3, 3);
  assert.deepEqual(steps(path), [1, 2, 3]);
  writeFileSync(path, '{"step":');
  write(path, 1, 1);
  assert.deepEqual(steps(path), [1]);
});

test('a log that is not the checkpoint’s is rejected and left as it is', () => {
  const path = fresh();
  const mark = write(path, 1, 3);
  const before = readFileSync(path);
  const [more, fewer] = [1, -1].map((change) => ({ ...mark, bytes: mark.bytes + change }));
  const wrong = [more!, fewer!, { ...mark, crc32: '00000000' }];
  const found = [/Found only \d+ bytes/, /Found CRC-32 /, /Found CRC-32 /];
  for (const [i, other] of wrong.entries()) {
    assertUserError(() => openLog(path, other), found[i]!);
    assertUserError(() => requireLog(path, other), found[i]!);
  }
  assert.deepEqual(readFileSync(path), before);
  requireLog(path, mark);
  // Every flipped bit before the mark is noticed; what follows the mark does not matter.
  fuzz(200, (random) => {
    writeFileSync(path, flipBit(before, random));
    assertUserError(() => requireLog(path, mark), /metrics\.jsonl is damaged/);
  });
  writeFileSync(path, Buffer.concat([before, Buffer.from('{"torn')]));
  requireLog(path, mark);
  requireLog(`${path}.none`, emptyChecksum);
  assertUserError(() => requireLog(`${path}.none`, mark), /only 0 bytes/);
});

test('numbers that JSON cannot hold are rejected by name, nested ones too', () => {
  const log = openLog(fresh());
  assert.throws(() => log.append({ loss: Number.NaN }), /"loss" is NaN/);
  assert.throws(() => log.append({ parts: { exact: Number.POSITIVE_INFINITY } }), /"exact" is Infinity/);
  assert.deepEqual(log.mark(), emptyChecksum);
  log.close();
});

test('a full disk is explained and leaves whole lines', {
  skip: process.platform !== 'linux' && 'needs ulimit -f',
}, () => {
  const path = fresh();
  // A file size limit of 1 block (1024 bytes for bash) makes the write that crosses it come up short, then fail.
  const script = `
    const { openLog } = await import(${JSON.stringify(new URL('../../src/run/logs.js', import.meta.url).href)});
    process.on('SIGXFSZ', () => {});
    const log = openLog(process.argv[1]);
    try { for (let step = 1; ; step++) log.append({ step, text: 'x'.repeat(100) }); }
    catch (error) { console.log(error.name, error.cause?.code ?? error.code); }`;
  const run = spawnSync(
    'bash',
    ['-c', 'ulimit -f 1; exec "$@"', '-', process.execPath, '--input-type=module', '-e', script, path],
    {
      encoding: 'utf8',
    },
  );
  assert.match(run.stdout, /UserError EFBIG/, run.stderr);
  const text = readFileSync(path, 'utf8');
  assert.ok(text.length > 800 && text.endsWith('}\n'), `${text.length} bytes`);
  assert.deepEqual(
    steps(path),
    Array.from({ length: text.split('\n').length - 1 }, (_, i) => i + 1),
  );
});

test('damaged lines are named by number', () => {
  const path = fresh();
  for (const [line, found] of [
    ['{"step": 2', '"step'],
    ['[1]', '\\[1\\]'],
    ['null', 'null'],
    ['', '""'],
    ['['.repeat(5000), '\\[\\['],
  ] as const) {
    writeFileSync(path, `{"step":1}\n${line}\n{"step":3}\n`);
    assertUserError(() => steps(path), new RegExp(`Line 2 of .*metrics\\.jsonl is damaged.*${found}`));
  }
  writeFileSync(path, '{"__proto__": {"step": 9}}\n');
  assert.deepEqual(steps(path).length, 1);
  assert.equal(({} as { step?: number }).step, undefined);
});

test('a damaged log is read or rejected, never changed', () => {
  const path = fresh();
  write(path, 1, 8);
  const bytes = readFileSync(path);
  fuzz(500, (random) => {
    writeFileSync(path, damage(bytes, random));
    try {
      steps(path);
    } catch (error) {
      assert.ok(error instanceof UserError, `${error}`);
    }
    // Appending goes on after the last whole line, whatever stands before it.
    const before = readFileSync(path);
    const log = openLog(path);
    log.close();
    assert.deepEqual(readFileSync(path), before.subarray(0, before.lastIndexOf('\n') + 1));
  });
});

test('100 MB of nothing is rejected in little memory', () => {
  const path = fresh();
  writeFileSync(path, '');
  truncateSync(path, 100 * 2 ** 20);
  assertUserError(() => steps(path), /Line 1 .*more than 16777216 bytes/);
});

test('a long log is read piece by piece', () => {
  const path = fresh();
  writeFileSync(path, Array.from({ length: 50_000 }, (_, i) => `{"step":${i},"text":"${'×'.repeat(40)}"}\n`).join(''));
  let count = 0;
  for (const { step, text } of readLog(path)) {
    assert.equal(step, count++);
    assert.equal((text as string).length, 40); // no character torn between two reads
  }
  assert.equal(count, 50_000);
});
