import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireFingerprint } from '../../src/stage1/fingerprint.js';
import {
  deriveVStar,
  mergeVStarFiles,
  missingSamples,
  readVStarFile,
  type VStarEntry,
  type VStarFile,
  vStarOf,
  writeVStarFile,
} from '../../src/stage1/v-star-file.js';
import { vStar } from '../../src/stage1/vstar.js';
import { sealJson } from '../../src/util/checksum.js';
import { UserError } from '../../src/util/errors.js';
import { assertUserError } from '../helpers/errors.js';
import { damage, fuzz } from '../helpers/fuzz.js';

const folder = mkdtempSync(join(tmpdir(), 'tinyzero-vstar-'));
const path = join(folder, 'v_star_dict.json');

const entry = (...rewards: number[]): VStarEntry => ({
  rewards,
  exact: rewards.map((reward) => reward === 1),
  parsed: rewards.map(() => true),
  truncated: rewards.map((_, i) => i === 1),
  lengths: rewards.map((_, i) => 10 + i),
  texts: rewards.map((_, i) => 100 + i),
});
const fingerprint = {
  model: 'sha256:1',
  tokenizer: 'sha256:2',
  problems: 'multiplication 2..12',
  prompt: 'raw',
  sampling: 'temperature 1, 48 tokens, seed 1',
  reward: 'graded',
};
const file = (entries: Record<string, VStarEntry>, more: Partial<VStarFile> = {}): VStarFile => ({
  createdBy: 'tinyzero 0.1.0',
  fingerprint,
  beta1: 0.5,
  samples: 4,
  entries: new Map(Object.entries(entries)),
  ...more,
});

test('a file is read back, and written again with the same bytes', () => {
  const original = file({ 'What is 7 × 12?\n': entry(1, 0, 0.3, 0), '': entry(), '"quoted"': entry(1, 1) });
  writeVStarFile(path, original);
  const bytes = readFileSync(path, 'utf8');
  assert.deepEqual(readVStarFile(path), original);
  writeVStarFile(path, readVStarFile(path));
  assert.equal(readFileSync(path, 'utf8'), bytes);
  // The documented layout, for other programs.
  const json = JSON.parse(bytes);
  assert.deepEqual(Object.keys(json), [
    'format',
    'createdBy',
    'fingerprint',
    'beta1',
    'samples',
    'entries',
    'checksum',
  ]);
  assert.equal(json.entries['What is 7 × 12?\n'].vStar, vStar([1, 0, 0.3, 0], 0.5));
  assert.equal(json.entries['"quoted"'].vStar, null);
});

test('no entries, infinite beta1 and a problem called __proto__ survive the round trip', () => {
  const odd = file({}, { beta1: Number.POSITIVE_INFINITY, entries: new Map([['__proto__', entry(1, 0, 0, 1)]]) });
  writeVStarFile(path, odd);
  assert.deepEqual(readVStarFile(path), odd);
  writeVStarFile(path, file({}));
  assert.deepEqual(readVStarFile(path), file({}));
});

test('an unwritable path is explained', () => {
  writeFileSync(join(folder, 'file'), '');
  assertUserError(() => writeVStarFile(join(folder, 'file', 'v.json'), file({})), /v\.json cannot be written/);
});

test('another beta1 and fewer samples follow from stored rewards', () => {
  const derived = deriveVStar(path, file({ a: entry(1, 0, 0.3, 0) }), { beta1: 0.1, samples: 2 });
  assert.equal(derived.samples, 2);
  assert.deepEqual(derived.entries.get('a'), entry(1, 0));
  assert.equal(vStarOf(path, derived, ['a']).get('a')!.toFixed(4), '0.9307');
  assertUserError(
    () => deriveVStar(path, derived, { samples: 3 }),
    /has 2 samples per problem, too few for --num-samples 3/,
  );
});

test('an interrupted file knows which samples are missing', () => {
  const partial = file({ a: entry(1, 0, 0, 1), b: entry(0.3) });
  assert.deepEqual(missingSamples(partial, ['a', 'b', 'c']), [
    ...[1, 2, 3].map((sample) => ({ id: 'b', sample })),
    ...[0, 1, 2, 3].map((sample) => ({ id: 'c', sample })),
  ]);
  assert.deepEqual([...vStarOf(path, partial, ['a'])], [['a', vStar([1, 0, 0, 1], 0.5)]]);
  assertUserError(() => vStarOf(path, partial, ['a', 'b', 'c']), /lacks samples for 2 of 3 problems, "b" first/);
});

test('a mismatch names each differing field with both values, and only those', () => {
  requireFingerprint(path, file({}), fingerprint);
  const expected = { ...fingerprint, model: 'sha256:9', reward: 'exact' };
  assertUserError(
    () => requireFingerprint(path, file({}), expected),
    /model and reward differ\. Expected model "sha256:9", reward "exact"\. Found model "sha256:1", reward "graded"\./,
  );
});

const merge = (files: readonly VStarFile[], options = {}) =>
  mergeVStarFiles(
    files.map((each, i) => ({ path: `part-${i}`, file: each })),
    options,
  );
const shard = (i: number, entries: Record<string, VStarEntry>, { of = 3, problems = 1 } = {}) =>
  file(entries, { shards: { of, have: [i], problems } });
const full = entry(1, 0, 0, 1);
/** An undivided file. */
const undivided = (entries: Record<string, VStarEntry>) =>
  shard(1, entries, { of: 1, problems: Object.keys(entries).length });

test('all shards merge in any order; some of them only with --partial', () => {
  const shards = [shard(1, { a: full }), shard(2, { b: full }), shard(3, { c: full })];
  const whole = undivided({ a: full, b: full, c: full });
  assert.deepEqual(merge(shards), whole);
  assert.deepEqual(merge([...shards].reverse()), undivided({ c: full, b: full, a: full }));
  const [first, second] = shards;
  assertUserError(() => merge([first!]), /Shards 2, 3 of 3 are missing.*--partial/);
  assertUserError(
    () => merge([first!, second!]),
    /Shard 3 of 3 is missing\. Expected all 3 shards\. Found shards 1, 2/,
  );
  const part = merge([first!, second!], { partial: true });
  assert.deepEqual(part.shards, { of: 3, have: [1, 2], problems: 2 });
  writeVStarFile(path, part);
  assert.deepEqual(readVStarFile(path), part);
  assert.deepEqual(merge([part, shards[2]!]), whole);
});

test('merged shards have the order of the problems, however they were merged', () => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const shards = [1, 2, 3].map((i) => {
    const own = ids.filter((_, index) => index % 3 === i - 1);
    return shard(i, Object.fromEntries(own.map((id) => [id, full])), { problems: own.length });
  });
  const order = (merged: VStarFile) => [...merged.entries.keys()];
  assert.deepEqual(order(merge([shards[2]!, shards[0]!, shards[1]!])), ids);
  const part = merge([shards[2]!, shards[0]!], { partial: true });
  assert.deepEqual(order(part), ['a', 'c', 'd', 'f', 'g']);
  assert.deepEqual(order(merge([shards[1]!, part])), ids);
});

test('the same shard twice, or an interrupted one, is rejected without --partial', () => {
  const [first, second] = [shard(1, { a: full }, { of: 2 }), shard(2, { b: full }, { of: 2 })];
  assertUserError(() => merge([first, second, first]), /part-2 and part-0 are both shard 1 of 2.*--partial/);
  assert.deepEqual(merge([first, second, first], { partial: true }), undivided({ a: full, b: full }));
  const interrupted = shard(2, { b: entry(1, 0) }, { of: 2 });
  assertUserError(
    () => merge([first, interrupted]),
    /part-1 is incomplete\. Expected 4 samples of each of its 1 problems/,
  );
  const fewer = shard(2, { b: full }, { of: 2, problems: 2 });
  assertUserError(() => merge([first, fewer]), /part-1 is incomplete/);
  // Of a problem in two files the one with more samples counts.
  const both = merge([interrupted, first, second], { partial: true });
  assert.deepEqual(both.entries.get('b'), full);
  assertUserError(() => merge([file({ a: full }), file({ a: full })]), /both shard 1 of 1/);
});

test('a shard that several files have counts once', () => {
  // Eight problems in three shards of 3, 3 and 2.
  const [one, two, three] = [
    shard(1, { a: full, d: full, g: full }, { problems: 3 }),
    shard(2, { b: full, e: full, h: full }, { problems: 3 }),
    shard(3, { c: full, f: full }, { problems: 2 }),
  ];
  const joined = (...files: VStarFile[]) => merge(files, { partial: true });
  const [left, right] = [joined(one, two), joined(two, three)];
  assert.deepEqual(joined(one, left), left);
  assert.deepEqual(left.shards, { of: 3, have: [1, 2], problems: 6 });
  assert.deepEqual(joined(one, joined(one, three)).shards, { of: 3, have: [1, 3], problems: 5 });
  assert.deepEqual(joined(left, right), joined(one, two, three));
  assert.equal(joined(right, left).shards?.problems, 8);
});

test('files of other settings are never merged', () => {
  const all = { partial: true };
  const other = entry(0, 0, 0, 0);
  assertUserError(
    () => merge([file({ a: full }), file({ a: other })], all),
    /part-1 and an earlier file have different samples for "a"/,
  );
  assertUserError(
    () => merge([file({}), file({}, { beta1: 0.1 })], all),
    /beta1 differs\. Expected beta1 0\.5\. Found beta1 0\.1/,
  );
  assertUserError(() => merge([file({}), file({}, { samples: 8 })], all), /samples differs/);
  const seed2 = { ...fingerprint, sampling: 'seed 2' };
  assertUserError(() => merge([file({}), file({}, { fingerprint: seed2 })], all), /sampling differs/);
  assertUserError(
    () => merge([shard(1, { a: full }), shard(2, { b: full }, { of: 4 })], all),
    /number of shards differs\. Expected number of shards 3\. Found number of shards 4/,
  );
  assertUserError(() => merge([]), /No V\* files to merge/);
});

test('hostile files are rejected with the location of the error', () => {
  const good = {
    format: 'tinyzero-v-star-2',
    createdBy: 'x',
    fingerprint,
    beta1: 0.5,
    samples: 1,
    entries: { a: { vStar: 1, rewards: [1], exact: [true], parsed: [true], truncated: [false], lengths: [3] } },
  };
  const write = (text: string) => writeFileSync(path, text);
  const sealed = (value: unknown) => write(sealJson(`${JSON.stringify(value, null, 2)}\n`));
  sealed(good);
  assert.equal(readVStarFile(path).entries.size, 1);
  const a = good.entries.a;
  for (const [bad, message] of [
    [[], /wrong form\. Expected a JSON object/],
    [null, /wrong form/],
    [{ ...good, format: 'other' }, /`format` must be "tinyzero-v-star-2"/],
    [{ ...good, format: undefined }, /`format` must be "tinyzero-v-star-2"/],
    [{ ...good, createdBy: 1 }, /createdBy/],
    [{ ...good, fingerprint: { ...fingerprint, reward: undefined } }, /fingerprint\.reward/],
    [{ ...good, beta1: -1 }, /beta1/],
    [{ ...good, beta1: 'NaN' }, /beta1/],
    [{ ...good, samples: 1e300 }, /samples/],
    [{ ...good, samples: 0 }, /samples/],
    [{ ...good, entries: [a] }, /`entries` must be an object/],
    [{ ...good, entries: { a: 0.93 } }, /entries\["a"\]/],
    [
      { ...good, entries: { a: { ...a, rewards: [1.5] } } },
      /entries\["a"\]\.rewards\[0\].*must be a number from 0 to 1, not 1\.5/,
    ],
    [{ ...good, entries: { a: { ...a, rewards: ['1'] } } }, /rewards\[0\]/],
    [{ ...good, entries: { a: { ...a, rewards: [1, 1] } } }, /at most 1 samples/],
    [{ ...good, entries: { a: { ...a, exact: [] } } }, /exact.*as long as rewards/],
    [{ ...good, entries: { a: { ...a, lengths: [-3] } } }, /lengths\[0\]/],
    [{ ...good, entries: { a: { ...a, vStar: 0.2 } } }, /vStar.*follows from its rewards/],
    [{ ...good, entries: { a: { ...a, vStar: null } } }, /vStar/],
  ] as const) {
    if (bad === null || Array.isArray(bad)) write(JSON.stringify(bad));
    else sealed(bad);
    assertUserError(() => readVStarFile(path), message, /estimate-vstar/);
  }
  const text = JSON.stringify(good);
  for (const broken of [
    text.slice(0, -20),
    '',
    '\0\0\0',
    text.replace('0.5', '1e999'),
    text.replace('"a"', '"__proto__"').replace('[1]', '{"length":1}'),
    text.replace('"fingerprint"', '"__proto__"'),
  ]) {
    write(broken);
    assertUserError(() => readVStarFile(path));
  }
  assert.equal(({} as { rewards?: unknown }).rewards, undefined);
});

test('a damaged file is rejected, whatever was damaged', () => {
  writeVStarFile(path, file({ 'What is 7 × 12?\n': entry(1, 0, 0.3, 0), b: entry(0, 1) }));
  const bytes = readFileSync(path);
  let refusals = 0;
  fuzz(500, (random) => {
    writeFileSync(path, damage(bytes, random));
    try {
      // What is accepted can be used: every figure in it has passed its check.
      for (const { rewards } of readVStarFile(path).entries.values()) assert.ok(rewards.every((reward) => reward <= 1));
    } catch (error) {
      assert.ok(error instanceof UserError, `${error}`);
      refusals++;
    }
  });
  assert.ok(refusals >= 490, `${refusals}`); // a damage may be none
});

test('100 MB of anything is rejected without a stack overflow and without minutes', () => {
  const before = process.cpuUsage();
  const size = 100 * 2 ** 20;
  for (const [start, fill] of [
    ['[', '['],
    ['{"format":"', 'x'],
  ] as const) {
    writeFileSync(path, Buffer.concat([Buffer.from(start), Buffer.alloc(size, fill)]));
    assertUserError(() => readVStarFile(path), /v_star_dict\.json is not/, /estimate-vstar/);
  }
  truncateSync(path, 257 * 2 ** 20);
  assertUserError(() => readVStarFile(path), /too large/);
  writeFileSync(path, '');
  // Of CPU time, so that a busy machine does not matter; JSON.parse alone takes 30 s of it for nested brackets.
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 15e6, `${user + system} µs`);
});
