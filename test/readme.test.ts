import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { commands } from '../src/command-table.js';
import { optionTable } from '../src/config.js';
import { sourceTree } from './helpers/source-tree.js';

const path = 'README.md';

test('option tables in the README are those of the option table (UPDATE=1 writes them)', () => {
  const readme = readFileSync(path, 'utf8');
  const seen: string[] = [];
  const updated = readme.replace(/<!-- options: (.+) -->\n[\s\S]*?<!-- end -->/g, (_, words: string) => {
    const command = commands.find((spec) => spec.words.join(' ') === words);
    assert.ok(command, `README names the command '${words}', which does not exist`);
    seen.push(words);
    return `<!-- options: ${words} -->\n${optionTable(command.options)}\n<!-- end -->`;
  });
  assert.ok(seen.length > 0);
  if (process.env.UPDATE) writeFileSync(path, updated);
  assert.equal(readFileSync(path, 'utf8'), updated);
});

test('the source tree in the README is that of src/, each file with its own first sentence (UPDATE=1 writes it)', () => {
  const readme = readFileSync(path, 'utf8');
  assert.match(readme, /<!-- tree -->/);
  const updated = readme.replace(
    /<!-- tree -->\n[\s\S]*?<!-- end -->/,
    () => `<!-- tree -->\n\`\`\`\n${sourceTree('src')}\n\`\`\`\n<!-- end -->`,
  );
  if (process.env.UPDATE) writeFileSync(path, updated);
  assert.equal(readFileSync(path, 'utf8'), updated);
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
