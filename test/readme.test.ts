import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findCommand, parseArguments } from '../src/cli/command-line.js';
import { commands } from '../src/cli/command-table.js';
import { optionTable } from '../src/options/texts.js';
import type { TrainResult } from '../src/run/events.js';
import { runNode, tinyzero } from './helpers/cli.js';
import { temporaryFolder } from './helpers/files.js';
import { nativeTest } from './helpers/native.js';
import { sourceTree } from './helpers/source-tree.js';

const path = 'README.md';
const reference = 'docs/commands.md';

/** Checks that a document is what `update` makes of it; UPDATE=1 writes it. */
function checkGenerated(document: string, update: (text: string) => string): void {
  const updated = update(readFileSync(document, 'utf8'));
  if (process.env.UPDATE) writeFileSync(document, updated);
  assert.equal(readFileSync(document, 'utf8'), updated);
}

test('docs/commands.md has every command with its option table (UPDATE=1 writes the tables)', () => {
  const seen = new Set<string>();
  checkGenerated(reference, (text) =>
    text.replace(/<!-- options: (.+) -->\n[\s\S]*?<!-- end -->/g, (_, words: string) => {
      const command = commands.find((spec) => spec.words.join(' ') === words);
      assert.ok(command, `${reference} names the command '${words}', which does not exist`);
      seen.add(words);
      return `<!-- options: ${words} -->\n${optionTable(command.options, command.texts)}\n<!-- end -->`;
    }),
  );
  const headings = [...readFileSync(reference, 'utf8').matchAll(/^## (.*)$/gm)]
    .map(([, heading]) => heading!)
    .join('\n');
  for (const { words } of commands) assert.match(headings, new RegExp(`\\b${words.at(-1)}\\b`), words.join(' '));
  assert.ok(seen.size > 8);
});

test('the README lists every command with its summary (UPDATE=1 writes the list)', () => {
  const rows = commands.map(
    ({ words, summary }) => `| \`tinyzero ${words.join(' ')}\` | ${summary.replaceAll('*', '\\*')} |`,
  );
  const table = ['| command | |', '| --- | --- |', ...rows].join('\n');
  checkGenerated(path, (text) => {
    assert.match(text, /<!-- commands -->/);
    return text.replace(/<!-- commands -->\n[\s\S]*?<!-- end -->/, () => `<!-- commands -->\n${table}\n<!-- end -->`);
  });
});

test('the source tree in the README is that of src/, each file with its own first sentence (UPDATE=1 writes it)', () => {
  checkGenerated(path, (text) => {
    assert.match(text, /<!-- tree -->/);
    return text.replace(
      /<!-- tree -->\n[\s\S]*?<!-- end -->/,
      () => `<!-- tree -->\n\`\`\`\n${sourceTree('src')}\n\`\`\`\n<!-- end -->`,
    );
  });
});

test('every npm script that the README names exists', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const readme = readFileSync(path, 'utf8');
  const named = [...readme.matchAll(/npm (?:run ([\w:]+)|(start|test)\b)/g)].map(
    ([, run, short]) => run ?? short ?? '',
  );
  assert.ok(named.length >= 5);
  for (const name of named) assert.ok(name in scripts, `npm run ${name}`);
});

test('every tinyzero command line in the documents is one that tinyzero accepts', () => {
  let lines = 0;
  for (const document of [path, ...readdirSync('docs').map((name) => `docs/${name}`)]) {
    if (!document.endsWith('.md')) continue;
    for (const [, block] of readFileSync(document, 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)) {
      for (const [, command] of block!.matchAll(/(?:^|\| |&& )tinyzero (.*?)(?= \||\s+#|$)/gm)) {
        const words = command!.match(/"[^"]*"|\S+/g)!.map((word) => word.replace(/^"(.*)"$/, '$1'));
        const spec = findCommand(words);
        assert.ok(spec, `${document}: ${command}`);
        parseArguments(spec, words.slice(spec.words.length), {});
        lines++;
      }
    }
  }
  assert.ok(lines > 20, `${lines}`);
});

/** What the README promises of its first command, the set-up aside: CI runs it as it stands there. */
nativeTest('npm start trains the built-in model, and it learns', async (t) => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const line = /node dist\/src\/cli\.js (.*)$/.exec(scripts.start!)?.[1]?.split(' ');
  assert.deepEqual(line, ['train', '--num-train', '500', '--epochs', '3']);
  const folder = join(temporaryFolder(t), 'run');
  const { code, stdout, stderr } = await tinyzero([...line!, '--out', folder, '--json']);
  assert.equal(code, 0, stderr);
  const { before, after, compare } = JSON.parse(stdout) as TrainResult;
  assert.ok(before.greedy.exact.rate <= 0.4 && before.sampled!.exact.rate <= 0.45);
  assert.ok(after.greedy.exact.rate >= 0.8, `${after.greedy.exact.rate}`);
  assert.ok(after.sampled!.exact.rate >= 0.78, `${after.sampled!.exact.rate}`);
  assert.ok(
    compare.sampled!.pValue < 0.01 && after.sampled!.formatRate >= 0.99 && after.sampled!.truncatedRate <= 0.01,
  );
  // The report tells the same.
  assert.match(readFileSync(join(folder, 'report.html'), 'utf8'), /It learned/);
});

test('the example of docs/library.md runs', async () => {
  const example = /```js\n([\s\S]*?)```/.exec(readFileSync('docs/library.md', 'utf8'))?.[1];
  assert.ok(example);
  // From standard input, in the package's own folder, `tinyzero` is this package.
  const { code, stdout, stderr } = await runNode(['--input-type=module', '-'], { TINYZERO_NO_INSTALL: '1' }, example);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim().split('\n').length, 8);
  assert.match(stdout, /^(?:(?:0|0\.3|1) -\d+\.\d\d .*\n){8}$/);
});
