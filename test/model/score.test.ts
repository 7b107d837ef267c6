/** Scoring costs what the rows' tokens cost, and a score does not depend on the rows beside it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Engine, openEngine } from '../../src/engine/backend.js';
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { createModelProgram } from '../../src/model/load.js';
import type { CompletionRow } from '../../src/model/network/log-probs.js';
import { planScoring, score, scoreFunctions } from '../../src/model/score.js';
import { keyedRandom } from '../../src/util/random.js';
import { fixture } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const { config, weights, folder } = openPretrained(fixture('qwen2-tied-f32'));

function randomRows(count: number, longest: number) {
  const random = keyedRandom('rows', count, longest);
  const ids = (length: number) => Array.from({ length }, () => random.int(0, config.vocabSize - 1));
  return Array.from({ length: count }, () => {
    const length = random.int(1, longest - 1);
    return { promptIds: ids(length), completionIds: ids(random.int(0, longest - length)) };
  });
}

/** `count` rows of `length` tokens, of which the last is completion. */
const equalRows = (count: number, length: number): CompletionRow[] =>
  Array.from({ length: count }, () => ({ promptIds: new Array(length - 1).fill(1), completionIds: [2] }));

const tokensOf = ({ promptIds, completionIds }: CompletionRow) => promptIds.length + completionIds.length;

const mixtures: Record<string, CompletionRow[]> = {
  'one row': equalRows(1, 2),
  'a few short rows': randomRows(10, 30),
  'many rows of any length': randomRows(2000, 2000),
  '220 short rows beside a long one': [...equalRows(110, 20), ...equalRows(1, 160), ...equalRows(110, 20)],
  'short rows beside a very long one': [...equalRows(1, 8000), ...equalRows(500, 20)],
  'three lengths': [...equalRows(40, 1000), ...equalRows(300, 90), ...equalRows(2000, 12)],
};

test('every row has one place, which it shares with no other, and its predictions fit', () => {
  for (const [name, rows] of Object.entries(mixtures)) {
    const { groups, passes } = planScoring(config, rows);
    assert.ok(groups.length <= 4, name);
    assert.equal(new Set(groups.map((group) => group.name)).size, groups.length);
    const placed = passes.flatMap(({ pass }) => pass.map(({ row }) => row));
    assert.deepEqual(
      placed.sort((a, b) => a - b),
      [...rows.keys()],
      name,
    );
    for (const { group, pass } of passes) {
      const { sequences, length, predictions } = group.shape;
      const free = Array.from({ length: sequences }, () => new Set(Array(length).keys()));
      for (const { row, sequence, start } of pass) {
        for (let i = 0; i < tokensOf(rows[row]!); i += 1) assert.ok(free[sequence]?.delete(start + i), name);
      }
      assert.ok(pass.reduce((sum, { row }) => sum + rows[row]!.completionIds.length, 0) <= predictions);
      assert.ok(sequences === 1 || sequences * length <= 4096);
    }
  }
});

test('the tokens that are computed are little more than the tokens of the rows', () => {
  for (const [name, rows] of Object.entries(mixtures)) {
    const { groups, passes } = planScoring(config, rows);
    const size = ({ shape }: (typeof groups)[number]) => shape.sequences * shape.length;
    const computed = passes.reduce((sum, { group }) => sum + size(group), 0);
    const tokens = rows.reduce((sum, row) => sum + tokensOf(row), 0);
    // A fourth more, and of each shape what one pass can hold.
    const allowed = 1.25 * tokens + groups.reduce((sum, group) => sum + size(group), 0);
    assert.ok(computed <= allowed, `${name}: ${computed} for ${tokens}`);
  }
});

test('attention of a long row is not paid by short ones', () => {
  const { passes } = planScoring(config, mixtures['short rows beside a very long one']!);
  const lengths = passes.flatMap(({ group, pass }) => pass.map(({ row }) => ({ row, length: group.shape.length })));
  for (const { row, length } of lengths)
    assert.ok(row === 0 ? length >= 8000 : length <= 1000, `row ${row}: ${length}`);
});

test('results of many rows arrive window by window', () => {
  const rows = equalRows(40_000, 10);
  const { passes } = planScoring(config, rows);
  const order = passes.flatMap(({ pass }) => pass.map(({ row }) => row));
  // A window of 131,072 tokens holds 13,107 of these rows.
  for (const [place, row] of order.entries()) assert.ok(Math.abs(place - row) <= 13_107);
});

async function scored(engine: Engine, rows: readonly CompletionRow[], onRow?: (row: number) => void) {
  const plan = planScoring(config, rows);
  const parts = { state: {}, functions: scoreFunctions(config, plan.groups) };
  const program = await createModelProgram(engine, { config, folder, weights }, parts);
  try {
    return await score(program, plan, rows, { temperature: 0.9, ...(onRow && { onRow }) });
  } finally {
    program.dispose();
  }
}

for (const name of ['tensorflow', 'wasm'] as const) {
  const check = name === 'tensorflow' ? nativeTest : test;
  check(`a row has the same log-probs alone and among many (${name})`, async () => {
    const engine = await openEngine(name);
    // Long enough, and unequal enough, for several shapes and passes.
    const rows = [...randomRows(60, 40), ...randomRows(4, 600), ...randomRows(60, 40)];
    assert.ok(planScoring(config, rows).groups.length > 1);
    const told: number[] = [];
    const scores = await scored(engine, rows, (row) => told.push(row));
    assert.deepEqual(
      told.sort((a, b) => a - b),
      [...rows.keys()],
    );
    for (const row of [0, 7, 60, 61, 99, 123]) {
      const [expected] = await scored(engine, [rows[row]!]);
      assert.equal(scores[row]!.length, rows[row]!.completionIds.length);
      scores[row]!.forEach((value, i) => {
        assert.ok(Math.abs(value - expected![i]!) < 2e-5, `row ${row}, token ${i}: ${value}, alone ${expected![i]}`);
      });
    }
  });
}
