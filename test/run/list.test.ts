/** The states of a run, made from one real run by taking away what a run stopped earlier would lack. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readEvaluation } from '../../src/policy/eval-compare.js';
import { listRuns } from '../../src/run/listing/list.js';
import { lockFolder } from '../../src/run/lock.js';
import { sealJson } from '../../src/util/checksum.js';
import { UserError } from '../../src/util/errors.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';
import { shortRun } from '../helpers/runs.js';

test('every state of a run is recognised from its files', async (t) => {
  const root = temporaryFolder(t);
  const whole = join(root, 'whole');
  const engine = ['--engine', 'auto', '--no-install', '--quiet'];
  const trained = await tinyzero(['train', ...shortRun, '--keep', '9', '--out', whole, ...engine]);
  assert.equal(trained.code, 0, trained.stderr);
  assert.equal(trained.stderr, '', 'quiet');
  const [entry] = listRuns(whole);
  const { options, ...finished } = entry!;
  assert.equal(options?.batchSize, 8);
  assert.ok(!('loraRank' in options!), 'only those in use');
  const rate = (name: string) => readEvaluation(join(whole, name)).sampled!.exact.rate;
  assert.deepEqual(finished, {
    folder: whole,
    started: finished.started,
    model: 'builtin',
    algo: 'apo',
    task: 'multiplication',
    name: null,
    note: null,
    before: rate('eval-before.json'),
    after: rate('eval-after.json'),
    updates: 5,
    plannedUpdates: 5,
    resumesAfter: null,
    state: 'finished',
    detail: null,
  });

  const runs = join(root, 'runs');
  let age = 0;
  /** A copy, older than those before, without some of its files. */
  const without = (name: string, ...files: string[]) => {
    const folder = join(runs, name);
    cpSync(whole, folder, { recursive: true });
    for (const file of files) rmSync(join(folder, file), { recursive: true });
    if (existsSync(join(folder, 'config.json'))) utimesSync(join(folder, 'config.json'), 2e9, 2e9 - age++);
    return folder;
  };
  const ends = ['eval-after.json', 'final', 'final.json'];
  without('lost', 'final');
  without('evaluating', 'eval-after.json');
  const midway = without('midway', ...ends, 'checkpoints/step-000005', 'checkpoints/step-000004');
  const metrics = join(midway, 'metrics.jsonl');
  writeFileSync(metrics, readFileSync(metrics, 'utf8').split('\n').slice(0, 3).join('\n').concat('\n{"torn'));
  without('trainless', ...ends, 'checkpoints', 'metrics.jsonl');
  without('stage1', ...ends, 'checkpoints', 'metrics.jsonl', 'v_star_dict.json');
  without('fresh', ...ends, 'checkpoints', 'metrics.jsonl', 'v_star_dict.json', 'eval-before.json');
  const hopeless = without('hopeless', ...ends, 'checkpoints', 'metrics.jsonl');
  const vStar = join(hopeless, 'v_star_dict.json');
  writeFileSync(vStar, allWrong(readFileSync(vStar, 'utf8')));
  writeFileSync(join(without('config'), 'config.json'), '{}');
  writeFileSync(join(without('checkpoint', ...ends), 'checkpoints', 'step-000005', 'state.json'), '{}');
  without('nothing', 'config.json');
  mkdirSync(join(runs, 'other'));
  // A model, as `tinyzero pretrain` writes it.
  mkdirSync(join(runs, 'model'));
  for (const name of ['config.json', 'model.safetensors']) writeFileSync(join(runs, 'model', name), '{}');
  writeFileSync(join(runs, 'file'), '');

  const states = () =>
    listRuns(runs).map(({ folder, state, detail }) => [folder.slice(runs.length + 1), state, detail]);
  // What was written to just now counts as begun just now, which is before the dates above.
  const [, , , , , , , checkpoint, config] = states();
  assert.deepEqual(states().slice(0, 7), [
    ['lost', 'damaged', 'final/ is missing'],
    ['evaluating', 'stopped', 'after training, before the last evaluation'],
    ['midway', 'stopped', 'at update 2 of 5'],
    ['trainless', 'stopped', 'at update 0 of 5'],
    ['stage1', 'stopped', 'in stage 1'],
    ['fresh', 'stopped', 'in the evaluation before training'],
    ['hopeless', 'stopped', 'after stage 1: nothing to learn'],
  ]);
  assert.deepEqual(config?.slice(0, 2), ['config', 'damaged']);
  assert.match(config?.[2] ?? '', /config\.json is not a run's configuration: `format` must be/);
  assert.deepEqual(checkpoint?.slice(0, 2), ['checkpoint', 'damaged']);
  assert.match(checkpoint?.[2] ?? '', /state\.json is not a checkpoint's state/);
  assert.equal(states().length, 9);
  const found = listRuns(runs).find(({ folder }) => folder === midway);
  assert.deepEqual([found?.updates, found?.resumesAfter], [3, 2], 'the torn line is no update');

  const lock = lockFolder(midway);
  const begun = join(runs, 'begun');
  mkdirSync(begun);
  const lockBegun = lockFolder(begun);
  const running = listRuns(runs).filter(({ state }) => state === 'running');
  assert.deepEqual(
    running.map(({ folder, detail, started }) => [folder, detail, started !== null]),
    [
      [begun, `process ${process.pid}`, false],
      [midway, `process ${process.pid}`, true],
    ],
  );
  lock.release();
  lockBegun.release();
  assert.equal(states().length, 9);

  const shown = await tinyzero(['runs', runs]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^run +started +model +task +held-out accuracy +state\n/);
  assert.match(shown.stdout, /runs\/midway .* builtin +multiplication +\d+\.\d % +stopped at update 2 of 5\n/);
  assert.match(shown.stdout, /To resume one:\n {2}tinyzero train --resume .*evaluating\n$/);
  const json = await tinyzero(['runs', runs, '--json']);
  assert.deepEqual(lastLine(json.stdout).runs, listRuns(runs));
});

/** A V* file in which no sample is right, and V* says so. */
function allWrong(text: string): string {
  const file = JSON.parse(text) as {
    checksum: string;
    entries: Record<string, { vStar: number; rewards: number[]; exact: boolean[] }>;
  };
  for (const entry of Object.values(file.entries)) {
    entry.vStar = 0;
    entry.rewards = entry.rewards.map(() => 0);
    entry.exact = entry.exact.map(() => false);
  }
  const { checksum: _, ...rest } = file;
  return sealJson(`${JSON.stringify(rest, null, 2)}\n`);
}

test('no runs, no folder, no folder at all', async (t) => {
  const root = temporaryFolder(t);
  assert.deepEqual(listRuns(root), []);
  assert.throws(() => listRuns(join(root, 'nowhere')), UserError);
  const { code, stdout } = await tinyzero(['runs', root]);
  assert.equal(code, 0);
  assert.match(stdout, /There are no runs in .*Start one with `tinyzero train`/);
  assert.equal((await tinyzero(['runs', root, root])).code, 2, 'one folder at most');
});
