/** Reading files that grow: what another process writes, cuts, replaces and half writes. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Collector, followFile, followLog, remembered } from '../../src/report/follow.js';
import { UserError } from '../../src/util/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { fuzz } from '../helpers/fuzz.js';

/** Collects the field `n`, and counts the lines that were read. */
function numbers() {
  let read = 0;
  const collector = (): Collector<readonly number[]> => {
    const found: number[] = [];
    return {
      add: ({ n }) => {
        read += 1;
        found.push(Number(n));
      },
      value: () => [...found],
    };
  };
  return { collector, linesRead: () => read };
}

const line = (n: number) => `{"n":${n}}\n`;

test('a log is read on from where it ended, and a half-written line waits for its end', (t) => {
  const path = join(temporaryFolder(t), 'log.jsonl');
  const { collector, linesRead } = numbers();
  const log = followLog(path, collector);
  const none = log.read();
  assert.deepEqual(none, []);
  assert.equal(log.read(), none, 'the same object until something changes');
  writeFileSync(path, `${line(1)}${line(2)}{"n":`);
  assert.deepEqual(log.read(), [1, 2]);
  const two = log.read();
  appendFileSync(path, '3');
  assert.equal(log.read(), two, 'half a line is no line');
  appendFileSync(path, `}\n${line(4)}`);
  assert.deepEqual(log.read(), [1, 2, 3, 4]);
  assert.equal(linesRead(), 4, 'every line is read once');
});

test('a log that was cut, replaced or removed is read from its beginning', (t) => {
  const path = join(temporaryFolder(t), 'log.jsonl');
  const log = followLog(path, numbers().collector);
  writeFileSync(path, line(1) + line(2) + line(3));
  assert.deepEqual(log.read(), [1, 2, 3]);
  writeFileSync(path, line(1));
  assert.deepEqual(log.read(), [1]);
  // Cut and grown beyond its old length between two readings, as by a resumed run.
  writeFileSync(path, line(1) + line(8) + line(9));
  assert.deepEqual(log.read(), [1, 8, 9]);
  writeFileSync(`${path}.new`, line(5) + line(6) + line(7) + line(8));
  renameSync(`${path}.new`, path);
  assert.deepEqual(log.read(), [5, 6, 7, 8]);
  rmSync(path);
  assert.deepEqual(log.read(), []);
});

test('a damaged line is an error each time, until it is gone', (t) => {
  const path = join(temporaryFolder(t), 'log.jsonl');
  const log = followLog(path, numbers().collector);
  writeFileSync(path, `${line(1)}nonsense\n`);
  for (let i = 0; i < 2; i++) {
    assert.throws(
      () => log.read(),
      (error) => error instanceof UserError && /Line 2 of .* is damaged/.test(error.message),
    );
  }
  writeFileSync(path, line(1) + line(2));
  assert.deepEqual(log.read(), [1, 2]);
});

test('however a log is written and cut, following it gives what reading it whole gives', (t) => {
  const folder = temporaryFolder(t);
  fuzz(60, (random, seed) => {
    const path = join(folder, `${seed}.jsonl`);
    const log = followLog(path, numbers().collector);
    let text = '';
    for (let n = 0; n < 30; n++) {
      const lines = text.split('\n').slice(0, -1);
      if (random() < 0.15 && lines.length > 0) {
        text = lines
          .slice(0, Math.floor(random() * lines.length))
          .map((each) => `${each}\n`)
          .join('');
      }
      const more = line(n);
      const complete = text.replace(/[^\n]*$/, '');
      text = random() < 0.3 ? complete + more.slice(0, Math.floor(random() * more.length)) : complete + more;
      writeFileSync(path, text);
      if (random() < 0.5) assert.deepEqual(log.read(), followLog(path, numbers().collector).read());
    }
  });
});

test('a file is read again only after a change; an error is not a value', (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.json');
  let reads = 0;
  const file = followFile(path, (at) => {
    reads += 1;
    return JSON.parse(readFileSync(at, 'utf8')) as object;
  });
  assert.equal(file(), undefined);
  writeFileSync(path, '{"a":1}');
  const first = file();
  assert.equal(file(), first);
  assert.equal(reads, 1);
  writeFileSync(path, '{"a":');
  assert.throws(() => file(), SyntaxError);
  assert.throws(() => file(), SyntaxError);
  writeFileSync(`${path}.new`, '{"a":2}');
  renameSync(`${path}.new`, path);
  assert.deepEqual(file(), { a: 2 });
  rmSync(folder, { recursive: true });
  assert.equal(file(), undefined);
  mkdirSync(folder);
});

test('remembered recomputes only for other objects', () => {
  let calls = 0;
  const sum = remembered((a: readonly number[], b: number) => {
    calls += 1;
    return [...a, b].length;
  });
  const list = [1, 2];
  assert.deepEqual([sum(list, 1), sum(list, 1), sum(list, 2), sum([1, 2], 2)], [3, 3, 3, 3]);
  assert.equal(calls, 3);
});
