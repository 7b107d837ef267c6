import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defineTask } from '../../src/data/task.js';
import { loadTaskFile } from '../../src/data/task-file.js';
import { UserError } from '../../src/util/errors.js';
import { keyedRandom } from '../../src/util/random.js';

// Outside the project, with no node_modules above it.
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-task-'));
const api = { defineTask, UserError };
let files = 0;
const load = (source: string, extension = 'ts') => {
  const path = join(folder, `task-${files++}.${extension}`);
  writeFileSync(path, source);
  return loadTaskFile(path, api);
};
const refused = (promise: Promise<unknown>, message: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof UserError, `${error}`);
    assert.match(error.message, message);
    return true;
  });

/** A task's source with some members replaced. */
const source = (members: Record<string, string> = {}) => {
  const all = {
    name: "'addition'",
    problems: '(random, n) => Array.from({ length: n }, () => ({ x: random.int(1, 9), y: random.int(1, 9) }))',
    prompt: '({ x, y }) => "What is " + x + " + " + y + "?"',
    reward: '(completion, { x, y }) => (completion === "answer: " + (x + y) ? 1 : 0)',
    ...members,
  };
  return `export default { ${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ')} };`;
};

test('TypeScript with imports of tinyzero and of its own files, in any folder', async () => {
  writeFileSync(join(folder, 'helper.ts'), 'export const sum = (x: number, y: number): number => x + y;');
  const { task, hash } = await load(`
    import { defineTask, UserError } from 'tinyzero';
    import { sum } from './helper.ts';
    interface Sum { readonly x: number; readonly y: number }
    export default defineTask<Sum>({
      name: \`addition \${UserError.name}\`,
      problems: (random, n) => Array.from({ length: n }, () => ({ x: random.int(1, 9), y: random.int(1, 9) })),
      prompt: ({ x, y }: Sum) => \`What is \${x} + \${y}?\`,
      reward: (completion, { x, y }) => Number(completion === String(sum(x, y))),
      solution: ({ x, y }) => String(sum(x, y)),
    });`);
  assert.equal(task.name, 'addition UserError');
  assert.match(hash, /^[0-9a-f]{64}$/);
  const [problem] = task.problems(keyedRandom(1), 1);
  assert.equal(task.reward(task.solution!(problem), problem, { finished: true }), 1);
});

test('what it imports from tinyzero are the objects of this process', async () => {
  const { task } = await load(
    `import * as tinyzero from 'tinyzero'; ${source({ solution: 'undefined' })}
    globalThis.fromTask = tinyzero.UserError;`,
    'mjs',
  );
  assert.equal(task.name, 'addition');
  assert.equal((globalThis as { fromTask?: unknown }).fromTask, UserError);
});

test('plain JavaScript, CommonJS and named exports', async () => {
  for (const [text, extension] of [
    [source(), 'js'],
    [source(), 'mjs'],
    [source().replace('export default', 'module.exports ='), 'cjs'],
    [
      `const { defineTask } = require('tinyzero'); ${source().replace('export default', 'module.exports = defineTask(').replace(/;$/, ');')}`,
      'cjs',
    ],
    [
      "export const name = 'addition', problems = (r, n) => new Array(n).fill(1), prompt = () => 'p', reward = () => 0;",
      'js',
    ],
  ] as const) {
    assert.equal((await load(text, extension)).task.name, 'addition');
  }
});

test('files that cannot be loaded', async () => {
  await refused(loadTaskFile(join(folder, 'nowhere.ts'), api), /Cannot read .*nowhere\.ts: no such file/);
  await refused(loadTaskFile(folder, api), /not a task file.*\.mjs/);
  await refused(load('', 'json'), /not a task file/);
  await refused(load('export default {'), /cannot be loaded.*ParseError/s);
  await refused(load("throw new TypeError('boom');"), /cannot be loaded\. TypeError: boom/);
  await refused(load("import 'no-such-package';"), /cannot be loaded.*no-such-package/s);
});

test('invalid exports are explained by the invalid member', async () => {
  for (const [text, message] of [
    ['export default 3;', /Expected an object\. Found 3/],
    ['', /name to be a nonempty string\. Found nothing/],
    [source({ name: "' '" }), /name to be a nonempty string/],
    [source({ problems: '[]' }), /problems to be a function\. Found \[\]/],
    [source({ reward: 'undefined' }), /reward to be a function\. Found nothing/],
    [source({ cluster: "'x'" }), /cluster to be a function or absent/],
    [source({ heldout: '() => []' }), /only the members .*heldOut.*Found heldout/],
  ] as const) {
    await refused(load(text), message);
    await refused(load(text), /defineTask\(\{ name, problems, prompt, reward \}\)/);
  }
});

test('functions that break their contract are caught with the problem and the completion', async () => {
  for (const [members, message] of [
    [{ problems: '() => []' }, /array of 4 problems\. Found 0 problems/],
    [{ problems: "() => { throw new Error('dry') }" }, /problems\(random, 4\) of task "addition" failed: dry/],
    [
      { problems: '(r, n) => Array.from({ length: n }, () => ({ x: Math.random(), y: 1 }))' },
      /different problems for the same random numbers/,
    ],
    [{ prompt: '({ x }) => x' }, /prompt\(\{"x":\d,"y":\d\}\) is \d/],
    [{ prompt: '({ z }) => z.length' }, /prompt of task "addition" failed: .*undefined/],
    [
      { reward: '() => 2' },
      /reward of task "addition" returned an invalid value for problem \{"x":\d,"y":\d\} and completion "What is .*Found 2/,
    ],
    [{ reward: 'async () => 1' }, /Found a promise/],
    [
      { reward: '(c) => c.match(/\\d/)[0] > 0 ? 1 : 0' },
      /reward of task "addition" failed for problem .* and completion "": /,
    ],
    [{ reward: '() => Math.random()' }, /differs between calls/],
    [{ solution: '() => "42"' }, /solution\(\{.*\}\) is "42", for which reward\(…\) is not exact/],
  ] as const) {
    await refused(load(source(members)), message);
  }
});
