/** The speedrun's entries are commands that can be filled in, and the ranking keeps to the rules. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { filled, readEntries, root } from '../../bench/speedrun/entries.js';
import { type Attempt, rank, rankingTable } from '../../bench/speedrun/ranking.js';
import { temporaryFolder } from '../helpers/files.js';

const fillings = { node: 'node', python: 'python', root, job: '/job.json', seed: '3', out: '/out' };

test('the entries of the repository name programs that exist', () => {
  const entries = readEntries();
  assert.deepEqual(
    entries.map(({ name }) => name),
    ['pytorch', 'tinyzero', 'tinyzero-four', 'trl'],
  );
  for (const entry of entries) {
    const [, program] = filled(entry, fillings);
    assert.ok(existsSync(program!), program);
  }
  assert.ok(filled(entries[1]!, fillings).join(' ').includes('--seed 3'));
});

test('an invalid entry, or an unknown name in braces, is an error that says where', (t) => {
  const folder = temporaryFolder(t);
  const write = (entry: object) => {
    mkdirSync(join(folder, 'mine'), { recursive: true });
    writeFileSync(join(folder, 'mine', 'entry.json'), JSON.stringify(entry));
  };
  write({ title: 'Mine', notes: '', weights: 'w' });
  assert.throws(() => readEntries(folder), /mine.entry\.json: expected .* command as a list of strings/);
  write({ title: 'Mine', notes: '', weights: 'w', command: ['a', '{held}'] });
  assert.throws(() => filled(readEntries(folder)[0]!, fillings), /entry mine: unknown placeholder \{held\}/);
});

test('the median counts a seed that missed the goal as never, and most must reach it', () => {
  const attempt = (entry: string, seconds: number, accuracy = 0.92, pValue = 0.00098): Attempt => ({
    entry,
    seed: 0,
    seconds,
    accuracy,
    pValue,
    load: 0,
  });
  const ranked = rank([
    ...[9, 8, 10].map((seconds) => attempt('steady', seconds)),
    attempt('lucky', 1),
    attempt('lucky', 2, 0.89),
    attempt('lucky', 3, 0.95, 0.001),
    attempt('hasty', 4),
    attempt('hasty', 5),
    attempt('hasty', 1, 0.5),
  ]);
  assert.deepEqual(
    ranked.map(({ entry, seconds, reached }) => [entry, seconds, reached]),
    [
      ['hasty', 5, 2],
      ['steady', 9, 3],
      ['lucky', null, 1],
    ],
  );
  const table = rankingTable(ranked, new Map([['steady', 'Steady']]));
  assert.match(table, /\| Steady \| 9\.00 \| 8\.0 to 10\.0 \| 3 of 3 \| 0\.920 \|/);
  assert.match(table, /\| lucky \| not reached \|/);
});
