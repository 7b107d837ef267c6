/** Rewards that another program sampled: read from a table of the published form, and used by a run as its V*. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseColumnMap } from '../../src/data/column-map.js';
import { fileSource } from '../../src/data/problems-file.js';
import { readSampleRewards } from '../../src/data/sample-rewards.js';
import { readVStarFile } from '../../src/stage1/v-star-file.js';
import { lastLine, tinyzero } from '../helpers/cli.js';
import { assertUserRejection } from '../helpers/errors.js';
import { fixture, temporaryFolder } from '../helpers/files.js';
import { nativeTest } from '../helpers/native.js';

const table = fixture('samples.parquet');
const map = 'prompt.0.content=prompt,reward_model.ground_truth=answer';
/** As test/fixtures/README.md makes them. */
const rewardOf = (row: number, sample: number) => Number((7 * row + 3 * sample) % 8 < row % 9);

test('a Parquet table of the published form gives every reward', async () => {
  const rewards = await readSampleRewards(fileSource(table, parseColumnMap(map, [])), 8);
  assert.equal(rewards.size, 36);
  [...rewards].forEach(([prompt, row], i) => {
    assert.equal(prompt, `What is ${2 + Math.floor(i / 6)} × ${2 + (i % 6)}?\n`);
    assert.deepEqual(
      row,
      Array.from({ length: 8 }, (_, sample) => rewardOf(i, sample)),
    );
  });
});

test('JSON lines and CSV, fewer samples, repeated prompts; what is missing is named', async (t) => {
  const folder = temporaryFolder(t);
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return fileSource(join(folder, name));
  };
  const lines = write(
    'a.jsonl',
    '{"prompt":"p","eval_0":1,"eval_1":0.3}\n{"prompt":"q","eval_0":0,"eval_1":true}\n{"prompt":"p","eval_0":0,"eval_1":0}\n',
  );
  assert.deepEqual(
    [...(await readSampleRewards(lines, 2))],
    [
      ['p', [1, 0.3]],
      ['q', [0, 1]],
    ],
  );
  const csv = write('a.csv', 'prompt,answer,eval_0,eval_1\n"p, q",1,1,0\n');
  assert.deepEqual([...(await readSampleRewards(csv, 1))], [['p, q', [1]]]);
  await assertUserRejection(
    readSampleRewards(csv, 3),
    /no column "eval_2"[\s\S]*eval_0 to eval_2[\s\S]*--num-samples 2/,
  );
  const bad = write('b.jsonl', '{"prompt":"p","eval_0":1}\n{"prompt":"q","eval_0":2}\n');
  await assertUserRejection(readSampleRewards(bad, 1), /line 2[\s\S]*"eval_0" is invalid[\s\S]*from 0 to 1[\s\S]*2/);
  const empty = write('c.csv', 'prompt,eval_0\np,\n');
  await assertUserRejection(readSampleRewards(empty, 1), /row 1[\s\S]*"eval_0" is invalid/);
});

nativeTest('import-vstar makes a file that train takes, and no other run', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'v_star_dict.json');
  const problems = ['--problems', table, '--map', map, '--num-train', '40', '--num-samples', '8'];
  const imported = await tinyzero(['import-vstar', ...problems, '--out', file, '--json']);
  assert.equal(imported.code, 0, imported.stderr);
  const { preflight } = lastLine(imported.stdout) as { preflight: Record<string, unknown> };
  assert.deepEqual([preflight.truncatedRate, preflight.parseFailRate, preflight.meanTokens], [null, null, null]);
  const { entries, createdBy } = readVStarFile(file);
  assert.match(createdBy, /from eval_0 to eval_7 of samples\.parquet$/);
  for (const [prompt, { rewards }] of entries) {
    const [a, b] = /(\d+) × (\d+)/.exec(prompt)!.slice(1).map(Number) as [number, number];
    const row = 6 * (a - 2) + (b - 2);
    assert.deepEqual(
      rewards,
      rewards.map((_, sample) => rewardOf(row, sample)),
    );
  }
  const run = join(folder, 'run');
  const small = ['--max-steps', '1', '--eval-samples', '2', '--num-test', '2', '--engine', 'tensorflow', '--quiet'];
  const trained = await tinyzero(['train', ...problems, '--v-star', file, '--out', run, ...small]);
  assert.equal(trained.code, 0, trained.stderr);
  const other = await tinyzero(['train', ...problems, '--seed', '1', '--v-star', file, '--out', `${run}-2`, ...small]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /holds V\* for other settings: problems and sampling differ/);
});

test('without a table the command says what it expects', async () => {
  const { code, stderr } = await tinyzero(['import-vstar']);
  assert.equal(code, 2);
  assert.match(stderr, /--problems is missing: it names the table[\s\S]*eval_0, eval_1/);
});
