/** Datasets from a hub on loopback: which files make a split, what is cached, and what is said when something is missing. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type DatasetSplits, isDatasetId, resolveDataset } from '../../../src/model/hub/dataset.js';
import { hubSettings } from '../../../src/model/hub/repo.js';
import { assertUserRejection } from '../../helpers/errors.js';
import { fixture, temporaryFolder } from '../../helpers/files.js';
import { startHub } from '../../helpers/hub-server.js';

/** A hub with a dataset of these paths. Parquet files are real, and large enough to be redirected; others hold a word. */
async function setUp(t: TestContext, paths: readonly string[]) {
  const folder = temporaryFolder(t);
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    if (path.endsWith('.parquet')) cpSync(fixture('tables', 'snappy.parquet'), join(folder, path));
    else writeFileSync(join(folder, path), path);
  }
  const hub = await startHub(t, folder, 1000, 'dataset');
  const home = temporaryFolder(t);
  const settings = { ...hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: home }), retryPauseMs: 1 };
  const resolve = (splits: Partial<DatasetSplits> = {}, more: Partial<typeof settings> = {}, reference = 'org/data') =>
    resolveDataset(reference, { split: 'train', ...splits }, { settings: { ...settings, ...more } });
  const names = async (splits: Partial<DatasetSplits> = {}) => (await resolve(splits)).files.map(({ name }) => name);
  return { hub, settings, home, resolve, names };
}

const converted = [
  'README.md',
  'default/train/0000.parquet',
  'default/train/0001.parquet',
  'default/test/0000.parquet',
];

test('a dataset id is distinguished from a file', () => {
  assert.deepEqual(
    [
      'org/data',
      'org/data@main',
      'org/data@0123',
      'data/p.jsonl',
      'a/b.csv',
      'a/b.parquet',
      'x',
      './a/b',
      'src/data',
    ].map(isDatasetId),
    [true, true, true, false, false, false, false, false, false],
  );
});

test('the splits of the converted branch, through redirects, cached and found again without the hub', async (t) => {
  const { hub, home, resolve, settings } = await setUp(t, converted);
  const { pinned, files } = await resolve({ testSplit: 'test' });
  assert.equal(pinned, `org/data@${hub.commit}`);
  assert.deepEqual(
    files.map(({ name, part }) => [name, part]),
    [
      ['default/train/0000.parquet', 'train'],
      ['default/train/0001.parquet', 'train'],
      ['default/test/0000.parquet', 'test'],
    ],
  );
  assert.ok(
    hub.requests.some(({ server }) => server === 'content'),
    'large files come from elsewhere',
  );
  assert.ok(hub.requests.every(({ server, authorization }) => server === 'hub' || authorization === undefined));
  assert.ok(existsSync(join(home, 'hub', 'datasets--org--data', 'refs', 'refs', 'convert', 'parquet')));

  // The commit needs no request at all; the name none where the hub is not to be asked or is gone.
  const before = hub.requests.length;
  assert.deepEqual((await resolve({ testSplit: 'test' }, {}, pinned)).files, files);
  assert.deepEqual((await resolve({}, { offline: true })).files.length, 2);
  assert.equal(hub.requests.length, before);
  await hub.close();
  const notices: string[] = [];
  const again = await resolveDataset(
    'org/data',
    { split: 'train' },
    { settings, onNotice: (text) => notices.push(text) },
  );
  assert.equal(again.files.length, 2);
  assert.match(notices[0]!, /The hub does not answer .*using the cached copy of org\/data/);
  await assertUserRejection(
    resolve({}, { offline: true, cacheFolder: join(home, 'other') }),
    /org\/data is not fully in the cache/,
  );
  await assertUserRejection(resolve({}, { cacheFolder: join(home, 'other') }), /does not answer.*a file of problems/);
});

test('without the converted branch the files of the dataset are read: their paths contain the split', async (t) => {
  const { hub, names } = await setUp(t, [
    'data/train-00000-of-00001.parquet',
    'data/train_sft-00000-of-00001.parquet',
    'dev.csv',
    'my.valid.jsonl',
  ]);
  hub.faults.unconverted = true;
  assert.deepEqual(await names(), ['data/train-00000-of-00001.parquet']);
  assert.deepEqual(await names({ split: 'train_sft' }), ['data/train_sft-00000-of-00001.parquet']);
  assert.deepEqual(await names({ split: 'dev' }), ['dev.csv']);
  assert.deepEqual(await names({ split: 'valid' }), ['my.valid.jsonl']);
});

test('errors name what is missing: split, subset, dataset, revision, access', async (t) => {
  const { hub, resolve, names } = await setUp(t, [
    'main/train/0000.parquet',
    'socratic/train/0000.parquet',
    'main/test/0000.parquet',
  ]);
  await assertUserRejection(resolve(), /several subsets\. Found main, socratic\. Choose one, such as --subset main\./);
  assert.deepEqual(await names({ subset: 'socratic' }), ['socratic/train/0000.parquet']);
  await assertUserRejection(
    resolve({ split: 'tset' }),
    /no files of a split tset\..*Found main\/test\/0000\.parquet.*Choose another --split,/,
  );
  await assertUserRejection(
    resolve({ subset: 'main', testSplit: 'dev' }),
    /split dev in subset main\..*--test-split or --subset/,
  );
  await assertUserRejection(
    resolve({}, {}, 'org/other'),
    /org\/other: the hub .* does not have it \(404\)\. Check the name, or use a file/,
  );
  await assertUserRejection(resolve({}, {}, 'org/data@nope'), /no such revision/);
  hub.faults.status = 401;
  await assertUserRejection(resolve({ subset: 'main' }), /For a private or gated dataset, set HF_TOKEN/);
  delete hub.faults.status;
  hub.faults.busy = 1;
  hub.faults.cutAfter = [100, 2000];
  assert.equal((await resolve({ subset: 'main' })).files.length, 1, 'a lost connection is taken up again');
  hub.faults.corrupt = 5;
  await assertUserRejection(
    resolve({ subset: 'main', split: 'test' }, { cacheFolder: temporaryFolder(t) }),
    /wrong content/,
  );
});

test('paths of a listing stay in the cache', async (t) => {
  const { hub, home, resolve } = await setUp(t, ['train.jsonl']);
  const answer = JSON.stringify([{ type: 'file', path: '../../../../train.jsonl', size: 1, oid: 'a'.repeat(40) }]);
  const original = globalThis.fetch;
  t.after(() => {
    globalThis.fetch = original;
  });
  globalThis.fetch = async (input, init) =>
    String(input).includes('/tree/')
      ? new Response(answer, { headers: { 'content-type': 'application/json' } })
      : original(input, init);
  await assertUserRejection(resolve(), /no files of a split train/);
  assert.ok(hub.requests.length > 0);
  assert.deepEqual(readdirSync(home), []);
});
