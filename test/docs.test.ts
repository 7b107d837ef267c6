/** What the documents say of the code: files that they name exist, and functions are where they are said to be. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const documents = ['README.md', ...readdirSync('docs').map((name) => join('docs', name))].filter((name) =>
  name.endsWith('.md'),
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
