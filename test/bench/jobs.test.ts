/** @file The job that all sides of the comparison do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forcedJob, fullSize, naturalJob } from '../../bench/jobs.js';

const key = ([a, b]: readonly [number, number]) => `${a}×${b}`;
const unordered = ([a, b]: readonly [number, number]) => key(a < b ? [a, b] : [b, a]);

test('the forced job has distinct problems, none of them held out in either order, and ends no completion', () => {
  const job = forcedJob('out', fullSize);
  assert.equal(new Set(job.train.map(key)).size, 500);
  assert.ok(job.train.flat().every((factor) => factor >= 2 && factor <= 40));
  const held = new Set(job.heldOut.map(unordered));
  assert.equal(job.heldOut.length, 20);
  assert.ok(!job.train.some((problem) => held.has(unordered(problem))));
  assert.deepEqual(job.endIds, []);
  assert.deepEqual(job.rows, [...job.train.keys()]);
  assert.equal(job.train.length * job.samples, 4000);
  assert.equal(job.train.length * job.epochs, 1500);
});

test('a smaller job is the beginning of the full one', () => {
  const full = forcedJob('out', fullSize);
  const small = forcedJob('out', { ...fullSize, problems: 50 });
  assert.deepEqual(small.train, full.train.slice(0, 50));
  assert.equal(small.heldOut.length, 2);
});

test('the natural job has about as many sequences, and its completions end', () => {
  const job = naturalJob('out');
  assert.ok(Math.abs(job.train.length * job.samples - 4000) < 100);
  assert.ok(Math.abs(job.train.length * job.epochs - 1500) < 100);
  assert.ok(job.endIds.length > 0);
});
