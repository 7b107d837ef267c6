/** What scripts rely on: `--json` is lines of JSON that end in a result or an error, and exit codes. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodeTable } from '../../src/util/errors.js';
import { tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

const events = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('train --json reports what happens, line by line, and ends with the result', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const sizes = [
    '--num-train',
    '12',
    '--epochs',
    '1',
    '--num-samples',
    '2',
    '--eval-samples',
    '0',
    '--batch-size',
    '4',
  ];
  const { code, stdout } = await tinyzero([
    'train',
    '--engine',
    'wasm',
    '--force',
    '--json',
    '--quiet',
    '--out',
    folder,
    ...sizes,
  ]);
  assert.equal(code, 0);
  const lines = events(stdout);
  const kinds = lines.map(({ event }) => event);
  const happened = [...new Set(kinds)].filter((kind) => !['note', 'progress'].includes(kind));
  assert.deepEqual(happened, ['opened', 'evaluated', 'preflight', 'stage2', 'step', 'result']);
  assert.equal(kinds.at(-1), 'result');
  const steps = lines.filter(({ event }) => event === 'step');
  assert.deepEqual(
    steps.map(({ metrics }) => metrics.step),
    steps.map((_, i) => i + 1),
  );
  assert.equal(steps.length, lines.at(-1).updates);
  assert.equal(typeof lines.at(-1).verdict.sentence, 'string');
  assert.deepEqual(lines[kinds.indexOf('opened')].problems.rows, 12);
});

test('an error is the last line, with its exit code', async (t) => {
  const folder = temporaryFolder(t);
  const missing = await tinyzero(['train', '--problems', join(folder, 'none.csv'), '--json']);
  assert.equal(missing.code, 1);
  assert.deepEqual(events(missing.stdout).at(-1).event, 'error');
  assert.equal(events(missing.stdout).at(-1).exitCode, 1);
  assert.match(events(missing.stdout).at(-1).message, /none\.csv: no such file/);
  const usage = await tinyzero(['runs', '--nope', '--json']);
  assert.equal(usage.code, 2);
  assert.equal(events(usage.stdout)[0].exitCode, 2);
  // What is no command has no options, and still ends in an error.
  for (const [args, message] of [
    [['nope'], /^unknown command 'nope'/],
    [['init'], /^No command given/],
    [[], /^No command given/],
  ] as const) {
    const { code, stdout } = await tinyzero([...args, '--json']);
    const [line, ...more] = events(stdout);
    assert.equal(code, 2);
    assert.deepEqual([line.event, line.exitCode, more], ['error', 2, []]);
    assert.match(line.message, message);
  }
  // Stage 1 stops where nothing is ever right.
  const path = join(folder, 'hopeless.jsonl');
  const lines = Array.from({ length: 12 }, (_, i) => ({
    prompt: `What is ${i} + 2?\n`,
    answer: 'a word',
    split: i < 4 ? 'test' : 'train',
  }));
  writeFileSync(path, lines.map((line) => JSON.stringify(line)).join('\n'));
  const sizes = ['--num-train', '8', '--num-samples', '2', '--eval-samples', '0'];
  const stopped = await tinyzero([
    'train',
    '--engine',
    'wasm',
    '--json',
    '--problems',
    path,
    '--out',
    join(folder, 'run'),
    ...sizes,
  ]);
  assert.equal(stopped.code, 3, stopped.stderr);
  assert.equal(events(stopped.stdout).at(-1).exitCode, 3);
  assert.equal(events(stopped.stdout).find(({ event }) => event === 'preflight').preflight.verdict, 'stop');
});

test('commands that only read print one line', async () => {
  for (const args of [
    ['runs', '.'],
    ['engine', 'status'],
  ]) {
    const { stdout } = await tinyzero([...args, '--json']);
    assert.deepEqual(
      events(stdout).map(({ event }) => event),
      ['result'],
      args.join(' '),
    );
  }
});

test('docs/agents.md and --help have the table of exit codes (UPDATE=1 writes it)', async () => {
  const path = 'docs/agents.md';
  const rows = exitCodeTable.map(([code, meaning]) => `| ${code} | ${meaning} |`);
  const table = ['| exit code | |', '| --- | --- |', ...rows].join('\n');
  const text = readFileSync(path, 'utf8');
  const updated = text.replace(
    /<!-- exit codes -->\n[\s\S]*?<!-- end -->/,
    () => `<!-- exit codes -->\n${table}\n<!-- end -->`,
  );
  if (process.env.UPDATE) writeFileSync(path, updated);
  assert.match(text, /<!-- exit codes -->/);
  assert.equal(readFileSync(path, 'utf8'), updated);
  const { stdout } = await tinyzero(['--help']);
  for (const [code, meaning] of exitCodeTable)
    assert.ok(stdout.replace(/\s+/g, ' ').includes(`${code} ${meaning}`), `${code}`);
});
