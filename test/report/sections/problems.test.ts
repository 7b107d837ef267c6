import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, problemCells, productCells } from '../../../src/report/sections/problems.js';
import { runRecord, task } from '../../helpers/run-record.js';

test('held-out cells are counted from the evaluations, training cells from stage 1 and the last epoch', () => {
  const run = runRecord({ before: () => 2, after: () => 6 });
  const cells = new Map(problemCells(run).map((cell) => [cell.id, cell]));
  assert.equal(cells.size, run.problems.train.length + 20);
  const held = cells.get(task.prompt({ a: 8, b: 12 }))!;
  assert.deepEqual([held.heldOut, held.before, held.after], [true, { right: 2, total: 8 }, { right: 6, total: 8 }]);
  assert.equal(changeOf(held), 0.5);
  const trained = cells.get(run.problems.train[0]!.id)!;
  assert.deepEqual(
    [trained.heldOut, trained.before, trained.after],
    [false, { right: 2, total: 4 }, { right: 3, total: 4 }],
  );
  const unvisited = cells.get(run.problems.train[1]!.id)!;
  assert.equal(unvisited.after, undefined);
  assert.equal(changeOf(unvisited), undefined);
});

test('without samples a held-out cell is its greedy answer; without stage 1 a training cell has no before', () => {
  const { stage1: _, ...run } = runRecord({ samples: 0, before: () => 1 });
  const cells = problemCells(run);
  assert.deepEqual(cells.find(({ heldOut }) => heldOut)!.before, { right: 1, total: 1 });
  assert.ok(cells.filter(({ heldOut }) => !heldOut).every(({ before }) => before === undefined));
});

test('the grid is the whole square of factors, row by row, and marks cells without a problem', () => {
  const cells = problemCells(runRecord());
  const grid = productCells(cells)!;
  assert.equal(grid.length, 121);
  assert.deepEqual(
    grid.map(({ a, b }) => [a, b]),
    Array.from({ length: 121 }, (_, i) => [2 + Math.floor(i / 11), 2 + (i % 11)]),
  );
  assert.equal(grid.filter(({ isEmpty }) => !isEmpty).length, cells.length);
  assert.equal(grid.filter(({ heldOut }) => heldOut).length, 20);
});

test('problems that are not products, or have too many factors, have no grid', () => {
  const cell = (value: unknown) => ({ id: 'x', value, heldOut: true });
  for (const value of [undefined, null, 'text', 7, { a: 3 }, { a: 3, b: '4' }, { a: 0.5, b: 2 }, [3, 4]]) {
    assert.equal(productCells([cell({ a: 2, b: 3 }), cell(value)]), undefined, JSON.stringify(value));
  }
  assert.equal(productCells([]), undefined);
  assert.equal(productCells([cell({ a: 2, b: 2 }), cell({ a: 2, b: 1e9 })]), undefined);
  const corners = [cell({ a: -(2 ** 53) + 1, b: 1 }), cell({ a: 1, b: 2 ** 53 - 1 })];
  assert.equal(productCells(corners), undefined);
});
