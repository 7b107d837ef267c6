import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findRemovable, type RunEntry, remove } from '../../src/run/listing/list.js';
import { filterRuns, sortRuns } from '../../src/run/listing/query.js';
import { lockFolder } from '../../src/run/lock.js';
import { planSeeds, writePlan } from '../../src/run/many/plan.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

function entry(folder: string, change: Partial<RunEntry> = {}): RunEntry {
  return {
    ...{ folder, started: '2026-11-20T10:00:00.000Z', model: 'builtin', algo: 'apo', task: 'multiplication' },
    ...{ name: null, note: null, options: { lr: 4e-4, algo: 'apo' }, before: 0.3, after: 0.9, updates: 47 },
    ...{ plannedUpdates: 47, resumesAfter: null, state: 'finished', detail: null },
    ...change,
  };
}

const runs = [
  entry('a'),
  entry('b', {
    after: 0.95,
    before: 0.8,
    started: '2026-11-21T10:00:00.000Z',
    options: { lr: 1e-4, algo: 'grpo' },
    algo: 'grpo',
  }),
  entry('c', { after: null, state: 'stopped', name: 'Long try', options: { lr: 1e-3 } }),
];
const folders = (list: readonly RunEntry[]) => list.map(({ folder }) => folder).join('');

test('runs are sorted by any column or option, those without a value last', () => {
  assert.equal(folders(sortRuns(runs, 'after')), 'bac');
  assert.equal(folders(sortRuns(runs, 'after:asc')), 'abc');
  assert.equal(folders(sortRuns(runs, 'gain')), 'abc');
  assert.equal(folders(sortRuns(runs, 'lr')), 'cab');
  assert.equal(folders(sortRuns(runs, 'started')), 'bac');
  assert.equal(folders(sortRuns(runs, 'run:desc')), 'cba');
  assert.throws(() => sortRuns(runs, 'aftr'), /--sort: no column 'aftr'; did you mean after\? Columns: run, name/);
  assert.throws(() => sortRuns(runs, 'nonsense'), /no column 'nonsense'\. Columns: run, .* such as lr\.$/);
  assert.throws(() => sortRuns(runs, 'after:up'), /expected COLUMN, COLUMN:asc or COLUMN:desc/);
});

test('conditions on columns and options, joined by and', () => {
  const fit = (condition: string) => folders(filterRuns(runs, condition));
  assert.equal(fit('after > 0.92'), 'b');
  assert.equal(fit('after>=90%'), 'ab');
  assert.equal(fit('state = finished and lr <= 1e-4'), 'b');
  assert.equal(fit('state != finished'), 'c');
  assert.equal(fit('after != 0.9'), 'bc', 'a run without the value is not it');
  assert.equal(fit('algo=grpo'), 'b');
  assert.equal(fit('name ~ try'), 'c');
  assert.equal(fit("name = 'Long try'"), 'c');
  assert.equal(fit('started > 2026-11-20T23'), 'b');
  assert.equal(fit('batch-size = 3'), '');
  for (const wrong of ['after', 'after >', '> 3', 'after is 3', 'lr << 3', 'name =~ try']) {
    assert.throws(() => filterRuns(runs, wrong), /--filter: expected COLUMN = VALUE/, wrong);
  }
  assert.throws(() => filterRuns(runs, 'lrr = 3'), /did you mean lr\?/);
});

function madeRun(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const name of ['config.json', 'problems.json']) writeFileSync(join(folder, name), '{}');
}

test('runs rm: asks first; refuses anything that is in progress or not a run, and then removes nothing', async (t) => {
  const root = temporaryFolder(t);
  const [run, other, set] = ['run', 'other', 'set'].map((name) => join(root, name)) as [string, string, string];
  for (const folder of [run, other, join(set, 'seed-1'), join(set, 'seed-2')]) madeRun(folder);
  writePlan(set, planSeeds('train', {}, [1, 2]));
  const precious = join(root, 'precious');
  mkdirSync(precious);
  writeFileSync(join(precious, 'thesis.txt'), 'x');

  const unasked = await tinyzero(['runs', 'rm', run]);
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /This would remove .*run \(4 B\)\. Without a terminal, confirm with --yes/);
  const foreign = await tinyzero(['runs', 'rm', run, precious, '--yes']);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /There is no run in .*precious/);
  assert.ok(existsSync(run) && existsSync(precious));

  const lock = lockFolder(join(set, 'seed-2'));
  assert.throws(() => findRemovable(set), /seed-2 is in progress, in process \d+/);
  lock.release();
  const { code, stdout } = await tinyzero(['runs', 'rm', run, set, '--yes', '--json']);
  assert.equal(code, 0);
  assert.deepEqual(
    lastLine(stdout).removed.map(({ folder, runs: count }: { folder: string; runs: number }) => [folder, count]),
    [
      [run, 1],
      [set, 2],
    ],
  );
  assert.deepEqual(readdirSync(root).sort(), ['other', 'precious']);
  const held = findRemovable(other);
  const late = lockFolder(other);
  assert.throws(() => remove(held), /in use by process/);
  late.release();
  assert.ok(existsSync(other));
});
