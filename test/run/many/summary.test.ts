import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { judgeSet } from '../../../src/report/many/verdict.js';
import type { RankBy, RunPlan } from '../../../src/run/many/plan.js';
import type { Member, MemberRow } from '../../../src/run/many/state.js';
import { markdownTable, type SetSummary, summarizeSet, tableOf } from '../../../src/run/many/summary.js';
import { temporaryFolder } from '../../helpers/files.js';
import { runRecord } from '../../helpers/run-record.js';

const plan: RunPlan = {
  kind: 'seeds',
  command: 'train',
  swept: [],
  settings: [{ name: 'all', values: {} }],
  runs: [1, 2, 3].map((seed) => ({ name: `seed-${seed}`, seed, setting: 0, flags: {} })),
};

function member(seed: number, right: number): Member {
  const { before, after } = runRecord({ before: () => 2, after: () => right });
  const row: MemberRow = {
    ...{ name: `seed-${seed}`, seed, setting: 0, state: 'finished', updates: 12 },
    greedyBefore: before!.greedy.exact.rate,
    greedyAfter: after!.greedy.exact.rate,
    sampledBefore: before!.sampled!.exact.rate,
    sampledAfter: after!.sampled!.exact.rate,
    signFlipP: 0.001,
    mcnemarP: 0.002,
    formatRate: 1,
  };
  return { row, evaluations: { before: before!, after: after! } };
}

test('a set of seeds: the sentence, the notes and the table with mean and standard deviation', () => {
  const summary = summarizeSet('runs/three', plan, [member(1, 7), member(2, 8), member(3, 6)]);
  const { kind, sentence, notes } = judgeSet(summary, plan);
  assert.equal(kind, 'learned');
  assert.match(
    sentence,
    /^It learned, over 3 seeds: held-out sampled accuracy 25\.0 % → 87\.5 %, \+62\.5 points on average/,
  );
  assert.match(sentence, /p = 0\.00098 over 11 clusters of held-out problems/);
  assert.match(
    notes.join('\n'),
    /gains from \+50\.0 to \+75\.0 with a standard deviation of 12\.5 points; 3 runs gained, 0 lost/,
  );
  assert.match(notes.join('\n'), /same 20 problems, so more seeds show how much runs differ, but add no evidence/);
  assert.equal(
    markdownTable(summary),
    `| seed | greedy before | sampled before | greedy after | sampled after | sign-flip p | McNemar p | readable |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 1 | 0.000 | 0.250 | 1.000 | 0.875 | 0.0010 | 0.0020 | 100.0 % |
| 2 | 0.000 | 0.250 | 1.000 | 1.000 | 0.0010 | 0.0020 | 100.0 % |
| 3 | 0.000 | 0.250 | 1.000 | 0.750 | 0.0010 | 0.0020 | 100.0 % |
| mean | 0.000 | 0.250 | 1.000 | 0.875 |  |  |  |
| sd | 0.000 | 0.000 | 0.000 | 0.125 |  |  |  |
`,
  );
});

test('unfinished runs have their state in the table and do not count', () => {
  const waiting: Member = { row: { name: 'seed-3', seed: 3, setting: 0, state: 'waiting', updates: 0 } };
  const summary = summarizeSet('runs/three', plan, [member(1, 7), member(2, 8), waiting]);
  assert.equal(summary.overSeeds?.runs, 2);
  assert.match(judgeSet(summary, plan).notes[0]!, /2 of 3 runs are finished/);
  const { head, rows } = tableOf(summary);
  assert.equal(head.at(-1), 'state');
  assert.equal(rows[2]!.at(-1), 'waiting');
  const none = summarizeSet('runs/three', plan, [waiting]);
  assert.equal(judgeSet(none, plan).kind, 'unfinished');
});

test('test problems that were trained on are called memory', () => {
  const runs = plan.runs.map((run) => ({ ...run, flags: { overlap: 'seed' } }));
  const summary = summarizeSet('runs/three', plan, [member(1, 7)]);
  const verdict = judgeSet(summary, { ...plan, runs });
  assert.equal(verdict.kind, 'memory');
  assert.match(verdict.sentence, /memorisation/);
});

function sweepSummary(rankBy: RankBy, scores: readonly (number | undefined)[]): { summary: SetSummary; plan: RunPlan } {
  const settings = scores.map((_, i) => ({ name: `trial-${i + 1}`, values: { lr: `${i + 1}e-4`, reward: 'exact' } }));
  const sweep: RunPlan = {
    ...{ kind: 'sweep', command: 'train', swept: ['lr', 'reward'], settings, rankBy },
    runs: settings.map(({ name, values }, i) => ({ name, seed: 0, setting: i, flags: values })),
  };
  const members = scores.map((score, i): Member => {
    const row = { name: `trial-${i + 1}`, seed: 0, setting: i, updates: 3 };
    if (score === undefined) return { row: { ...row, state: 'stopped' } };
    return {
      row: {
        ...row,
        state: 'finished',
        trainReward: score,
        trainExact: score,
        greedyBefore: 0.1,
        greedyAfter: 1 - score,
      },
    };
  });
  return { summary: summarizeSet('runs/sweep', sweep, members), plan: sweep };
}

test('a sweep is ranked by training reward; ties share a rank, and what is not finished has none', () => {
  const { summary, plan: sweep } = sweepSummary('train-reward', [0.5, undefined, 0.8, 0.5]);
  assert.deepEqual(
    tableOf(summary).rows.map(([rank, name]) => [rank, name]),
    [
      ['1', 'trial-3'],
      ['2', 'trial-1'],
      ['2', 'trial-4'],
      ['', 'trial-2'],
    ],
  );
  const { sentence, notes } = judgeSet(summary, sweep);
  assert.match(sentence, /^Best by mean training reward: trial-3: lr 3e-4, reward exact \(0\.800\)\.$/);
  assert.match(notes.join('\n'), /would be selection/);
  assert.match(notes.join('\n'), /reward changes what a training reward measures/);
});

test('a ranking by held-out results says that it is selection', () => {
  const { summary, plan: sweep } = sweepSummary('held-out', [0.5, 0.2, 0.8]);
  assert.equal(summary.ranking?.[0]?.name, 'trial-2', 'the best held out is the worst in training here');
  assert.match(judgeSet(summary, sweep).notes.join('\n'), /That is selection: the best of 3 is partly the luckiest/);
});

test('the figures of a run come from its files', async (t) => {
  const { readMember } = await import('../../../src/run/many/state.js');
  const folder = temporaryFolder(t);
  assert.equal(readMember(folder, plan, plan.runs[0]!).row.state, 'waiting');
  mkdirSync(join(folder, 'seed-1'));
  writeFileSync(join(folder, 'seed-1', 'config.json'), '{}');
  assert.equal(readMember(folder, plan, plan.runs[0]!).row.state, 'damaged');
});
