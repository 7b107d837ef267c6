/** What the documents say of the code: files that they name exist, and functions are where they are said to be. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const documents = ['README.md', 'CONTRIBUTING.md', ...readdirSync('docs').map((name) => join('docs', name))].filter(
  (name) => name.endsWith('.md'),
);

test('files and pages that the documents name exist', () => {
  let named = 0;
  for (const document of documents) {
    const text = readFileSync(document, 'utf8');
    const paths = [...text.matchAll(/`((?:src|test|bench|docs|examples|scripts|models)\/[\w./-]+)`/g)].map(
      ([, path]) => path!,
    );
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, path]) => join(dirname(document), path!));
    for (const path of [...paths, ...links]) {
      named++;
      assert.ok(existsSync(path), `${document} names ${path}`);
    }
  }
  assert.ok(named > 20);
});

test('docs/algorithm.md names functions where they are', () => {
  const text = readFileSync('docs/algorithm.md', 'utf8');
  let named = 0;
  for (const [, functions, path] of text.matchAll(/((?:`\w+`(?:, | and )?)+) in `(src\/[\w./-]+)`/g)) {
    const source = readFileSync(path!, 'utf8');
    for (const [, name] of functions!.matchAll(/`(\w+)`/g)) {
      named++;
      assert.match(source, new RegExp(`^export (async )?function ${name}\\b`, 'm'), `${name} in ${path}`);
    }
  }
  assert.ok(named >= 10, `${named}`);
});

test('docs/tasks.md shows examples/addition.ts as it is (UPDATE=1 writes it)', () => {
  const path = 'docs/tasks.md';
  const source = readFileSync('examples/addition.ts', 'utf8')
    .replace(/^\/\*\*[\s\S]*?\*\/\n/, '')
    .replace(/^ *\/\/.*\n/gm, '');
  const text = readFileSync(path, 'utf8');
  const updated = text.replace(
    /<!-- example: addition -->\n[\s\S]*?<!-- end -->/,
    () => `<!-- example: addition -->\n\`\`\`ts\n${source}\`\`\`\n<!-- end -->`,
  );
  if (process.env.UPDATE) writeFileSync(path, updated);
  assert.match(text, /<!-- example: addition -->/);
  assert.equal(readFileSync(path, 'utf8'), updated);
});
