/** Starters run as they are, and are never written over a file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { programName } from '../../../src/cli/program-name.js';
import { fileSource, loadProblems } from '../../../src/data/problems-file.js';
import { cliPath, lastLine, runNode, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';

const small = [
  '--engine',
  'wasm',
  '--num-train',
  '8',
  '--num-test',
  '4',
  '--num-samples',
  '2',
  '--epochs',
  '1',
  '--eval-samples',
  '0',
  '--force',
  '--json',
];

for (const [what, file, flag] of [
  ['task', 'task.ts', '--task'],
  ['task', 'task.mjs', '--task'],
  ['problems', 'problems.jsonl', '--problems'],
] as const) {
  test(`train ${flag} on what init wrote into ${file}`, async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, file);
    const made = await tinyzero(['init', what, path]);
    assert.equal(made.code, 0, made.stderr);
    assert.equal(made.stdout, `Wrote ${path}. It runs as it is:\n  tinyzero train ${flag} ${path}\n`);
    const { code, stdout, stderr } = await tinyzero(['train', flag, path, '--out', join(folder, 'run'), ...small]);
    assert.equal(code, 0, stderr);
    assert.equal(lastLine(stdout).before.greedy.exact.total, 4);
    assert.ok(readFileSync(path, 'utf8').split('\n').length > 20);

    const before = readFileSync(path, 'utf8');
    const again = await tinyzero(['init', what, path]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /exists and is not overwritten\. Choose another name, or remove it\./);
    assert.equal(readFileSync(path, 'utf8'), before);
  });
}

test('the table of problems holds those of the JSON lines; other endings are wrong usage', async (t) => {
  const folder = temporaryFolder(t);
  for (const name of ['p.jsonl', 'p.csv']) {
    const { code, stdout } = await runNode([cliPath, 'init', 'problems', join(folder, name), '--json']);
    assert.equal(code, 0);
    assert.deepEqual(lastLine(stdout), {
      event: 'result',
      file: join(folder, name),
      next: `${programName(cliPath)} train --problems ${join(folder, name)}`,
    });
  }
  const [lines, table] = await Promise.all(
    ['p.jsonl', 'p.csv'].map((name) => loadProblems(fileSource(join(folder, name)))),
  );
  const all = {
    uniform: () => 0,
    int: () => 0,
    pick: <T>(items: readonly T[]) => items[0]!,
    shuffle: <T>(items: readonly T[]) => [...items],
    normal: () => 0,
  };
  assert.deepEqual(table!.task.heldOut!(all, 100), lines!.task.heldOut!(all, 100));
  assert.deepEqual(table!.task.problems(all, 70), lines!.task.problems(all, 70));
  const wrong = await tinyzero(['init', 'task', join(folder, 'task.py')]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /task\.py: expected a file ending in \.ts, \.mts, \.js or \.mjs/);
});
