import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findCommand, parseArguments } from '../src/cli/command-line.js';
import { commands } from '../src/cli/tables/commands.js';
import { optionTable } from '../src/options/texts.js';
import type { TrainResult } from '../src/run/events.js';
import { lastLine, runNode, tinyzero } from './helpers/cli.js';
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

test('docs/commands.md lists every command with its summary (UPDATE=1 writes the list)', () => {
  const rows = commands.map(
    ({ words, summary }) => `| \`tinyzero ${words.join(' ')}\` | ${summary.replaceAll('*', '\\*')} |`,
  );
  const table = ['| command | |', '| --- | --- |', ...rows].join('\n');
  checkGenerated(reference, (text) => {
    assert.match(text, /<!-- commands -->/);
    return text.replace(/<!-- commands -->\n[\s\S]*?<!-- end -->/, () => `<!-- commands -->\n${table}\n<!-- end -->`);
  });
});

test('docs/source.md has every file of src/, each file with its own first sentence (UPDATE=1 writes it)', () => {
  checkGenerated('docs/source.md', (text) => {
    assert.match(text, /<!-- tree -->/);
    return text.replace(
      /<!-- tree -->\n[\s\S]*?<!-- end -->/,
      () => `<!-- tree -->\n\`\`\`\n${sourceTree('src')}\n\`\`\`\n<!-- end -->`,
    );
  });
});

test('the README is short, and links only to what the package ships', () => {
  const text = readFileSync(path, 'utf8');
  assert.ok(Buffer.byteLength(text) <= 12_288, `${Buffer.byteLength(text)} bytes`);
  const { files } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link]) => link!);
  assert.ok(links.length > 8);
  for (const link of links) {
    assert.ok(files.includes(link.split('/')[0]!) && !files.includes(`!${link}`), `${link} is not in the package`);
  }
});

test('every npm script that the README and CONTRIBUTING.md name exists', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  const readme = readFileSync(path, 'utf8') + readFileSync('CONTRIBUTING.md', 'utf8');
  const named = [...readme.matchAll(/npm (?:run ([\w:-]+)|(start|test)\b)/g)].map(
    ([, run, short]) => run ?? short ?? '',
  );
  assert.ok(named.length >= 5);
  for (const name of named) assert.ok(name in scripts, `npm run ${name}`);
});

test('every tinyzero command line in the documents is one that tinyzero accepts', () => {
  let lines = 0;
  for (const document of [path, 'CONTRIBUTING.md', ...readdirSync('docs').map((name) => `docs/${name}`)]) {
    if (!document.endsWith('.md')) continue;
    for (const [, block] of readFileSync(document, 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)) {
      // A shell joins lines that end with a backslash, and fills in its variables.
      const joined = block!.replaceAll(/\\\n\s*/g, '').replaceAll(/\$(\w+|\{.*?\}|\(\(.*?\)\))/g, '1');
      for (const [, command] of joined.matchAll(/(?:^|\| |&& |; do )tinyzero (.*?)(?= \|| & |\s+#|$)/gm)) {
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
  const { before, after, compare } = lastLine(stdout) as TrainResult;
  assert.ok(before.greedy.exact.rate <= 0.4 && before.sampled!.exact.rate <= 0.45);
  assert.ok(after.greedy.exact.rate >= 0.8, `${after.greedy.exact.rate}`);
  assert.ok(after.sampled!.exact.rate >= 0.78, `${after.sampled!.exact.rate}`);
  assert.ok(
    compare.sampled!.pValue < 0.01 && after.sampled!.formatRate >= 0.99 && after.sampled!.truncatedRate <= 0.01,
  );
  // The report tells the same.
  assert.match(readFileSync(join(folder, 'report.html'), 'utf8'), /It learned/);
});

test('the examples of docs/library.md and of the README compile under the strictest settings', () => {
  const examples = ['docs/library.md', path].flatMap((document) =>
    [...readFileSync(document, 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code!),
  );
  assert.equal(examples.length, 3);
  // In the package's own folder `tinyzero` is this package; a project of a user's is like this one.
  const folder = join('dist', 'library-examples');
  mkdirSync(folder, { recursive: true });
  const names = examples.map((code, i) => {
    writeFileSync(join(folder, `example-${i}.mts`), code);
    return `example-${i}.mts`;
  });
  const compilerOptions = { strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true };
  const project = {
    ...compilerOptions,
    module: 'nodenext',
    target: 'es2022',
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: project, files: names }));
  execFileSync(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', folder], {
    encoding: 'utf8',
  });
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
