/** How rows of all lengths are grouped for scoring, and that scores do not depend on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/backend.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createModelProgram } from '../../src/model/load.js';
import { score, scoreFunctions, scoreGroups } from '../../src/model/score.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';

const { config, weights, folder } = openPretrained(fixture('qwen2-tied-f32'));

function randomRows(count: number, longest: number) {
  const random = keyedRandom('rows', count, longest);
  const ids = (length: number) => Array.from({ length }, () => random.int(0, config.vocabSize - 1));
  return Array.from({ length: count }, () => {
    const length = random.int(1, longest - 1);
    return { promptIds: ids(length), completionIds: ids(random.int(0, longest - length)) };
  });
}

test('every row is in a group that it fits and mostly fills', () => {
  for (const [count, longest] of [
    [1, 2],
    [10, 30],
    [300, 600],
    [2000, 2000],
  ] as const) {
    const rows = randomRows(count, longest);
    const groups = scoreGroups(config, rows);
    const members = groups.flatMap((group) => group.rows).sort((a, b) => a - b);
    assert.deepEqual(members, [...rows.keys()]);
    assert.ok(groups.length <= 4);
    assert.equal(new Set(groups.map(({ name }) => name)).size, groups.length);
    for (const group of groups) {
      assert.ok(group.batch >= 1 && group.batch <= group.rows.length);
      assert.ok(group.batch === 1 || group.batch * group.length <= 4096);
      for (const row of group.rows) {
        const { promptIds, completionIds } = rows[row] as (typeof rows)[number];
        assert.ok(promptIds.length + completionIds.length <= group.length && completionIds.length <= group.width);
      }
    }
    // Work above one batch wastes less than half on padding, the shortest rows aside.
    const lengths = rows.map(({ promptIds, completionIds }) => promptIds.length + completionIds.length);
    for (const group of groups.length > 1 ? groups.slice(0, -1) : []) {
      const tokens = group.rows.reduce((sum, row) => sum + (lengths[row] as number), 0);
      assert.ok(tokens * 2 > group.rows.length * (group.length - 16), `${tokens} tokens in ${JSON.stringify(group)}`);
    }
  }
});

test('a row alone, among many and in another group has the same log-probs', async () => {
  const engine = await openEngine('wasm');
  const rows = randomRows(60, 120);
  const groups = scoreGroups(config, rows);
  assert.ok(groups.length > 1, 'the rows need several groups');
  const alone = [rows[7], rows[31]].map((row) => row as (typeof rows)[number]);
  const aloneGroups = scoreGroups(config, alone);
  const told: number[] = [];
  const program = await createModelProgram(
    engine,
    { config, folder, weights },
    { state: {}, functions: scoreFunctions(config, groups) },
  );
  const scores = await score(program, groups, rows, { temperature: 0.9, onRow: (row) => told.push(row) });
  program.dispose();
  assert.deepEqual(
    told.sort((a, b) => a - b),
    [...rows.keys()],
  );
  const aloneProgram = await createModelProgram(
    engine,
    { config, folder, weights },
    { state: {}, functions: scoreFunctions(config, aloneGroups) },
  );
  const expected = await score(aloneProgram, aloneGroups, alone, { temperature: 0.9 });
  aloneProgram.dispose();
  [7, 31].forEach((row, place) => {
    const logProbs = scores[row] as Float32Array;
    assert.equal(logProbs.length, rows[row]?.completionIds.length);
    logProbs.forEach((value, index) => {
      assert.ok(Math.abs(value - (expected[place]?.[index] as number)) < 1e-4);
    });
  });
});
