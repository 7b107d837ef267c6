/** Problems from CSV and Parquet: which columns, which rows, and what is said of those that cannot be used. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ColumnMap, parseColumnMap } from '../../src/data/column-map.js';
import { fileSource, loadProblems } from '../../src/data/problems-file.js';
import { keyedRandom } from '../../src/util/random.js';
import { assertUserRejection } from '../helpers/errors.js';
import { fixture, temporaryFolder } from '../helpers/files.js';

const mapOf = (text: string): ColumnMap => {
  const problems: string[] = [];
  const map = parseColumnMap(text, problems);
  assert.deepEqual(problems, []);
  return map;
};

function csv(t: TestContext, text: string | Uint8Array, name = 'problems.csv'): string {
  const path = join(temporaryFolder(t), name);
  writeFileSync(path, text);
  return path;
}

async function load(path: string, map = '') {
  const { task, hash, notes } = await loadProblems(fileSource(path, map === '' ? {} : mapOf(map)));
  const train = task.problems(keyedRandom('test'), 200);
  const held = task.heldOut!(keyedRandom('test'), 200);
  const answers = new Map([...train, ...held].map(({ prompt, answer }) => [prompt, answer]));
  return { task, hash, notes, answers, held: held.map(({ prompt }) => prompt) };
}

const rows = Array.from({ length: 20 }, (_, i) => `What is ${i} + 1?,${i + 1},${i % 4 === 0 ? 'test' : ''}`);

test('CSV: columns by name, cells in quotes, empty cells, a byte order mark, Windows line ends', async (t) => {
  const plain = await load(csv(t, ['prompt,answer,split', ...rows].join('\n')));
  assert.equal(plain.answers.size, 20);
  assert.equal(plain.answers.get('What is 3 + 1?'), '4');
  assert.equal(plain.held.length, 5);
  const spreadsheet = await load(
    csv(t, `\ufeff${['prompt;answer;split', ...rows.map((row) => row.replaceAll(',', ';'))].join('\r\n')}\r\n\r\n`),
  );
  assert.deepEqual(spreadsheet.answers, plain.answers);
  const tabs = await load(
    csv(t, ['prompt\tanswer\tsplit', ...rows.map((row) => row.replaceAll(',', '\t'))].join('\n'), 'x.tsv'),
  );
  assert.deepEqual(tabs.answers, plain.answers);
  const quoted = await load(csv(t, 'answer,other,prompt,split\n"1,234",x,"Say ""a"",\nthen b",train\n2,,c,test\n'));
  assert.deepEqual([...quoted.answers].sort(), [
    ['Say "a",\nthen b', '1234'],
    ['c', '2'],
  ]);
});

test('CSV: what is wrong names row, line and column', async (t) => {
  const refuse = (text: string | Uint8Array, message: RegExp, map = '') =>
    assertUserRejection(load(csv(t, text), map), message);
  await refuse('', /problems\.csv is empty\. Expected a first line that names the columns/);
  await refuse('prompt,answer\n', /problems\.csv has no rows/);
  await refuse('prompt,prompt\na,b\n', /names the column "prompt" twice/);
  await refuse(
    'question,answer\na,1\n',
    /has no column "prompt"\. Found the columns "question", "answer"\. .*--map question=prompt\./,
  );
  await refuse('q,a\na,1\n', /has no column "prompt" and "answer".*--map COLUMN=prompt,COLUMN=answer\./);
  await refuse('q,answer\na,1\n', /has no column "x"\..*Correct --map/, 'q=prompt,x=cluster');
  await refuse(
    'prompt,answer\na,1\n\n"b\nc",\n',
    /Row 2 \(line 4\) of .*problems\.csv cannot be used: `answer` must be a string or a whole number, not ""/,
  );
  await refuse(
    'q,answer\n ,1\n',
    /Row 1 \(line 2\) of .*`q` \(the prompt\) must be a nonempty string, not " "/,
    'q=prompt',
  );
  await refuse('prompt,answer,split\na,1,dev\n', /`split` must be "train" or "test", not "dev"/);
  await refuse('prompt,answer\na,1\na,2\n', /Row 2 \(line 3\) of .* repeats the prompt of row 1 \(line 2\)/);
  await refuse(
    'prompt,answer\na,1,2\n',
    /a row with a different number of fields: row 1 \(line 2\)\. Expected 2 fields.*Found 3\..*double quotes/,
  );
  await refuse('prompt,answer\n"a,1\n', /is not CSV: a quoted field is never closed/);
  await refuse('prompt,answer\n"a"b,1\n', /is not CSV: a quoted field continues after its closing quote, at line 2/);
  await refuse('prompt,answer\na "b" c,1\n', /is not CSV: a quote appears inside a field/);
  await refuse(`prompt,answer\n${'a'.repeat(5_000_000)},1\n`, /a row has more than 4194304 characters/);
  await refuse(Buffer.from('prompt,answer\n\xe9,1\n', 'latin1'), /is not UTF-8 text/);
});

test('Parquet: every codec gives the same problems, mapped from columns and from fields of columns', async () => {
  const files = readdirSync(fixture('tables'));
  assert.equal(files.length, 6);
  const expected = new Map(
    Array.from({ length: 40 }, (_, i) => [`What is ${i} × 7? End with "answer: N".`, `${7 * i}`]),
  );
  for (const file of files) {
    // The answer of a worked solution is what its line #### says.
    const solved = await load(fixture('tables', file), 'question=prompt,part=split');
    assert.deepEqual([...solved.answers].sort(), [...expected].sort(), file);
    assert.equal(solved.held.length, 10);
    for (const column of ['number', 'reference.text']) {
      const mapped = await load(fixture('tables', file), `question=prompt,${column}=answer`);
      assert.deepEqual([...mapped.answers].sort(), [...expected].sort(), `${file} ${column}`);
      assert.notEqual(mapped.hash, solved.hash);
    }
  }
});

test('Parquet: what is wrong is one paragraph', async (t) => {
  const path = fixture('tables', 'snappy.parquet');
  await assertUserRejection(
    load(path),
    /has no column "prompt"\. Found the columns "question", "answer", .*--map question=prompt\./,
  );
  await assertUserRejection(
    load(path, 'question=prompt,half=answer'),
    /Row 2 of .*snappy\.parquet cannot be used: `half` \(the answer\) must be a string or a whole number, not 0\.5/,
  );
  await assertUserRejection(
    load(path, 'question=prompt,reference.steps=answer'),
    /must be a string or a whole number, not \[/,
  );
  await assertUserRejection(load(path, 'question=prompt,reference.none=answer'), /must be a string .* not nothing/);
  const bytes = readFileSync(path);
  await assertUserRejection(
    load(csv(t, bytes.subarray(0, 3000), 'cut.parquet')),
    /cut\.parquet cannot be read as Parquet/,
  );
  await assertUserRejection(load('/nowhere.parquet'), /Cannot read \/nowhere\.parquet: no such file/);
});

test('JSON lines are mapped too', async (t) => {
  const lines = Array.from({ length: 20 }, (_, i) => JSON.stringify({ q: `${i}?`, a: { text: i }, answer: 'x' }));
  const { answers } = await load(csv(t, lines.join('\n'), 'p.jsonl'), 'q=prompt,a.text=answer');
  assert.equal(answers.get('7?'), '7');
});

test('--map', () => {
  const problems: string[] = [];
  assert.deepEqual(parseColumnMap('a=b=prompt, c =answer', problems), { prompt: 'a=b', answer: 'c' });
  assert.deepEqual(problems, []);
  parseColumnMap('a,b=reward,=prompt,a=answer,b=answer', problems);
  assert.equal(problems.length, 4);
  assert.match(
    problems[1]!,
    /--map: expected COLUMN=FIELD with a field of prompt, answer, split, cluster, found 'b=reward'/,
  );
  assert.match(problems[3]!, /answer is given two columns, a and b/);
});
