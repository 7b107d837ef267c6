import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binned, evenly } from '../../src/report/log-records.js';

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

test('bins cover every item once, in order, and never exceed the requested number', () => {
  for (const n of [0, 1, 5, 99, 100, 101, 1234]) {
    const bins = binned(upTo(n), 100);
    assert.deepEqual(
      bins.flatMap(({ items }) => items),
      upTo(n),
    );
    assert.ok(bins.length <= 100);
    for (const { first, last, items } of bins) assert.deepEqual([first, last], [items[0], items.at(-1)]);
  }
  assert.equal(binned(upTo(100), 100).length, 100, 'short series are left alone');
});

test('every n-th item of a stream is kept, from the first on', () => {
  for (const n of [0, 1, 9, 10, 11, 19, 20, 21, 1000]) {
    const kept = evenly<number>(10);
    for (const item of upTo(n)) kept.add(item);
    const { items } = kept;
    if (n < 20) assert.deepEqual(items, upTo(n));
    else assert.ok(items.length >= 10 && items.length < 20, `${items.length} of ${n}`);
    const stride = (items[1] ?? 1) - (items[0] ?? 0);
    assert.deepEqual(
      items,
      items.map((_, i) => i * stride),
    );
    assert.ok(n === 0 || n - items.at(-1)! <= stride, 'up to the end');
  }
});
